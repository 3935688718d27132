"""What an enclave can be started as: train, seal, view, export, probe."""
