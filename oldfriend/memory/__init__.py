"""Memory: what is worth remembering, and replies that stand on it."""
