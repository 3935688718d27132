"""Rows and chats, checked before use, and the base of every type that holds plaintext."""
