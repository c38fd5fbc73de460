"""Mixture of experts from a trained dense model, and what becomes of its routers."""
