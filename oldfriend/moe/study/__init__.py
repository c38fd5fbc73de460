"""A grid of router starts, experts and domains, and the report on it."""
