"""Sealed bytes, keysets, signed manifests and the key-release protocol: bytes in, bytes out, no I/O."""
