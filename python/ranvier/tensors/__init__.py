"""Tensors: their data, dtype, memory and views."""
