"""Three numbers in order."""
