"""torch.utils.checkpoint: calls whose activations are freed, and computed again in backward.

The graph of a call is replaced by one node (`_Checkpoint`). Its inputs are the Tensors among the arguments,
and the leaves (parameters) that the call has reached. Its backward runs the function again and differentiates
that run, with the same random numbers, precision and autocast.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import warnings
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ranvier.nn as nn
from ranvier import Tensor, autograd, get_rng_state, is_grad_enabled, no_grad, observe, set_rng_state
from ranvier.config import float32_matmul_precision, get_float32_matmul_precision
from ranvier.ops.making import random
from ranvier.tape.function import OWN
from ranvier.torch.devices.no_effect import NoEffect
from ranvier.torch.training import amp
from ranvier.torch.utils.pytree import tree_map_only


class CheckpointError(RuntimeError):
    """The second run of a function has recorded other operations than the first."""


def noop_context_fn() -> tuple[Any, Any]:
    """Two contexts without effect: see :func:`checkpoint`."""
    return contextlib.nullcontext(), contextlib.nullcontext()


# What a program's policy may answer for an operation; see `create_selective_checkpoint_contexts`.
_POLICIES = "MUST_SAVE PREFER_SAVE MUST_RECOMPUTE PREFER_RECOMPUTE MUST_CPU_OFFLOAD PREFER_CPU_OFFLOAD"
CheckpointPolicy = enum.Enum("CheckpointPolicy", _POLICIES, start=0)  # type: ignore[misc]


def create_selective_checkpoint_contexts(
    policy_fn_or_list: Callable[..., Any] | list[Any], allow_cache_entry_mutation: bool = False
) -> tuple[Any, Any]:
    """Two contexts without effect: all operations are computed again, whatever the policy says.

    Raises TypeError for what is neither a list of operations nor a function.
    """
    if not callable(policy_fn_or_list) and not isinstance(policy_fn_or_list, list):
        text = f"got {policy_fn_or_list!r}; expected a list of operations or a function of policies"
        raise TypeError(f"[create_selective_checkpoint_contexts] {text}")
    return noop_context_fn()


set_checkpoint_early_stop = set_checkpoint_debug_enabled = NoEffect


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs). Its activations are freed; backward runs it again with equal random numbers.

    use_reentrant: if True, one of args has to require a gradient and there are no kwargs, as in PyTorch. The
        gradients are computed in the same way for both values.
    context_fn: returns the contexts of the first run and of later ones.
    determinism_check: "none" does not compare the operations of the runs.
    debug: no effect.
    early_stop: no effect; the second run goes to its end.
    preserve_rng_state: if False, later runs draw other random numbers.

    A step that is being captured keeps its activations.

    >>> import ranvier as rv
    >>> x = rv.zeros(1, requires_grad=True)
    >>> rv.utils.checkpoint.checkpoint(rv.exp, x, use_reentrant=False).backward(); x.grad
    tensor([1.])
    """
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly; it is True",
            stacklevel=2,
        )
    if use_reentrant is not False:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug:
            raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
        if is_grad_enabled() and not any(isinstance(x, Tensor) and x.requires_grad for x in args):
            warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)
            with no_grad():
                return function(*args)
    if determinism_check not in ("default", "none"):
        raise ValueError(
            f"determinism_check should be one of ['default', 'none'], but got {determinism_check}"
        )
    while isinstance(function, functools.partial):
        args = (*function.args, *args)
        kwargs = {**function.keywords, **kwargs}
        function = function.func
    first, again = context_fn()
    if not is_grad_enabled() or observe.is_recording():
        with first:
            return function(*args, **kwargs)
    tensors: list[Tensor] = []

    def place_of(x: Tensor) -> _Place:
        return _Place(x, tensors)

    arguments = tree_map_only(Tensor, place_of, (args, kwargs))
    random_state = None
    if preserve:
        random_state = get_rng_state()
    call = _Call(function, arguments, again, random_state)
    with first:
        result, entered = call.run(tensors)
    call.outputs = _outputs(result, entered)
    if call.outputs:
        call.leaves, call.node_names = _reached(call.outputs, entered)
        made: Any = _Checkpoint.apply(call, *tensors, *call.leaves)  # type: ignore[arg-type]
        call.node = weakref.ref(made[0].grad_fn)  # weak, since the node holds the call
        for y, new in zip(call.outputs, made, strict=True):
            y._grad_fn = new._grad_fn  # frees the graph of the call, except what other Tensors need of it
        call.outputs = []
        call.checked = determinism_check == "default"
    return result


class _Place:
    """Stands for a Tensor among the arguments; index: its place in the list of the Tensors."""

    def __init__(self, x: Tensor, tensors: list[Tensor]) -> None:
        self.index = len(tensors)
        tensors.append(x)


class _Call:
    """A function and its arguments, with `_Place`s for their Tensors, to be run again in the same state."""

    node: weakref.ref[Any]  # the `_Checkpoint` node on the tape
    outputs: list[Tensor]  # the results that have a history
    leaves: list[Tensor]  # the leaves that the first run has reached
    node_names: list[str]  # the classes of the nodes of the first run
    checked: bool  # whether these are compared with those of the second run

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: Any,
        again: contextlib.AbstractContextManager[Any],
        random_state: Tensor | None,
    ) -> None:
        self.function = function
        self.arguments = arguments  # (args, kwargs)
        self.again = again  # the program's context for the second run
        self.random_state = random_state  # None: the second run draws other numbers
        self.precision = get_float32_matmul_precision()
        self.casts = amp.autocast("cpu", amp.get_autocast_dtype("cpu"), amp.is_autocast_enabled("cpu"))

    def run(self, tensors: Sequence[Tensor]) -> tuple[Any, list[Tensor]]:
        """The result, and the Tensors that the function got.

        Those that require gradients are views, so that the function's uses of a Tensor have a node of their
        own.
        """
        entered = list(tensors)
        for i, x in enumerate(tensors):
            if x.requires_grad:
                entered[i] = x.view_as(x)

        def tensor_at(place: _Place) -> Tensor:
            return entered[place.index]

        args, kwargs = tree_map_only(_Place, tensor_at, self.arguments)
        return self.function(*args, **kwargs), entered

    def gradients(self, tensors: Sequence[Tensor], output_gradients: Sequence[Tensor]) -> list[Tensor | None]:
        """Run the function again: the gradients of tensors and leaves, None where none is needed."""
        create_graph = is_grad_enabled()
        with contextlib.ExitStack() as block:
            block.enter_context(random.fork_rng(enabled=self.random_state is not None))
            block.enter_context(autograd.enable_grad())
            block.enter_context(float32_matmul_precision(self.precision))
            block.enter_context(self.casts)
            if self.random_state is not None:
                set_rng_state(self.random_state)
            block.enter_context(self.again)
            result, entered = self.run(tensors)
        outputs = _outputs(result, entered)
        if self.checked:
            _, node_names = _reached(outputs, entered)
            if node_names != self.node_names:
                raise CheckpointError(
                    "torch.utils.checkpoint: A different number of tensors was saved during the original "
                    "forward and recomputation: the function has recorded other operations; expected "
                    "the same ones"
                )
        # `run` has made views of the Tensors that require gradients; these are the nodes of the views
        views = [x._grad_fn for x in entered if x.requires_grad]
        edges = [view.edges for view in views]
        for view in views:
            view.edges = (None,)  # backward stops at the function's inputs
        needs = self.node().needs  # type: ignore[union-attr]  # for each Tensor that the node got
        inputs = [x for x, needed in zip((*entered, *self.leaves), needs, strict=True) if needed]
        try:
            gradients = autograd.grad(
                outputs, inputs, output_gradients, True, create_graph, allow_unused=True
            )
        finally:
            for view, edge in zip(views, edges, strict=True):
                view.edges = edge
        by_input: list[Tensor | None] = [None] * len(needs)
        needed_places = [place for place, needed in enumerate(needs) if needed]
        for place, gradient in zip(needed_places, gradients, strict=True):
            by_input[place] = gradient
        return by_input


class _Checkpoint(autograd.Function):
    """The node in place of the graph of a call; its inputs are the arguments and the leaves of that graph."""

    dtypes = OWN

    @staticmethod
    def forward(ctx: Any, call: _Call, *tensors: Tensor) -> Any:
        ctx.call = call
        arguments = tensors[: len(tensors) - len(call.leaves)]
        ctx.save_for_backward(*arguments)
        return tuple(y.detach() for y in call.outputs)

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> Any:
        return (None, *ctx.call.gradients(ctx.saved_tensors, output_gradients))


def _outputs(result: Any, entered: list[Tensor]) -> list[Tensor]:
    """The Tensors of a result that the function has computed on the tape, each once."""
    if isinstance(result, Tensor):
        known = result._grad_fn is None or any(result is x for x in entered)
        if known:
            return []
        return [result]
    if not isinstance(result, (tuple, list, dict)):
        return []
    values: Iterable[Any] = result
    if isinstance(result, dict):
        values = result.values()
    outputs: dict[int, Tensor] = {}  # by id, so that each is listed once
    for value in values:
        for y in _outputs(value, entered):
            outputs[id(y)] = y
    return list(outputs.values())


def _reached(outputs: list[Tensor], entered: list[Tensor]) -> tuple[list[Tensor], list[str]]:
    """The leaves, and the names of the classes of nodes, between the entered Tensors and the outputs."""
    seen = {id(x._grad_fn) for x in entered}
    nodes = [y._grad_fn for y in outputs]
    leaves = []
    node_names = []
    while nodes:
        node = nodes.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, Tensor):
            leaves.append(node)
        else:
            node_names.append(type(node).__name__)
            nodes.extend(node.edges)
    return leaves, node_names


def checkpoint_sequential(
    functions: nn.Module | Iterable[Callable[[Any], Any]],
    segments: int,
    input: Tensor,
    use_reentrant: bool | None = None,
    **kwargs: Any,
) -> Any:
    """Run functions or layers one after the other, in segments; each except the last is a :func:`checkpoint`.

    functions: a Sequential, or functions of one argument.

    >>> import ranvier as rv
    >>> rv.utils.checkpoint.checkpoint_sequential([rv.relu, rv.exp], 2, rv.zeros(1), use_reentrant=False)
    tensor([1.])
    """
    layers: list[Any]
    if isinstance(functions, nn.Module):
        layers = list(functions.children())
    else:
        layers = list(functions)

    def run(first: int, last: int) -> Callable[[Any], Any]:
        def run_segment(x: Any) -> Any:
            for layer in layers[first:last]:
                x = layer(x)
            return x

        return run_segment

    size = len(layers) // segments
    end = 0
    for start in range(0, size * (segments - 1), size):
        end = start + size
        input = checkpoint(run(start, end), input, use_reentrant=use_reentrant, **kwargs)
    return run(end, len(layers))(input)
