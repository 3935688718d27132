"""The city in a US address, as JSON."""
