"""Functions with static methods and a context, PyTorch's form of :class:`ranvier.autograd.Function`.

A subclass of Function whose ``forward(ctx, ...)`` is a static method is recognised when it is made
(`give_form`). Its ``apply`` runs the static forward without a tape, and then records one node of the class
`_Node`, whose backward calls the static ``backward(ctx, ...)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from inspect import signature
from typing import Any

import numpy as np

from ranvier.grad_mode import enable_grad, mode, no_grad
from ranvier.tape.function import Function, TakesHalves
from ranvier.tape.higher_order import AGAIN, of_output, of_program, rule
from ranvier.tape.hooks import kept, tensor_of
from ranvier.tensors.memory import Array, filled, like
from ranvier.tensors.tensor import Tensor, wrap

# What a saved Tensor is (`Context._sources`): the number of an output of forward, None for another tensor, or
_INPUT = -1  # an input of forward, or an output that is marked as not differentiable


class Context:
    """``ctx``: what forward keeps for backward, as attributes or with ``save_for_backward``."""

    needs_input_grad: tuple[bool, ...]
    _freed = False  # True if backward has dropped what was saved

    def __init__(self, needs: tuple[bool, ...]) -> None:
        self.needs_input_grad = needs
        self._saved: tuple[Any, ...] = ()
        self._changes: tuple[int, ...] = ()  # the count of changes of each saved tensor, when it was saved
        self._shown: tuple[Any, ...] = ()  # the saved tensors with their history, while backward runs
        self._plain: tuple[Any, ...] = ()  # outputs that are marked as not differentiable
        self._filled = True  # whether backward gets zeros for outputs that were not used
        self._sources: tuple[Any, ...] = ()  # for each saved tensor: _INPUT, an output's number, or None

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keeps tensors for backward, which raises RuntimeError if one was changed in place meanwhile."""
        if any(not (x is None or isinstance(x, Tensor)) for x in tensors):
            raise TypeError("[save_for_backward] got a value that is no Tensor; expected Tensors or None")
        self._saved = tensors
        self._changes = tuple(map(_version, tensors))

    def save_for_forward(self, *tensors: Tensor | None) -> None:
        """Does nothing: ``func.jvp`` computes forward mode of such a Function from its backward."""

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` got, in the same order. Raises RuntimeError if it was freed or changed."""
        if self._freed:
            raise RuntimeError(AGAIN)
        for x, count in zip(self._saved, self._changes, strict=True):
            _require_version(x, count)
        if not self._shown:
            return self._saved
        # Backward reads saved outputs as new tensors, which must not have been changed either.
        for x, y in zip(self._saved, self._shown, strict=False):
            if y is not x:
                _require_version(y, 0)
        return self._shown

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """These outputs need no gradient."""
        self._plain = (*self._plain, *tensors)

    def mark_dirty(self, *tensors: Tensor) -> None:
        """Raises RuntimeError: forward must return new tensors."""
        raise RuntimeError(
            "[mark_dirty] got an input changed in place; expected forward to return new tensors"
        )

    def set_materialize_grads(self, value: bool) -> None:
        """False: backward gets None, not zeros, for outputs that were not used."""
        self._filled = bool(value)


def _version(x: Tensor | None) -> int:
    """How often a saved tensor was changed in place; 0 for None."""
    return 0 if x is None else x._version


def _require_version(x: Tensor | None, count: int) -> None:
    """Raises RuntimeError if a saved tensor was changed in place since its version was `count`."""
    if x is not None and x._version != count:
        raise RuntimeError(
            "[saved_tensors] a variable needed for gradient computation has been modified by an "
            f"inplace operation: a tensor of shape {x.shape} is at version {x._version}; expected {count}"
        )


class _ArrayType:
    """The shape and dtype of an array."""

    def __init__(self, array: Array) -> None:
        self.shape = array.shape
        self.dtype = array.dtype


class _Node(TakesHalves):
    """The node of the tape for one call of ``apply``.

    Attributes:
        kind: the class with the static methods.
        slots: the indices of the arguments of forward that are Tensors.
        places: the indices of its outputs that are Tensors; count: the number of all outputs.
        made: these Tensors, until `forward` has returned their arrays. several: whether there are some.
        inputs, results: the shapes and dtypes of the Tensors among arguments and outputs.
    """

    def __init__(
        self, kind: type[Function], context: Context, outputs: tuple[Any, ...], slots: list[int]
    ) -> None:
        """outputs: what the class's forward returned."""
        self.kind = kind
        self.context = context
        self.slots = slots
        self.places = [i for i, y in enumerate(outputs) if isinstance(y, Tensor)]
        self.made = tuple(outputs[i] for i in self.places)
        self.count = len(outputs)
        self.several = len(self.made) > 1
        first = self.made[0]
        self.of_array = first._of_array if first.is_meta else tensor_of  # makes tensors of gradients

    def forward(self, *arrays: Array) -> Any:
        """The arrays of the results that the class's forward has computed; copies if they share an input's
        memory."""
        made = self.made
        self.made = ()
        self.inputs = [_ArrayType(x) for x in arrays]
        results = tuple(_in_own_memory(y._array, arrays) for y in made)
        self.results = [_ArrayType(y) for y in results]
        if self.several:
            return results
        return results[0]

    def backward(self, *gradients: Array | None) -> Any:
        context = self.context
        dys = map(self._tensor_of, gradients)
        if context._saved and any(source is not None and source >= 0 for source in context._sources):
            with enable_grad():  # a backward may differentiate by a saved output (implicit functions)
                context._shown = self._saved_with_history()
        try:
            with no_grad():
                slopes = self.run(context, dys)
        finally:
            context._shown = ()
        return tuple(map(_array_of, slopes))

    def _tensor_of(self, gradient: Array | None) -> Tensor | None:
        return None if gradient is None else self.of_array(gradient)

    def _saved_with_history(self) -> tuple[Tensor | None, ...]:
        """The saved tensors; those that are outputs of forward lead to this node."""
        shown = []
        for x, source in zip(self.context._saved, self.context._sources, strict=True):
            if source is not None:
                x = _with_history(self, x, source)
            shown.append(x)
        return tuple(shown)

    def release(self) -> None:
        """Frees the saved tensors alone: another backward that reads them raises an error."""
        self.context._freed = bool(self.context._saved)
        self.context._saved = ()

    def name(self) -> str:
        return f"{self.kind.__name__}Backward"

    def __getattr__(self, name: str) -> Any:
        """The attributes of the context: in PyTorch the node and the context are the same object."""
        if "context" in vars(self):
            return getattr(self.context, name)
        raise AttributeError(name)

    def run(self, context: Context, gradients: Iterable[Tensor | None]) -> list[Tensor | None]:
        """The gradients that the class's backward returns for the inputs that are Tensors, in their
        shapes."""
        name = self.kind.__name__
        dys: list[Tensor | None] = [None] * self.count  # None for outputs that are no Tensors
        for i, dy, result in zip(self.places, gradients, self.results, strict=True):
            if dy is None and context._filled:
                dy = wrap(filled(0, result.shape, result.dtype))
            dys[i] = dy
        backward: Callable[..., Any] = self.kind.backward
        slopes = backward(context, *dys)
        if not isinstance(slopes, tuple):
            slopes = (slopes,)
        count = len(context.needs_input_grad)
        if len(slopes) < count or any(x is not None for x in slopes[count:]):
            raise RuntimeError(
                f"[{name}.backward] returned {len(slopes)} gradients; expected {count}, one for each "
                "argument of forward"
            )
        for i, dx in enumerate(slopes[:count]):
            if dx is not None and i not in self.slots:
                raise RuntimeError(
                    f"[{name}.backward] returned a gradient for argument {i + 1} of forward, which is no "
                    "Tensor; expected None there"
                )
        reduced: list[Tensor | None] = []
        for i, of_input in zip(self.slots, self.inputs, strict=True):
            if context.needs_input_grad[i]:
                reduced.append(self._reduced(slopes[i], of_input.shape, of_input.dtype))
            else:  # here backward may return anything
                reduced.append(None)
        return reduced

    def _reduced(self, dx: Tensor | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Tensor | None:
        """A gradient in the dtype and shape of its input, summed over the axes along which the input's shape
        was broadcast to the gradient's."""
        if dx is None:
            return None
        if not isinstance(dx, Tensor):
            dx = wrap(np.asarray(dx))
        if dx._array.dtype != dtype and dtype.kind == "f":
            dx = dx.to(dtype)
        if dx.shape == shape:
            return dx
        more = dx.ndim - len(shape)  # the gradient's axes that the input does not have
        if more < 0 or any(n not in (1, m) for n, m in zip(shape, dx.shape[more:], strict=True)):
            raise RuntimeError(
                f"[{self.kind.__name__}.backward] returned a gradient of shape {dx.shape}; expected {shape}"
            )
        stretched = [more + i for i, n in enumerate(shape) if n == 1]
        return dx.sum((*range(more), *stretched)).reshape(shape)


def _array_of(gradient: Tensor | None) -> Array | None:
    return None if gradient is None else kept(gradient)


def _in_own_memory(y: Array, inputs: tuple[Array, ...]) -> Array:
    """The array of an output; a copy if it shares memory with an input."""
    if any(np.may_share_memory(y, x) for x in inputs):
        return like(y, y)
    return y


@rule(_Node)
@of_program
def _on_tensors(node: _Node, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
    """The class's backward with create_graph=True: what it computes from inputs and outputs is recorded."""
    from copy import copy  # used here alone

    name = node.kind.__name__
    context = copy(node.context)
    if getattr(node.kind.backward, "once_differentiable", False):
        raise NotImplementedError(
            f"[{name}] got create_graph=True; expected a backward without once_differentiable"
        )
    context._shown = tuple(map(partial(_with_history, node), context._saved, context._sources))
    return tuple(node.run(context, gradients))


def _with_history(node: _Node, x: Tensor | None, source: int | None) -> Tensor | None:
    """The saved Tensor x as a backward on the tape reads it. source: as in `Context._sources`."""
    if x is None or source == _INPUT or x._requires_grad or x._array.dtype.kind != "f":
        return x
    if source is None:
        raise NotImplementedError(
            f"[{node.kind.__name__}] got create_graph=True and a saved tensor of shape {x.shape} that is "
            "neither input nor output of forward; expected those: return it too, or keep a constant as an "
            "attribute of ctx"
        )
    index = source if node.several else None
    return of_output(node, x._array, index)


def _source(x: Tensor | None, as_it_is: tuple[Any, ...], outputs: list[Any]) -> int | None:
    """_INPUT if x is among `as_it_is`, else its number among the outputs, or None."""
    if any(x is other for other in as_it_is):
        return _INPUT
    return next((i for i, y in enumerate(outputs) if x is y), None)


def applied(kind: Any, *args: Any, **settings: Any) -> Any:
    """Runs ``kind.forward(ctx, *args)`` and records it; gradients come from ``kind.backward(ctx, ...)``.

    kind: the user's class. It is the ``apply`` of that class, a class method.
    Outputs that are no Tensors are returned as they are. Raises TypeError for a Tensor given by keyword that
    requires a gradient: backward returns gradients of the other arguments only.
    """
    if any(isinstance(x, Tensor) and x.requires_grad and mode.enabled for x in settings.values()):
        raise TypeError(
            f"[{kind.__name__}.apply] got a Tensor that requires a gradient by keyword; expected it by "
            "position"
        )
    has_setup = "setup_context" in dir(kind)  # then forward gets no context
    if has_setup:  # setup_context gets all arguments of forward, those with defaults included
        bound = signature(kind.forward).bind(*args, **settings)
        bound.apply_defaults()
        args = bound.args
        settings = bound.kwargs
    needs = tuple(isinstance(x, Tensor) and x.requires_grad and mode.enabled for x in args)
    context = Context(needs)
    with no_grad():
        if has_setup:
            result = kind.forward(*args, **settings)
            kind.setup_context(context, args, result)
        else:
            result = kind.forward(context, *args, **settings)
    outputs = result if isinstance(result, tuple) else (result,)
    slots = [i for i, x in enumerate(args) if isinstance(x, Tensor)]
    if not any(needs) or not any(isinstance(y, Tensor) and y.is_floating_point() for y in outputs):
        return result
    node = kind._node(kind, context, outputs, slots)  # `give_form` has made this subclass of _Node
    results = node.apply(*(args[i] for i in slots))
    if not isinstance(results, tuple):
        results = (results,)
    _note_sources(context, args, [outputs[i] for i in node.places])
    returned = list(outputs)
    for i, y in zip(node.places, results, strict=True):
        # `_of_array`: a Tensor without values (torch/tensors/meta.py) makes another one of an array.
        returned[i] = outputs[i]._of_array(y) if outputs[i].is_meta else y
        if any(outputs[i] is plain for plain in context._plain):
            y._requires_grad = False
            y._grad_fn = None
    if isinstance(result, tuple):
        return tuple(returned)
    return returned[0]


def _note_sources(context: Context, args: tuple[Any, ...], outputs: list[Any]) -> None:
    """Notes what each saved tensor is. outputs: the Tensors among the outputs of forward."""
    as_it_is = (*args, *context._plain)
    context._sources = tuple(_source(x, as_it_is, outputs) for x in context._saved)
    # As in PyTorch, forward may change an output in place after it has saved the output.
    changes = list(context._changes)
    for i, source in enumerate(context._sources):
        if source is not None and source >= 0:
            changes[i] = context._saved[i]._version
    context._changes = tuple(changes)


def give_form(cls: Any) -> None:
    """Gives a class of PyTorch's form an ``apply`` that is called on the class. `forms` calls it for each
    new subclass of this form."""
    # An `apply` that the class defines stays, and may call this one by super().
    if "apply" not in vars(cls):
        cls.apply = classmethod(applied)
    cls._node = type(cls.__name__, (_Node,), {})
