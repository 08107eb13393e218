"""Ctrl-C during a run: noted, and raised between two steps."""

from __future__ import annotations

import signal
import threading
from typing import Any

__all__ = ["Interrupt"]


class Interrupt:
    """While it is entered, SIGINT is noted, and `check` raises the KeyboardInterrupt.

    So the weights, their optimizer's state and the random numbers belong together when a run ends, and a
    checkpoint can be written. A second Ctrl-C is raised at once. Nothing changes where SIGINT has another
    handler, or outside the main thread.

    Attributes:
        between_steps: whether the interrupt that ended the run came from `check`.
    """

    def __init__(self) -> None:
        self.between_steps = False
        self._pending = False
        self._installed = False

    def __enter__(self) -> Interrupt:
        mine = threading.current_thread() is threading.main_thread()
        if mine and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def _handle(self, number: int, frame: Any) -> None:
        self.note()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def note(self) -> bool:
        """Let the next `check` raise; False if it is to already."""
        first, self._pending = not self._pending, True
        return first

    def check(self) -> None:
        """Raise KeyboardInterrupt if there was one since the last step."""
        if self._pending:
            self._pending = False
            self.between_steps = True
            raise KeyboardInterrupt

    def __exit__(self, *error: Any) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._installed = False
        if self._pending:  # it came after the last step
            self._pending = False
            if error[0] is None:
                raise KeyboardInterrupt
