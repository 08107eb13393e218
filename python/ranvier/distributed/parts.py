"""Parts: the parts of a batch on one rank, computed in turn between the layers at which they meet."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.distributed.meeting import Add, along_tree, meeting

__all__ = ["Parts"]

Array = npt.NDArray[Any]


class Parts:
    """Runs functions that meet. Each has a thread, but only one runs at a time: the first until it meets or
    ends, then the second ... Where all have met, they continue in the same order, with the numbers of all.

    A part sees the gradients of the parameters, and the buffers, as if it were alone.
    """

    def __init__(self, parameters: list[Any], buffers: list[Any]) -> None:
        self._parameters, self._buffers = parameters, buffers

    def run(self, works: Sequence[Callable[[], None]], join: Callable[[Array], Array]) -> None:
        """Call the functions; join: the rows of this rank's parts -> those of the whole batch."""
        self._before = [b._array.copy() for b in self._buffers]
        parts = [_Part(work) for work in works]
        try:
            while True:
                for part in parts:
                    self._resume(part)
                waiting = [part.asked for part in parts if part.asked is not None]
                if not waiting:
                    return
                if len({(values.shape, add) for values, add in waiting}) > 1 or len(waiting) < len(parts):
                    raise RuntimeError(
                        "[SyncBatchNorm] got parts of a batch that reach different layers; expected the same "
                        "SyncBatchNorm layers, in the same order, for all samples"
                    )
                rows = join(np.stack([values for values, _ in waiting]))
                found = along_tree(rows, waiting[0][1])
                for part in parts:
                    part.given = found
        finally:
            for part in parts:
                part.end()

    def _resume(self, part: _Part) -> None:
        """Run a part to its next meeting or its end, with its own gradients and buffers."""
        if part.gradients is not None:
            for p, gradient in zip(self._parameters, part.gradients, strict=True):
                p._grad = gradient
        for i, values in part.changed.items():
            self._buffers[i]._array[...] = values
        counts = [b._cell[0] for b in self._buffers]
        part.resume()
        part.gradients = [p._grad for p in self._parameters]
        for p in self._parameters:
            p._grad = None
        for i, (b, count) in enumerate(zip(self._buffers, counts, strict=True)):
            if b._cell[0] != count or i in part.changed:
                part.changed[i] = b._array.copy()
                b._array[...] = self._before[i]
        if part.error is not None:
            raise part.error


class _Ended(BaseException):
    """Ends a part that waits, because another has failed."""


class _Part:
    """asked: what the part gives to the meeting at which it waits, None where it has ended."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work, self._ended = work, False
        self._runs, self._waits = threading.Lock(), threading.Lock()  # one of them is free at a time
        self._runs.acquire()
        self._waits.acquire()
        self._thread = threading.Thread(target=self._main, daemon=True)
        self.asked: tuple[Array, Add] | None = None
        self.given: Any = None  # the sum of all parts
        self.error: BaseException | None = None
        self.gradients: list[Any] | None = None
        self.changed: dict[int, Array] = {}
        self._thread.start()

    def resume(self) -> None:
        self.asked = None
        self._runs.release()
        self._waits.acquire()

    def end(self) -> None:
        if self._thread.is_alive():
            self._ended = True
            self._runs.release()
        self._thread.join()

    # --- on its own thread

    def _main(self) -> None:
        self._runs.acquire()
        try:
            if not self._ended:
                with meeting(self._meet):
                    self._work()
        except _Ended:
            pass
        except BaseException as error:
            self.error = error
        self.asked = None
        self._waits.release()

    def _meet(self, values: Array, add: Add) -> Any:
        self.asked = values, add
        self._waits.release()
        self._runs.acquire()
        if self._ended:
            raise _Ended
        return self.given
