"""Which controls a run's evidence supports: one table of questions, each with its predicate."""
