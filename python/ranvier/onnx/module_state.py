"""What a model keeps from one call to the next, such as a table that it makes at its first call.

A file has such tables as they are after a call with the example. That is right unless they follow from the
example's sizes: then a model whose first call has another size gives other results than the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

import ranvier as rv
from ranvier.nn import Module


class Attribute(NamedTuple):
    """The value of an attribute; content: what it holds, if it is a container that may change."""

    value: Any
    content: Any


State = dict[Module, dict[str, Attribute]]
"""The attributes of modules, by name."""


def state_of(modules: Iterable[Module]) -> State:
    """The attributes that the modules have now."""
    return {module: _attributes(module) for module in modules}


def _attributes(module: Module) -> dict[str, Attribute]:
    return {name: Attribute(value, _content(value)) for name, value in vars(module).items()}


def _content(value: Any) -> dict[Any, Any] | list[Any] | set[Any] | None:
    """A copy of a container that may change; None for any other value."""
    if isinstance(value, dict):
        return dict(value)
    if isinstance(value, list):
        return list(value)
    if isinstance(value, set):
        return set(value)
    return None


def restore(state: State) -> None:
    """Gives the modules the attributes that they had."""
    for module, attributes in state.items():
        present = vars(module)
        for name in present.keys() - attributes.keys():
            del present[name]
        for name, (value, content) in attributes.items():
            if present.get(name) is not value:
                present[name] = value
            if content is None or _is_same(_content(value), content):
                continue
            value.clear()
            if isinstance(value, list):
                value.extend(content)
            else:
                value.update(content)


def changed(before: State) -> list[str]:
    """What attributes of the modules have changed: "'mask' of Encoder"."""
    found: list[str] = []
    for module, attributes in before.items():
        for name, now in _attributes(module).items():
            if name == "_non_persistent_buffers_set":  # the buffer itself is named
                continue
            earlier = attributes.get(name, Attribute(None, None))
            found += [f"'{key}' of {type(module).__name__}" for key in _different(name, earlier, now)]
    return [*dict.fromkeys(found)]


def _different(name: str, before: Attribute, now: Attribute) -> list[str]:
    """The name if the attribute has changed; of the dicts of a module the keys that have."""
    if name in ("_buffers", "_parameters", "_modules") and isinstance(before.content, dict):
        return [key for key, item in now.content.items() if item is not before.content.get(key)]
    has_changed = not _is_same(before.value, now.value) or not _is_same(before.content, now.content)
    if has_changed:
        return [name]
    return []


def _is_same(a: Any, b: Any) -> bool:
    """True for one object, for equal numbers and texts, and for containers of the same objects."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(a[key] is b[key] for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))
    return isinstance(a, (bool, int, float, str, set)) and a == b


def require_independent_of_first_call(
    before: State, is_lazy: bool, results: Iterable[Callable[[], list[Any]]]
) -> None:
    """Raises ValueError where the results depend on the size of the model's first call.

    before: the state before the first call, with the example, which has been made.
    is_lazy: True if that call has made parameters.
    results: the model at other sizes; each returns arrays.
    """
    changes = changed(before)
    if not changes or is_lazy:  # from the state before, a lazy layer would make its parameters again
        return
    after = state_of(before)
    for result in results:
        restore(after)
        known = _results(result)
        restore(before)
        fresh = _results(result)
        restore(after)
        if known is not None and fresh is not None and not _are_equal(known, fresh):
            raise ValueError(
                f"[onnx.export] the model keeps {', '.join(changes[:3])} from its first call, and its "
                "results at other sizes of a dynamic axis depend on the size of that call; expected a table "
                "that is made in __init__ or at each call, or an axis that is static: leave it out of "
                "dynamic_axes"
            )


def _results(result: Callable[[], list[Any]]) -> list[Any] | None:
    """The arrays of a run with the same random numbers; None if it fails."""
    state = rv.get_rng_state()
    try:
        with suppress(Exception):
            return result()
        return None
    finally:
        rv.set_rng_state(state)


def _are_equal(a: list[Any], b: list[Any]) -> bool:
    if len(a) != len(b):
        return False
    for x, y in zip(a, b, strict=True):
        if x.shape != y.shape or not np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
            return False
    return True
