"""The sandboxed worker: lock-down, probes, evidence, channel, broker."""
