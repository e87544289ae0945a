"""Counterexamples to VNN-LIB properties: read, searched for, replayed on the untouched model."""
