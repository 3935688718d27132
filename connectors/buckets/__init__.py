"""Buckets of S3, Google Cloud Storage and local folders: how an object is named, read, written."""
