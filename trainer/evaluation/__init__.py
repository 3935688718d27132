"""What a trained adapter is worth on unseen rows, and what it remembers of seen ones."""
