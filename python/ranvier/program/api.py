"""compile and constant: what a user calls."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ranvier.autograd.creation import tensor
from ranvier.autograd.recording import keep
from ranvier.autograd.tensor import Tensor
from ranvier.nn import Module
from ranvier.program.compiled import CompiledFunction
from ranvier.program.compiled_model import CompiledModel


def compile(function: Any = None, *, verify: bool | int = True) -> Any:
    """A step (forward, loss, backward, update), or a model, that is recorded once and then replayed.

    The first call with a new signature runs `function` eagerly while the core records its kernel calls;
    later calls replay them as one static program: no Python, no allocation, bit for bit the eager results.
    The signature is the shapes, strides and dtypes of array arguments, other arguments by value or
    identity, and the number of threads; each has a program of its own, 32 at most.

    Arrays and Tensors among the arguments are renewed with each call and arrive as Tensors. Parameters,
    running statistics, optimizer state and learning rates are read as they are at each call. All other
    things that the function can read in Python (variables, closures, attributes, containers, code) are
    compared before each replay; where one has changed, the function is recorded anew. Results are Tensors
    without a tape, in memory of their own. ``.grad`` is set as the eager step sets it. Methods can be
    decorated.

    Raises :class:`CaptureError` where a step cannot be replayed: it reads a value (``.item()``), uses
    arrays that NumPy makes inside it (wrap true constants in :func:`constant`), keeps an intermediate
    result, changes what it reads, calls what has a state of its own (files, time, random numbers of
    Python), or returns its argument. Warns once where nearly every call would be recorded anew, and runs
    those eagerly.

    verify: the replay runs beside the eager step at calls 2, 4, 8, 16 ..., and CaptureError names the first
    instruction whose result differs; a number n does so after every n replays, False never: then the second
    call shows only whether the step changes what it reads.

    A module is captured forward only, without a tape: in evaluation mode, or under ``rv.no_grad()``. In
    training mode it runs eagerly. Inside another captured step it is a part of that. Weights are
    packed once, in the order in which the kernels read them, and again after a change; a batch norm becomes
    the last thing that the convolution or linear layer before it does.

    What is not callable raises TypeError; a verify that is neither True, False nor a whole number from 1 on,
    ValueError.

    >>> import numpy as np, ranvier as rv
    >>> model = rv.nn.Linear(3, 1)
    >>> optimizer = rv.optim.SGD(model.parameters(), lr=0.1)
    >>> @rv.compile
    ... def step(x, y):
    ...     optimizer.zero_grad()
    ...     loss = rv.nn.functional.mse_loss(model(x), y)
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> x, y = np.ones((4, 3), np.float32), np.ones((4, 1), np.float32)
    >>> losses = [step(x, y).item() for _ in range(20)]
    >>> losses[-1] < 0.01
    True
    """
    if not isinstance(verify, bool) and (not isinstance(verify, int) or verify < 1):
        raise ValueError(f"[compile] got verify {verify!r}; expected True, False or a number from 1 on")
    if function is None:
        return functools.partial(compile, verify=verify)
    if not callable(function):
        raise TypeError(f"[compile] got {type(function).__name__}; expected a function or a Module")
    if isinstance(function, Module):
        return CompiledModel(function, verify)
    return CompiledFunction(function, verify)


def constant(value: Any) -> Tensor:
    """A Tensor of values that a captured step may take for constant, though they are made inside it.

    Outside a recording: ``rv.tensor(value)``, or the Tensor itself.

    >>> import ranvier as rv
    >>> rv.constant([1.0, 2.0])
    tensor([1., 2.])
    """
    if isinstance(value, np.ndarray):
        keep(value)
    x = value if isinstance(value, Tensor) else tensor(value)
    keep(x._array)
    return x
