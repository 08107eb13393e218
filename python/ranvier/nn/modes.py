"""Blocks in which a model is in training or evaluation mode, and which restore its modes; records of the
calls of its layers.

The mode is an attribute of the modules, so all threads share it. A training in one thread and an evaluation
in another would switch each other's mode without notice: so the later one raises an error. Evaluations may
run side by side: the first one stores the modes, and the last one restores them.
"""

from __future__ import annotations

import os
from _thread import RLock, get_ident
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ranvier.autograd import Tensor, no_grad
from ranvier.nn.hooks import Outputs
from ranvier.nn.module import Module

if TYPE_CHECKING:
    from ranvier.tensors.types import TensorLike

__all__ = [
    "LayerCall", "ShortCalls", "evaluating", "layer_calls", "layer_outputs", "mode_kept", "require_untrained",
    "training",
]  # fmt: skip


class _Evaluation:
    """The evaluations of one model that are running, and the modes before the first of them."""

    def __init__(self, before: list[tuple[Module, bool]]) -> None:
        self.before = before
        self.threads: list[int] = []


class _State:
    """The trainings and evaluations that run now, by the id of the model."""

    def __init__(self) -> None:
        self.lock = RLock()
        self.trained: dict[int, int] = {}  # the thread that trains the model
        self.evaluated: dict[int, _Evaluation] = {}

    def forked(self) -> None:
        """Called in a forked child. It has one thread, so the calls of all other threads have ended."""
        self.lock = RLock()
        mine = get_ident()
        self.trained = {key: thread for key, thread in self.trained.items() if thread == mine}
        for key, running in list(self.evaluated.items()):
            running.threads = [thread for thread in running.threads if thread == mine]
            if not running.threads:
                del self.evaluated[key]
                _restore(running.before)


_state = _State()
if hasattr(os, "register_at_fork"):  # Windows has no fork.
    os.register_at_fork(after_in_child=_state.forked)


def _modes(model: Module) -> list[tuple[Module, bool]]:
    """(module, whether it is in training mode) for all modules of a model."""
    return [(module, module.training) for module in model.modules()]


def _restore(modes: list[tuple[Module, bool]]) -> None:
    for module, training in modes:
        module.training = training


@contextmanager
def mode_kept(model: Module) -> Iterator[None]:
    """A block that restores the mode (training or evaluation) of every module at its end."""
    before = _modes(model)
    try:
        yield
    finally:
        _restore(before)


def require_untrained(model: Module, name: str = "") -> None:
    """Raises RuntimeError if another thread trains the model. name: the name of the method, for the error."""
    if _state.trained.get(id(model), get_ident()) != get_ident():
        raise RuntimeError(
            f"[{name or type(model).__name__}] a fit of this model is running in another thread, and would "
            "go on in evaluation mode; expected a call from one of its callbacks, or a copy of the model "
            "(copy.deepcopy(trainer.model))"
        )


@contextmanager
def training(model: Module, name: str) -> Iterator[None]:
    """A block that trains a model. At its end the modes are restored; until then no other thread may switch
    them. name: the name of the method, for the error.

    Raises:
        RuntimeError: another thread trains or evaluates the model.
    """
    mine = get_ident()
    key = id(model)
    with _state.lock:
        if _state.trained.get(key, mine) != mine:
            raise RuntimeError(
                f"[{name}] a fit of this model is running in another thread; expected one at a time"
            )
        running = _state.evaluated.get(key)
        if running is not None and any(thread != mine for thread in running.threads):
            raise RuntimeError(
                f"[{name}] another thread predicts or evaluates with this model; expected one at a time, or "
                "a copy of the model there (copy.deepcopy(trainer.model))"
            )
        outer = key in _state.trained  # True for a training inside a callback of another training.
        _state.trained[key] = mine
    try:
        with mode_kept(model):
            yield
    finally:
        if not outer:
            with _state.lock:
                _state.trained.pop(key, None)


@contextmanager
def evaluating(model: Module, name: str = "") -> Iterator[None]:
    """A block in evaluation mode and without gradients. name: the name of the method, for the error.

    Raises:
        RuntimeError: another thread trains the model.
    """
    mine = get_ident()
    key = id(model)
    with _state.lock:
        require_untrained(model, name)
        running = _state.evaluated.get(key)
        if running is None:
            running = _state.evaluated[key] = _Evaluation(_modes(model))
        running.threads.append(mine)
    try:
        model.eval()
        with no_grad():
            yield
    finally:
        with _state.lock:
            running.threads.remove(mine)
            if not running.threads:
                _state.evaluated.pop(key, None)
                _restore(running.before)


class ShortCalls:
    """Switches the mode for calls of microseconds. It is fast because it lists the modules of a model once.
    sklearn/one_row.py uses it, for predictions and steps with one row.

    So a module that the model gets later stays in its mode. The guards of a compiled call notice such a
    change of the modules.
    """

    def __init__(self, model: Module) -> None:
        # The dictionaries of attributes: a write there costs less than an assignment to the module.
        attributes = [module.__dict__ for module in model.modules()]
        self._attributes = [names for names in attributes if "training" in names]

    def run(self, training: bool, function: Callable[..., Any], *args: Any) -> Any:
        """function(*args) in this mode. Returns None, without a call, while any model is trained or
        evaluated.

        Other threads that begin a training or an evaluation wait until the call has ended.
        """
        with _state.lock:
            if _state.trained or _state.evaluated:
                return None
            switched = [names for names in self._attributes if names["training"] is not training]
            for names in switched:
                names["training"] = training
            try:
                return function(*args)
            finally:
                for names in switched:
                    names["training"] = not training


class LayerCall:
    """One call of a layer: its path in the model, the layer, the shape of its first input and its output.

    `gradient` is the gradient of a loss with respect to the output, or None; explore/examine.py sets it.
    """

    def __init__(self, name: str, layer: Module, input_shape: tuple[int, ...], output: Any) -> None:
        self.name = name
        self.layer = layer
        self.input_shape = input_shape
        self.output = output
        self.gradient: Any = None

    @property
    def value(self) -> Any:
        """The array of the output, which must be a Tensor."""
        return self.output._array


@contextmanager
def layer_calls(model: Module) -> Iterator[list[LayerCall]]:
    """A block in which the list records every call of a layer that has parameters or no children.

    The model goes on with copies of the outputs: a layer with `inplace=True` may overwrite these.
    """
    calls: list[LayerCall] = []

    def note(name: str, layer: Module, args: tuple[Any, ...], output: Any) -> Tensor | None:
        shape: tuple[int, ...] = ()
        if args and hasattr(args[0], "shape"):
            shape = tuple(args[0].shape)
        calls.append(LayerCall(name, layer, shape, output))
        if isinstance(output, Tensor):
            return output.clone()
        return None

    watched = []
    for name, layer in model.named_modules():
        has_parameters = any(parameter is not None for parameter in layer._parameters.values())
        has_children = any(child is not None for child in layer._modules.values())
        if has_parameters or not has_children:
            watched.append((name, layer))
    with Outputs(watched, note):
        yield calls


def layer_outputs(model: Module, x: TensorLike) -> list[LayerCall]:
    """Calls the model with a batch x, in evaluation mode and without gradients; returns the calls of layers.

    >>> import numpy as np
    >>> from ranvier import nn
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    >>> [(call.name, call.output.shape) for call in layer_outputs(model, np.ones((1, 3), np.float32))]
    [('0', (1, 4)), ('1', (1, 4))]
    """
    with evaluating(model), layer_calls(model) as calls:
        model(x)
    return calls
