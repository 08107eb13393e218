"""Convolutions, pooling, padding, interpolation and sampling of images."""
