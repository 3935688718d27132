"""What may enter the log: event types, their fields, and their form as OCSF entries."""
