"""Results that a thread computes ahead of their use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import ranvier._core as _core

if TYPE_CHECKING:
    from concurrent.futures import Future

A = TypeVar("A")
B = TypeVar("B")


def ahead(make: Callable[[A], B], arguments: Iterable[A], depth: int) -> Generator[B, None, None]:
    """`map(make, arguments)`, in order, with up to `depth` results computed ahead in a thread.

    The caller's thread reads `arguments`. An error of `make` is raised when its result is due, with the
    thread's traceback. The thread ends with the iterator: at its end, when it is closed, or deleted. Kernels
    in `make` run on that thread alone and never occupy the team of the program's kernels.
    """
    from concurrent.futures import ThreadPoolExecutor  # its import takes 10 ms

    rest: Iterator[Any] = iter(arguments)
    pending: deque[Future[B]] = deque()
    pool = ThreadPoolExecutor(1, "ranvier-prefetch", initializer=_core.set_alone, initargs=(True,))
    try:
        pending.extend(pool.submit(make, argument) for argument in islice(rest, depth))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(make, argument) for argument in islice(rest, 1))
            yield result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
