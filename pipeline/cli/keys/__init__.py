"""Commands of the key's owner: what is released, and to whom."""
