"""The embedded stack's servers: SeaweedFS and OpenBao on loopback."""
