"""The surname in a name as it was written down."""
