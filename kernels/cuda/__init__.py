"""The CUDA version of each kernel: sources beside this file, compiled by NVRTC on first use."""
