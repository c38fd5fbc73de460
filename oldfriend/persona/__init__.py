"""Character cards, their lorebooks, and the characters we wrote."""
