"""Work in other threads, and results that do not depend on the number of the team's."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """The results of work(0), work(1) ..., run at the same time in separate threads; raises their errors."""
    begin = threading.Barrier(count)

    def run(number: int) -> Any:
        begin.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def in_thread(work: Callable[..., Any], *args: Any) -> Any:
    """The result or error of the call in another thread."""
    return in_threads(1, lambda _: work(*args))[0]


@contextlib.contextmanager
def beside(work: Callable[[], Any]) -> Iterator[None]:
    """While the block runs, another thread calls the function over and over."""
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            work()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def same_bits(
    threads: Callable[[int], None], run: Callable[[], Any], counts: Iterable[int] = (1, 2, 3, 4)
) -> None:
    """run() gives an array, or several or None, of the same bits at any number of threads."""
    first: list[bytes] = []
    for count in counts:
        threads(count)
        found = run()
        found = found if isinstance(found, (tuple, list)) else (found,)
        bits = [np.asarray(y).tobytes() for y in found if y is not None]
        first = first or bits
        assert bits == first, f"{count} threads"
