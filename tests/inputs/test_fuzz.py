"""Random calls of kernels and ops: each answers, or refuses with an exception that says what it got.

Under a sanitizer this is also the search for reads and writes out of bounds, undefined behaviour and leaks
(docs/testing.md has the command). RANVIER_FUZZ_CALLS sets their number, RANVIER_FUZZ_SEED draws others.
"""

import gc
import os
import signal
import warnings
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from inputs.random_calls import MODULES, Call, random_call
from support.calls import WRITES
from support.threads import beside, in_threads
from support.wrong_input import attempt, flat, leaf, sent_back

CALLS = int(os.environ.get("RANVIER_FUZZ_CALLS", "6000"))
SEED = int(os.environ.get("RANVIER_FUZZ_SEED", "20240229"))
PARTS = 8


def answer(call: Call, rng: Any) -> Any:
    """The result; of an op half of the time with gradients, sent back through it."""
    function, arrays = getattr(MODULES[call.module], call.name), call.arrays
    differentiated = call.module == "ops" and rng.random() < 0.5
    if not differentiated:
        return function(*arrays, **call.attributes)
    return sent_back(function(*map(leaf, arrays), **call.attributes))


def _arrays(call: Call) -> list[Any]:
    parts = [part for x in call.arrays for part in (x if isinstance(x, (list, tuple)) else [x])]
    return [x for x in parts if isinstance(x, np.ndarray) and x.nbytes < 1 << 20]


def run(calls: int, rng: Any) -> int:
    """How many calls of so many gave arrays."""
    answered = 0
    for number in range(calls):
        call = random_call(rng)
        what = f"call {number} of seed {SEED}: {call}"
        before = [x.tobytes() for x in _arrays(call)]
        result = attempt(lambda call=call: answer(call, rng), what, standard=call.module == "kernels")
        answered += bool(flat(result))
        out = call.attributes.get("out")
        written = [out, *(call.arrays[at] for at in WRITES.get((call.module, call.name), ()))]
        written = [x for x in written if isinstance(x, np.ndarray)]
        for x, kept in zip(_arrays(call), before, strict=True):
            if not any(np.may_share_memory(x, other) for other in written):
                assert x.tobytes() == kept, f"an input changed: {what}"
    return answered


@pytest.mark.parametrize("part", range(PARTS))
def test_random_calls(part: int) -> None:
    answered = run(CALLS // PARTS, np.random.default_rng([SEED, part]))
    assert answered > CALLS // PARTS // 8  # else the calls are too wrong to reach a kernel


def test_no_memory_is_kept() -> None:
    """The bytes that the core's arrays hold are the same before and after."""
    run(200, np.random.default_rng(1))
    gc.collect()
    before = rv.memory_stats()["bytes_in_use"]
    run(500, np.random.default_rng(1))
    gc.collect()
    assert rv.memory_stats()["bytes_in_use"] == before


def test_random_calls_on_threads() -> None:
    """Four threads call at once, while another changes the number of threads all the time."""

    def call(part: int) -> None:
        run(CALLS // PARTS // 4, np.random.default_rng([SEED, PARTS + part]))

    def change() -> None:
        for count in (1, 3, 2):
            rv.set_num_threads(count)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the filters are not of one thread
        with beside(change):
            in_threads(4, call)
    rv.set_num_threads(2)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_random_calls_in_children() -> None:
    """Children of a process whose other thread is in the middle of a call."""

    def call() -> None:
        run(20, np.random.default_rng([SEED, 2 * PARTS]))

    codes = []
    with warnings.catch_warnings(), beside(call):
        warnings.simplefilter("ignore")
        for number in range(max(CALLS // PARTS // 100, 4)):
            pid = os.fork()
            if pid == 0:
                signal.alarm(300)
                code = 1
                try:
                    run(25, np.random.default_rng([SEED, 3 * PARTS + number]))
                    code = 0
                finally:
                    os._exit(code)
            codes.append(os.waitpid(pid, 0)[1])
    assert codes == [0] * len(codes)
