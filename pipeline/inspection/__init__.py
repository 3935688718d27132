"""Looking at a run afterwards: status, verification, report. Nothing here needs a key."""
