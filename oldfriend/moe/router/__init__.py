"""Where the first router weights come from."""
