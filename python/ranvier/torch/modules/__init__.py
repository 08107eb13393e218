"""Layers and functions of `torch.nn` that the core has not, and what derives from or converts layers."""
