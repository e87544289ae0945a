"""Iterations that see a model only as an oracle."""
