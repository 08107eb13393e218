"""Names of the memory that a compiled step changes in place: parameters, gradients, optimizer state."""

from __future__ import annotations

from typing import Any

from ranvier.autograd import random


def names_of(modules: list[Any], gradients: list[tuple[Any, Any]], plans: list[Any]) -> dict[int, str]:
    """Names by address. modules: those that were called; plans: (plan, optimizer, group) of each update."""
    names = {_address(random.current()._state): "random stream"}
    of: dict[int, str] = {}  # names of parameters by id
    for prefix, root in _roots(modules):
        for name, p in (*root.named_parameters(), *root.named_buffers()):
            of.setdefault(id(p), prefix + name)
            names.setdefault(_address(p._array), of[id(p)])
    for number, (leaf, grad) in enumerate(gradients):
        name = of.setdefault(id(leaf), f"leaf {number}")
        names.setdefault(_address(leaf._array), name)
        if grad is not None:  # None: the step ended with zero_grad
            names.setdefault(_address(grad._array), f"{name}.grad")
    for plan, optimizer, _ in plans:
        names[_address(plan.numbers)] = f"settings of {type(optimizer).__name__}"
        for p, state in optimizer.state.items():
            for key, value in state.items():
                if hasattr(value, "ctypes"):
                    names.setdefault(_address(value), f"{of.get(id(p), 'parameter')}.{key}")
    return names


def _roots(modules: list[Any]) -> list[tuple[str, Any]]:
    """(prefix, module) of those that are not inside others; one has no prefix, several their class."""
    inner = {id(child) for m in modules for child in m.modules() if child is not m}
    roots = [m for m in modules if id(m) not in inner and any(True for _ in (*m.parameters(), *m.buffers()))]
    if len(roots) == 1:
        return [("", roots[0])]
    return [(f"{type(root).__name__}({number}).", root) for number, root in enumerate(roots)]


def _address(array: Any) -> int:
    return int(array.ctypes.data)
