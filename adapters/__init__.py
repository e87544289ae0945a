"""Adapters: a framework comes in as an oracle."""
