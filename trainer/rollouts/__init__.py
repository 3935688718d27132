"""Prompts, completions, conversations and their scores."""
