"""The customer's evaluator in a process of its own, and both sides of talking to it."""
