"""Detectors: outputs read as boxes, losses that make boxes vanish, what an attack took away."""
