"""Our models as stock transformers architectures."""
