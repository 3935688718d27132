"""What crosses between an enclave and its broker: framing, records, and the gate."""
