"""A peer's process: ``python -m benchmarks.peers.worker torch`` answers requests, one JSON line each.

It imports the peer's library, NumPy and the standard library, never ranvier: two OpenMP pools in one process
disturb each other by milliseconds.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.clock import one_round


class Worker:
    def __init__(self, library: str) -> None:
        self.adapter = importlib.import_module(f"benchmarks.peers.{library}")
        self.calls: dict[str, Callable[[], Any]] = {}

    def hello(self) -> dict[str, Any]:
        return {"version": self.adapter.version()}

    def prepare(
        self, case: str, op: str, inputs: str, options: dict[str, Any], answer: str
    ) -> dict[str, Any]:
        """Set the case up from the arrays in the file ``inputs``; its answer goes to the file ``answer``."""
        make = getattr(self.adapter, op, None)
        if make is None:
            return {"missing": f"no adapter for {op}"}
        with np.load(inputs) as arrays:
            call = make(**dict(arrays), **options)
        result = call.answer() if hasattr(call, "answer") else call()
        results = result if isinstance(result, (tuple, list)) else (result,)
        np.savez(answer, *(self.adapter.to_numpy(r) for r in results))
        self.calls[case] = call
        return {}

    def time(self, case: str, pace: str) -> dict[str, Any]:
        return {"seconds": one_round(self.calls[case], pace)}

    def forget(self, case: str) -> dict[str, Any]:
        self.calls.pop(case, None)
        return {}


def main() -> None:
    # A library's own output must not mix with the protocol's lines.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        command = request.pop("command")
        try:
            reply = getattr(worker, command)(**request)
        except Exception:
            reply = {"error": traceback.format_exc()}
        replies.write(json.dumps(reply) + "\n")


if __name__ == "__main__":
    main()
