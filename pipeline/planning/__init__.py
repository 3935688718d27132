"""From a run file and facts to a plan under one digest."""
