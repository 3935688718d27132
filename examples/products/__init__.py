"""A task that this model cannot learn, and what that looks like."""
