"""A run's state as bytes, and an adapter merged into its base model."""
