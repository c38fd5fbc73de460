"""Empathy: what a person feels, what a friend does about it, and whether a draft would help."""
