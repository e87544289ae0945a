"""Array kernels: a NumPy definition and its faster versions, a catalogue row each."""
