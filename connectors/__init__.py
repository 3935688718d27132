"""Buckets, short-lived credentials, key services and the embedded stack: all network code lives here."""
