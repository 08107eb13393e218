"""Tensors made from data, filled, drawn at random, and cast."""
