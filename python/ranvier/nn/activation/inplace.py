"""What the layers that accept ``inplace`` have in common."""

from __future__ import annotations

from ranvier.nn.module import Module


class _InPlace(Module):
    """A layer whose only argument is ``inplace``."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""
