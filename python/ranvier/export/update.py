"""The updates of SGD, Adam and AdamW as instructions; the helpers `sgd` and `adam` are in kernels/update.c.

For each parameter of 32 elements, and once for each parameter group before the instructions:

    net_state.steps++;
    const float fix1_1 = -expm1f((float)net_state.steps * -0.10536052f), fix2_1 = ...; /* 1 - beta^steps */
    adam(net_state.w_0_weight, ram + 0, net_state.w_0_weight_exp_avg, ..., 32, ...);
"""

from __future__ import annotations

import math
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.export.instructions import Instruction, Routine, Value, literal
from ranvier.optim import Optimizer

if TYPE_CHECKING:
    from ranvier.export.file_arrays import FileArrays

_RATE = "learning_rate"
_STATES = {"sgd": ("momentum_buffer",), "adam": ("exp_avg", "exp_avg_sq")}
"""The arrays beside each parameter, by the helper: the keys in the optimizer's state."""

Group = dict[str, Any]
"""A parameter group of an optimizer."""


def updates(
    routine: Routine, memory: FileArrays, optimizers: list[Optimizer], gradients: dict[int, Value]
) -> None:
    """Adds the update of each parameter directly after the last instruction that uses it or its gradient.

    So the memory of the gradient is free early. memory: the FileArrays. gradients: by id of the parameter's
    array.
    """
    used: dict[int, int] = {}  # id of a buffer -> the last instruction that uses it
    for i, one in enumerate(routine.instructions):
        for value in (*one.operands(), *one.writes):
            used[id(value.buffer)] = i
    # sorted below: (i, 0) is instruction i, (i, 1) an update after it
    placed = [((i, 0), one) for i, one in enumerate(routine.instructions)]
    groups: list[tuple[Optimizer, Group]] = []
    for optimizer in optimizers:
        groups += [(optimizer, group) for group in optimizer.param_groups]
    for number, (optimizer, group) in enumerate(groups, 1):
        kind = _kind(optimizer, group)
        rate = f"state.{memory.scalar(_RATE, 'float', float(group['lr']), number)}"
        steps = f"state.{memory.scalar('steps', 'int32_t', _steps(optimizer, group), number)}"
        settings = _settings(kind, group, rate, steps, number)
        routine.prologue += _prologue(kind, group, steps, number)
        for p in group["params"]:
            gradient = gradients.get(id(p._array))
            if gradient is None:
                continue
            value = memory.value(p._array)
            state = optimizer.state.get(p, {})
            states: list[Any] = [memory.beside(value, name, state.get(name)) for name in _STATES[kind]]
            if kind == "sgd" and not group["momentum"]:
                states = [None]  # the helper takes NULL; the array is dropped, as no instruction uses it
            args = [value, gradient, *states, value.size, *settings]
            writes = [value, *[state for state in states if state is not None]]
            last_use = max(used.get(id(value.buffer), -1), used.get(id(gradient.buffer), -1))
            placed.append(((last_use, 1), Instruction(kind, args, writes)))
        if kind == "sgd":
            routine.epilogue.append(f"{steps}++;")
    placed.sort(key=itemgetter(0))
    routine.instructions = [instruction for _, instruction in placed]


def _kind(optimizer: Optimizer, group: Group) -> str:
    name = type(optimizer).__name__
    supported = type(optimizer).__module__.startswith("ranvier.") and name in ("SGD", "Adam", "AdamW")
    if not supported or group.get("maximize") or group.get("amsgrad"):
        raise ValueError(
            f"[export.c] got the optimizer {name}, or maximize or amsgrad; expected SGD, Adam or AdamW "
            "without these"
        )
    if name == "SGD":
        return "sgd"
    return "adam"


def _steps(optimizer: Optimizer, group: Group) -> int:
    """The number of updates of a group that were made in Python; for SGD only whether there was one."""
    states = [optimizer.state.get(p, {}) for p in group["params"]]
    if type(optimizer).__name__ == "SGD":
        return int(any(s.get("momentum_buffer") is not None for s in states))
    counts = {int(np.asarray(s.get("step", 0))) for s in states} or {0}
    if len(counts) > 1:
        raise ValueError(f"[export.c] got parameters after {sorted(counts)} updates; expected one number")
    return counts.pop()


def _prologue(kind: str, group: Group, steps: str, number: int) -> list[str]:
    """C before the instructions: counts Adam's steps, and computes 1 - beta^steps for both betas."""
    if kind == "sgd":
        return []
    fixes = []
    for i, beta in enumerate(group["betas"], 1):
        logarithm = "-INFINITY"
        if beta:
            logarithm = literal(math.log(beta))
        fixes.append(f"fix{i}_{number} = -expm1f((float){steps} * {logarithm})")
    return [f"{steps}++;", f"const float {', '.join(fixes)}; /* 1 - beta^steps */"]


def _settings(kind: str, group: Group, rate: str, steps: str, number: int) -> list[Any]:
    """The arguments of the helper after the number of elements."""
    decay = float(group["weight_decay"])
    if kind == "sgd":
        numbers = [decay, float(group["momentum"]), float(group["dampening"])]
        return [rate, *numbers, int(group["nesterov"]), f"{steps} == 0"]
    beta1, beta2 = map(float, group["betas"])
    shrink: str | float = 1.0
    if group.get("decoupled_weight_decay") and decay != 0.0:
        shrink = f"1.0f - {rate} * {literal(decay)}"
        decay = 0.0
    fixes = [f"{rate} / fix1_{number}", f"fix2_{number}"]
    return [*fixes, decay, shrink, 1 - beta1, beta2, 1 - beta2, float(group["eps"])]
