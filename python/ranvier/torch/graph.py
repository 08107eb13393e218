"""The names of `torch.autograd.graph`, and of `torch.autograd.forward_ad`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

from ranvier.autograd import bump, hooks
from ranvier.autograd.nodes import GradientEdge, Node, get_gradient_edge

__all__ = [
    "GradientEdge", "Node", "UnpackedDualTensor", "allow_mutation_on_saved_tensors",
    "disable_saved_tensors_hooks", "dual_level", "enter_dual_level", "exit_dual_level", "get_gradient_edge",
    "increment_version", "make_dual", "register_multi_grad_hook", "save_on_cpu", "saved_tensors_hooks",
    "unpack_dual",
]  # fmt: skip


@contextmanager
def save_on_cpu(pin_memory: bool = False, device_type: str = "cuda") -> Iterator[None]:
    """Nothing to do: all that is saved is on the CPU."""
    yield


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """Nothing to do: there are no such hooks."""
    yield


def increment_version(tensor: Any) -> None:
    """Counts a change in place of a tensor, or of several."""
    for x in [tensor] if hasattr(tensor, "_cell") else tensor:
        bump(x)


def register_multi_grad_hook(tensors: Iterable[Any], fn: Callable[..., Any], *, mode: str = "all") -> Any:
    """Calls ``fn`` with the gradients of all tensors when the last has arrived, at the end of backward if
    some have none (None); with ``mode="any"`` it gets the first."""
    if mode not in ("all", "any"):
        raise ValueError(f"[register_multi_grad_hook] got mode {mode!r}; expected 'all' or 'any'")
    tensors = list(tensors)
    arrived: dict[int, Any] = {}
    wanted = sum(x.requires_grad for x in tensors)

    def end() -> None:
        if mode == "all" and arrived and len(arrived) < wanted:
            fn([arrived.get(i) for i in range(len(tensors))])
        arrived.clear()

    def hook(i: int, gradient: Any) -> None:
        if not arrived:
            hooks.at_end.append(end)
        arrived[i] = gradient
        if mode == "any" and len(arrived) == 1:
            fn(gradient)
        elif mode == "all" and len(arrived) == wanted:
            fn([arrived.get(i) for i in range(len(tensors))])

    registered = [x.register_hook(partial(hook, i)) for i, x in enumerate(tensors) if x.requires_grad]
    return _Handles(registered)


class _Handles:
    """Several handles as one."""

    def __init__(self, handles: list[Any]) -> None:
        self.handles = handles

    def remove(self) -> None:
        for handle in self.handles:
            handle.remove()

    def __enter__(self) -> _Handles:
        return self

    def __exit__(self, *_: Any) -> None:
        self.remove()


def _refused(name: str, instead: str) -> Any:
    def refuse(*args: Any, **settings: Any) -> Any:
        raise NotImplementedError(f"[{name}] {instead}")

    refuse.__name__ = refuse.__qualname__ = name
    return refuse


_ARRAYS = "nodes keep NumPy arrays, which no hook replaces; torch.utils.checkpoint keeps less"
_FORWARD = "there are no dual tensors; torch.func.jvp computes J v"
saved_tensors_hooks = _refused("saved_tensors_hooks", _ARRAYS)
allow_mutation_on_saved_tensors = _refused("allow_mutation_on_saved_tensors", _ARRAYS)
dual_level = _refused("dual_level", _FORWARD)
enter_dual_level = _refused("enter_dual_level", _FORWARD)
exit_dual_level = _refused("exit_dual_level", _FORWARD)
make_dual = _refused("make_dual", _FORWARD)


def unpack_dual(tensor: Any, *, level: Any = None) -> Any:
    """(tensor, None): no tensor has a tangent."""
    return UnpackedDualTensor(tensor, None)


class UnpackedDualTensor(NamedTuple):
    primal: Any
    tangent: Any
