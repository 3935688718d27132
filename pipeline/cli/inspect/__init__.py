"""Commands that look at a run afterwards, and need no key."""
