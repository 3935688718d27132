"""Examples that the quickstart and the tests run."""
