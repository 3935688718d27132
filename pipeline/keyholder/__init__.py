"""What the holder of a run's keys can do with it: read rollouts, export the adapter."""
