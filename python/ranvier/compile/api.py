"""The public functions compile and constant.

`compile` accepts the arguments of PyTorch's function, too. It makes a `CompiledFunction` of a function, and a
compiled model of a module. `constant` declares that an array which a step makes itself has the same values in
each call. The words of this package (captured, recorded, replayed, guard ...) are explained in
docs/design/captured_step.md.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.ops.making.creation import tensor
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.errors import one_of
from ranvier.tensors.memory import keep
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import ArrayLike

_MODES = (None, "default", "lite", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
_BACKENDS = (None, "inductor", "cudagraphs", "onnxrt", "openxla", "tvm")
_FOR_TESTS = ("eager", "eager_noexcept", "aot_eager", "aot_eager_decomp_partition", "aot_ts", "ts")


def compile(
    function: Callable[..., Any] | None = None,
    *,
    verify: bool | int = True,
    strict: bool = False,
    fullgraph: bool = False,
    dynamic: bool | None = None,
    backend: str | Callable[..., Any] | None = "inductor",
    mode: str | None = None,
    options: dict[str, Any] | None = None,
    disable: bool = False,
) -> Any:
    """Makes a step (forward, loss, backward, update) or a model faster, or leaves it as it is and says why.

    The first call with a new signature runs `function` eagerly while the core records its kernel calls.
    Later calls replay them as one program: no Python, no allocation, the bits of the eager results. The
    signature is the shapes, strides and dtypes of array arguments, other arguments by value or identity, and
    the number of threads.

    Arrays and Tensors come in as arguments, and may differ in each call. A name in the code of the step may
    lead to functions, classes and modules, Tensors, models, optimizers, schedules and generators of random
    numbers, plain values, and lists, tuples, dicts and plain objects of those. Parameters, optimizer state
    and learning rates are read at each call; all else is compared before each replay, and after a change the
    step is recorded again. Results are Tensors without a tape, in new memory. ``.grad`` is set as the eager
    step sets it. Methods can be decorated. ``step.run`` makes many calls in one (`CompiledFunction.run`).

    A step that a replay cannot repeat runs as it is written, after one warning that names the reason: it
    reads a value (``loss.item()``), prints, computes with NumPy, keeps an intermediate result, changes what
    it reads, uses files, time or random numbers of others, or a value of another kind.
    strict: such a step raises CaptureError instead, after it has run once.

    verify: at calls 2, 4, 8, 16 ... the replay is compared with an eager step; after a difference the step
    runs eagerly. A number n compares after every n replays, False never compares; the second call then
    checks only that the step does not change what it reads.

    PyTorch's fullgraph, dynamic, backend, mode and options say how to compile; they have no effect here, and
    the names of backends and modes are checked. With disable the function itself is returned.

    A module is compiled forward only, without a tape: in evaluation mode, or under ``rv.no_grad()``. In
    training mode, or inside another step, it runs as it is. In all else the result is the module: they share
    their attributes. Weights are packed once, in the order in which the kernels read them, and again after a
    change; a convolution or linear layer applies the batch norm that follows it before it stores its result.

    Raises:
        CaptureError: with strict, from a call of a step that cannot be replayed.
        TypeError: `function` is not callable.
        RuntimeError: a mode or backend that PyTorch does not have.
        ValueError: verify is neither True, False nor an integer >= 1.

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
    one_of("compile", "mode", mode, _MODES)
    if not callable(backend):
        one_of("compile", "backend", backend, (*_BACKENDS, *_FOR_TESTS))
    if function is None:
        return functools.partial(compile, verify=verify, strict=strict, disable=disable)
    refuse_torch("compile", "a function", function)
    if not callable(function):
        raise TypeError(f"[compile] got {type(function).__name__}; expected a function or a Module")
    if disable:
        return function
    from ranvier.compile.compiled_function import CompiledFunction  # loaded only where something is compiled
    from ranvier.compile.compiled_model import CompiledModel, compiled_model
    from ranvier.nn import Module

    if isinstance(function, CompiledModel):
        return function
    if isinstance(function, Module):
        return compiled_model(function, verify, strict)
    return CompiledFunction(function, verify, strict)


def constant(value: ArrayLike) -> Tensor:
    """A Tensor of values that are constant in a compiled step, although they are made inside it.

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
