"""The references in ``docs/reference/``, generated from the code."""
