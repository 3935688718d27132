"""Terraform provider for Strongroom, on the ``strongroom`` command."""
