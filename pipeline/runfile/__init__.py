"""The run file: YAML with positions, schema, checks, errors with places."""
