"""torch.futures: objects that stand for results which come later."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future as _Future
from typing import Any

__all__ = ["Future", "collect_all", "wait_all"]


class Future(_Future[Any]):
    """A result that another thread or a later call sets once by `set_result`; `wait` waits for it."""

    def __init__(self, *, devices: Any = None) -> None:
        super().__init__()

    def wait(self) -> Any:
        """The result, or the exception raised."""
        return self.result()

    def value(self) -> Any:
        """The result; RuntimeError if it is not there yet."""
        if not self.done():
            raise RuntimeError("[Future.value] got a future without a result; expected done() to be True")
        return self.result()

    def set_result(self, result: Any) -> None:
        if self.done():
            raise RuntimeError("[Future.set_result] got a second result; expected one")
        super().set_result(result)

    def then(self, callback: Callable[[Future], Any]) -> Future:
        """The future of callback(self), which is called when the result is there."""
        following = Future()

        def call(_: object) -> None:
            try:
                following.set_result(callback(self))
            except Exception as error:
                following.set_exception(error)

        self.add_done_callback(call)
        return following


def collect_all(futures: list[Future]) -> Future:
    """The future of the list, when all its futures have their results."""
    all_results = Future()
    missing = len(futures)

    def count(_: object) -> None:
        nonlocal missing
        missing -= 1
        if missing == 0:
            all_results.set_result(futures)

    for future in futures:
        future.add_done_callback(count)
    if not futures:
        all_results.set_result(futures)
    return all_results


def wait_all(futures: list[Future]) -> list[Any]:
    """The results of all; the exception of the first that has one is raised."""
    return [future.wait() for future in futures]
