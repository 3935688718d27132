"""Rows and chats, and the base type of whatever is plaintext."""
