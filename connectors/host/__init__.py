"""This machine: processes, state folders and private files."""
