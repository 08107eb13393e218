"""Batching rules of element-wise ops, beside the general one (`broadcast_operands`), which needs no entry."""

from __future__ import annotations
