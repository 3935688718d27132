"""Who a process is, and the short-lived credentials that it gets for it."""
