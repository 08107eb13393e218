"""Progress bars on terminals and in notebooks (tqdm, which is loaded for the first bar)."""

from __future__ import annotations

import sys
import warnings
from typing import Any

__all__ = ["bar", "is_shown"]


def is_shown(stream: Any) -> bool:
    """Whether the stream is a terminal's or a notebook's. A process without a console has none: None."""
    is_terminal = getattr(stream, "isatty", None)
    open_terminal = is_terminal is not None and not getattr(stream, "closed", False) and is_terminal()
    return open_terminal or "ipykernel" in sys.modules


def bar(**settings: Any) -> Any:
    """A tqdm bar on stderr; nothing is shown if stderr is neither a terminal nor a notebook's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets, a text is shown in notebooks
        from tqdm.auto import tqdm  # type: ignore[import-untyped]

    class Bar(tqdm):  # type: ignore[misc]
        # No thread that outlives the bar: beside another thread, compiled calls take turns in Python.
        monitor_interval = 0

    return Bar(disable=not is_shown(sys.stderr), **settings)
