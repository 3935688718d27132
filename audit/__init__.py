"""The transparency log, its events, and the report that an auditor reads."""
