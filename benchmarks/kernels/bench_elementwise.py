"""Element-wise functions, arithmetic and comparisons into a given output.

One million elements, then few and many, odd sizes, float64, repeated and strided operands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from ranvier import _core
from reference import activation as reference, special
from support.tolerance import tolerance

from benchmarks.harness import Race
from benchmarks.machine import thread_counts
from benchmarks.peers.process import Peer
from benchmarks.views import viewed

SHAPE = (1024, 1024)
NUMPY_NAMES = {"mul": "multiply", "div": "divide", "pow": "power", "lt": "less", "abs": "absolute"}
REFERENCE = ("relu", "sigmoid", "gelu")  # not in NumPy
SPECIAL = ("erfc", "lgamma", "digamma")  # nor these


@dataclass(frozen=True)
class Case:
    function: str
    shapes: tuple[tuple[int, ...], ...] = (SHAPE,)
    views: dict[str, str] = field(default_factory=dict)
    numbers: tuple[float, ...] = ()
    dtype: str = "float32"


TWO = (SHAPE, SHAPE)
CASES = {
    **{name: Case(name, TWO) for name in ("add", "mul", "div", "pow", "maximum", "lt")},
    **{name: Case(name) for name in ("sqrt", "exp", "log", "sin", "cos", "log1p", "expm1", "abs")},
    **{name: Case(name) for name in ("relu", "sigmoid", "tanh", "gelu")},
    **{name: Case(name, ((256, 1024),)) for name in SPECIAL},
    **{f"{name}_f64": Case(name, ((256, 1024),), dtype="float64") for name in SPECIAL},
    "add_row": Case("add", (SHAPE, SHAPE[1:])),
    "add_column": Case("add", (SHAPE, (SHAPE[0], 1))),
    "add_short_row": Case("add", ((50_000, 10), (10,))),
    "add_transposed": Case("add", TWO, {"b": "transposed"}),
    "add_unaligned": Case("add", ((1024, 1025), (1024, 1025)), {"a": "unaligned", "b": "unaligned"}),
    "exp_every_second": Case("exp", ((1024, 2048),), {"a": "every_second"}),
    "add_number": Case("add", numbers=(2.0,)),
    "clip": Case("clip", numbers=(1.0, 2.0)),
    "where": Case("where", (SHAPE, SHAPE, SHAPE)),
    "square": Case("pow", numbers=(2.0,)),
    "cube": Case("pow", numbers=(3.0,)),
    "pow_2.5": Case("pow", numbers=(2.5,)),
    **{f"{name}_1000": Case(name, ((1000,),) * 2) for name in ("add", "lt", "pow")},
    **{f"{name}_1000": Case(name, ((1000,),)) for name in ("exp", "tanh", "relu")},
    **{f"{name}_odd": Case(name, ((1023, 257),) * 2) for name in ("add", "div", "pow")},
    **{f"{name}_odd": Case(name, ((1023, 257),)) for name in ("exp", "log", "sigmoid")},
    **{f"{name}_16M": Case(name, ((4096, 4096),) * 2) for name in ("add", "mul")},
    **{f"{name}_16M": Case(name, ((4096, 4096),)) for name in ("relu", "exp")},
    **{f"{name}_f64": Case(name, TWO, dtype="float64") for name in ("add", "div", "pow")},
    **{f"{name}_f64": Case(name, dtype="float64") for name in ("exp", "log", "sin", "tanh", "sqrt")},
}


def arrays_of(case: Case) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    inputs = {
        name: rng.uniform(0.1, 4, shape).astype(case.dtype)
        for name, shape in zip("abc", case.shapes, strict=False)
    }
    if case.function == "where":
        inputs["a"] = inputs["a"] > 2
    return inputs


def elementwise(case: Case) -> Callable[..., Callable[[], Any]]:
    def ours(**arrays: np.ndarray) -> Callable[[], Any]:
        operands = (*viewed(arrays, case.views), *case.numbers)
        shape = np.broadcast_shapes(*(np.shape(x) for x in operands))
        out = np.empty(shape, bool if case.function == "lt" else case.dtype)
        function = getattr(_core, case.function)
        return lambda: function(*operands, out=out)

    return ours


def exact(case: Case, inputs: dict[str, np.ndarray]) -> np.ndarray:
    wide = np.longdouble if case.function in SPECIAL else np.float64
    operands = [x if x.dtype == bool else x.astype(wide) for x in viewed(inputs, case.views)]
    home = reference if case.function in REFERENCE else special if case.function in SPECIAL else np
    return np.asarray(getattr(home, NUMPY_NAMES.get(case.function, case.function))(*operands, *case.numbers))


@pytest.mark.parametrize("threads", thread_counts())
@pytest.mark.parametrize("name", CASES)
def bench_elementwise(race: Race, name: str, threads: int) -> None:
    case = CASES[name]
    inputs = arrays_of(case)
    expected = exact(case, inputs)
    options = {"function": case.function, "views": case.views, "numbers": list(case.numbers)}
    numpys = dict(options, function=NUMPY_NAMES.get(case.function, case.function))
    peers = {"torch": Peer("torch", options), "numpy": Peer("numpy", numpys)}
    if case.function in REFERENCE + SPECIAL:
        del peers["numpy"]
    item = np.dtype(case.dtype).itemsize
    written = expected.size * (1 if case.function == "lt" else item)
    race(
        "elementwise",
        f"{name} {'x'.join(map(str, expected.shape))}",
        ours=elementwise(case),
        inputs=inputs,
        expected=expected,
        tolerance=tolerance(case.dtype, 2, float(np.abs(expected).max())),
        moved=written + sum(x.nbytes for x in viewed(inputs, case.views)),
        peers=peers,
        threads=threads,
        dtype=case.dtype,
    )
