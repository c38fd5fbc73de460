"""The assembled friend on simulated lives it has never seen, whole and without each part."""
