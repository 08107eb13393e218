"""Differentiable operations on Tensors: one file for each room, forward and backward side by side.

Importing this package attaches the operators and methods to Tensor.
"""

__all__: list[str] = []
