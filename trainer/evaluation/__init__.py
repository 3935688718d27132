"""What a trained adapter is worth on rows that were held out, and what it remembers of others."""
