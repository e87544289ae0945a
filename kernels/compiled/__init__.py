"""The Numba version of each kernel."""
