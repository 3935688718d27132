"""Bring-your-own-bucket secure reinforcement fine-tuning.

Public are ``__version__``, ``strongroom.errors`` and the command with its ``--json`` documents. All
else in this package may change with any version. Importing it imports nothing else of it: each
process of a run takes in only what its role allows. The folders beside this file are links to
those at the top of the tree.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
