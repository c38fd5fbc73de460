"""Cutting a mixture of experts: what each layer earns, and how it heals."""
