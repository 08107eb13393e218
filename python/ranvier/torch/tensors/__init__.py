"""Kinds of tensors that the core has not: complex, sparse and meta ones; shared memory, printing, types."""
