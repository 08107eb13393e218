"""Batching rules of convolutions, pools, resampling."""
