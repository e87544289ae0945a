"""PyTorch modules and functions of tensors as oracles, by autograd."""
