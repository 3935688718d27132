"""Admission rules in Rego and the gate that evaluates them, closed by default."""
