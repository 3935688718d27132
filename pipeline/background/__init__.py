"""Runs that go on without a terminal."""
