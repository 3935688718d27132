"""The data's owner: seals rows and evaluators, uploads models."""
