"""Runs an op or kernel on given arrays, as the right call of support/calls.py says."""

from copy import deepcopy
from functools import partial
from typing import Any

import ranvier as rv
from ranvier import kernels, ops
from support.calls import KERNELS, OPS, Call
from support.isolated import Case
from support.wrong_input import attempt, describe, leaf, sent_back

MODULES: dict[str, Any] = {"kernels": kernels, "ops": ops}
EVERY = [("kernels", name) for name in KERNELS] + [("ops", name) for name in OPS]


def call_of(module: str, name: str) -> Call:
    """Arrays of its own: `embedding` with max_norm and `batch_norm` change theirs."""
    return deepcopy((KERNELS if module == "kernels" else OPS)[name])


def run(module: str, name: str, arrays: Any, attributes: dict[str, Any], backward: bool = False) -> Any:
    """The result, with the same random numbers each time; of an op also with its gradients."""
    rv.manual_seed(0)
    function = getattr(MODULES[module], name)
    if not backward:
        return function(*arrays, **attributes)
    return sent_back(function(*map(leaf, arrays), **attributes))


def cases(module: str, name: str, arrays: list[Any]) -> list[Case]:
    """The call on these arrays, of an op also with gradients: each answers, or is refused."""
    attributes = call_of(module, name)[1]
    found: list[Case] = []
    for backward in (False, True)[: 1 + (module == "ops")]:
        what = f"{module}.{name}({[describe(x) for x in arrays]}, backward={backward})"
        call = partial(run, module, name, arrays, attributes, backward)
        found.append((what, partial(attempt, call, what)))
    return found
