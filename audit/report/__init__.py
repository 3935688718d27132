"""The report that an auditor reads."""
