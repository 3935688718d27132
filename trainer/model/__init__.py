"""The frozen base model and its trainable adapter."""
