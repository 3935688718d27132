"""Commands that plan, start, follow and end runs: the controller's side."""
