"""Runs an op or kernel on given arrays, as the right call of support/calls.py says."""

from __future__ import annotations

from functools import partial
from typing import Any

import ranvier as rv
from ranvier import kernels, ops
from support.calls import KERNELS, OPS, Call
from support.isolated import Case
from support.wrong_input import attempt, describe, leaf, sent_back

MODULES: dict[str, Any] = {"kernels": kernels, "ops": ops}
EVERY = [("kernels", name) for name in KERNELS] + [("ops", name) for name in OPS]


def call_of(room: str, name: str) -> Call:
    return (KERNELS if room == "kernels" else OPS)[name]


def run(room: str, name: str, arrays: Any, attributes: dict[str, Any], backward: bool = False) -> Any:
    """The result, with the same random numbers each time; of an op, gradients are sent back if asked for."""
    rv.manual_seed(0)
    attributes = dict(attributes)
    positional = attributes.pop("*", ())
    positional = positional if isinstance(positional, (tuple, list)) else (positional,)
    function = getattr(MODULES[room], name)
    if not backward:
        return function(*arrays, *positional, **attributes)
    return sent_back(function(*map(leaf, arrays), *positional, **attributes))


def cases(room: str, name: str, arrays: list[Any]) -> list[Case]:
    """The call on these arrays, of an op also with gradients: each answers, or is refused."""
    attributes = call_of(room, name)[1]
    found: list[Case] = []
    for backward in (False, True)[: 1 + (room == "ops")]:
        what = f"{room}.{name}({[describe(x) for x in arrays]}, backward={backward})"
        call = partial(run, room, name, arrays, attributes, backward)
        found.append((what, partial(attempt, call, what, house=room == "kernels")))
    return found
