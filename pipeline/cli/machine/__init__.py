"""Commands for this machine: the embedded stack, and first steps."""
