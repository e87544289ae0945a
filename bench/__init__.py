"""Benchmarks: never timed tests; they print machine, sizes, spread and the limit."""
