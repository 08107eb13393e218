"""Activations: y = f(x) element by element, one learned slope or gate included; softmax along a dimension."""
