"""One run from admission to its published result."""
