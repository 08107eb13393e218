"""torch.profiler: marks of a program have no effect, and a profile is refused."""

from __future__ import annotations

from ranvier.pytorch_names.amp import autocast


class record_function(autocast):
    """A block or decorator without effect: its label is for a profile."""
