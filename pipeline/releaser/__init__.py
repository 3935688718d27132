"""The releaser, the key owner's process, and its client."""
