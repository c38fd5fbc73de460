"""oldfriend: companions with personality, memory and empathy, and the models that run them."""
