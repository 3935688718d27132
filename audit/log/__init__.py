"""The transparency log: C2SP tlog-tiles, signed checkpoints, reading and writing."""
