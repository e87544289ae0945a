"""ONNX: the graph differentiated into graphs that ONNX Runtime runs."""
