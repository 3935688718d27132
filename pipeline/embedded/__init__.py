"""The embedded stack as a customer's side, and the quickstart's inputs."""
