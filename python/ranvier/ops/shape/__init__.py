"""Ops that move values: views, joined and repeated tensors, indices."""
