"""Buckets of S3, Google Cloud Storage and local folders behind one interface."""
