"""Batching rules of casts, copies and random numbers."""
