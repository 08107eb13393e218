"""Work in other threads."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What work(0), work(1) ... return, all at once, each in a thread of its own; raises what one raises."""
    begin = threading.Barrier(count)

    def run(number: int) -> Any:
        begin.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def in_thread(work: Callable[..., Any], *args: Any) -> Any:
    """What the call returns or raises in another thread."""
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
