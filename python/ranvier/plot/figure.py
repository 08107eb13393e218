"""What all pictures share: a figure without a window, and the error when matplotlib is missing."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["new_figure", "require_matplotlib", "save"]


def require_matplotlib(name: str) -> None:
    """Raise ImportError with the pip line if matplotlib is missing; `name` is who asks."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError(f"[{name}] pictures need matplotlib: pip install 'ranvier[plot]'") from None


def new_figure(name: str, columns: int) -> Figure:
    """An empty figure wide enough for `columns` panels.

    Not made through pyplot: that would pick a window system, and keep the figure alive until closed.
    """
    require_matplotlib(name)
    from matplotlib.figure import Figure

    return Figure(figsize=(4.8 * columns, 3.6), layout="constrained")


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write the figure; the path's ending chooses the format (.png, .svg, .pdf ...)."""
    figure.savefig(path, dpi=150)
