"""Buckets, short-lived credentials, key services, embedded stack: all network code lives here."""
