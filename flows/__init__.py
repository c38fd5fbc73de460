"""Prefect flows: one file each; the thinking is in the library."""
