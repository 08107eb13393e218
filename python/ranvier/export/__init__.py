"""Networks as C99: `rv.export.c` writes a model or a training step as one file without dependencies."""

from ranvier.export.exporter import c
from ranvier.export.instructions import Report

__all__ = ["Report", "c"]
