"""The kinds of guards, and those on optimizers and layers."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from ranvier.program.objects import in_class, pairs_of

STATE = "the state"  # of an optimizer, which the first steps make


class Kind(IntEnum):
    """As in cpp/bindings/guards.h."""

    ITEM = 0
    MISSING = 1
    SLOT = 2
    ATTRIBUTE = 3
    CELL = 4
    LIST = 5
    DICT = 6
    TYPE = 7
    NAMES = 8
    FUNCTION = 9
    ARRAY = 10
    GRADIENT = 11
    CALL = 12


def guard_optimizer(walk: Any, plan: Any, optimizer: Any, group: dict[str, Any]) -> None:
    """Guards on one group of an optimizer whose step was recorded.

    Numbers among the settings are not compared: the kernel reads them at each replay (`_Plan.refresh`).
    """
    name, own, kind = type(optimizer).__name__, vars(optimizer), type(optimizer)
    for attribute in ("param_groups", "state", "_plans"):
        walk.add(Kind.ITEM, own, attribute, own[attribute], f"{name}.{attribute}")
    for attribute in ("step", "zero_grad", "settings", "state_names"):
        walk.add(Kind.MISSING, own, attribute, None, f"{name}.{attribute}")
        values = attribute, in_class(kind, attribute)
        walk.add(Kind.NAMES, kind, attribute, values, f"{name}.{attribute}")
    walk.add(Kind.LIST, optimizer.param_groups, "", tuple(optimizer.param_groups), f"the groups of {name}")
    walk.add(Kind.LIST, group["params"], "", tuple(group["params"]), f"the parameters of {name}")
    walk.add(Kind.ITEM, group, "params", group["params"], f"the parameters of {name}")
    for key, value in group.items():
        if type(value) not in (int, float, tuple, list):
            walk.add(Kind.ITEM, group, key, value, f"{key} of {name}")
    walk.add(Kind.ITEM, optimizer._plans, id(group), plan, f"{STATE} of {name}")
    for p in plan.active:
        state = optimizer.state.get(p)
        if state is not None:
            walk.add(Kind.ITEM, optimizer.state, p, state, f"{STATE} of {name}")
            walk.add(Kind.DICT, state, "", pairs_of(state), f"{STATE} of {name}")


def guard_module(walk: Any, m: Any, text: str) -> None:
    """Guards on the parts of a layer and their number, its mode and its hooks."""
    own = vars(m)
    for registry in ("_parameter_names", "_buffer_names", "_module_names"):
        walk.add(Kind.DICT, own[registry], "", pairs_of(own[registry]), f"the parts of {text}")
        for name in own[registry]:
            if name in own:
                walk.item(own, name, f"{text}.{name}")
    if "training" in own:
        walk.add(Kind.ITEM, own, "training", own["training"], f"the mode of {text}")
    hooks = f"the hooks of {text}"
    if own.get("_hooks") is None:
        walk.add(Kind.ITEM if "_hooks" in own else Kind.MISSING, own, "_hooks", None, hooks)
        return
    walk.item(own, "_hooks", hooks)
    walk.stack += [(table, hooks) for table in vars(own["_hooks"]).values()]
