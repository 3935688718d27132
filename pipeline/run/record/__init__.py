"""What happened in a run: events into the log, and the log read back as the run's history."""
