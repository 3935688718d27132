"""A run as a job for somebody else's scheduler."""
