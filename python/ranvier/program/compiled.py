"""compile: a step recorded once and replayed as one call into the core."""

from __future__ import annotations

import functools
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier import _core
from ranvier.autograd.capture import captures, current, keep
from ranvier.autograd.creation import tensor
from ranvier.autograd.mode import mode, no_grad
from ranvier.autograd.tensor import Tensor, borrowed
from ranvier.nn import Module
from ranvier.program.errors import CaptureError
from ranvier.program.program import Program
from ranvier.program.signature import environment, form, replaced, signature
from ranvier.program.step import Step, record

Array = np.ndarray[Any, Any]


_KEPT = 8  # programs of one signature


class Compiled:
    """A step that replays itself; made by :func:`compile`.

    after: calls of a signature that run eagerly before it is captured. captures: how often it was.
    """

    _forward_only = False  # of a model, always without a tape

    def __init__(self, function: Callable[..., Any], verify: bool | int = True, after: int = 0) -> None:
        functools.update_wrapper(self, function, updated=())
        self._function = function
        self._verify = verify
        self._steps: defaultdict[Any, list[Step]] = defaultdict(list)  # several: one for each training mode
        self._after, self._waiting = after, Counter[Any]()
        self.captures = 0
        self._latest: Step | None = None  # the one that was run last: a call that fits it goes there at once

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if captures and current() is not None:  # part of another step, which records its calls
            return self._function(*replaced(args, borrowed), **replaced(kwargs, borrowed))
        step = self._latest
        if step is not None and step.checks_left and not kwargs:
            fits = True
            for plan, optimizer, group in step.plans:
                fits = plan.refresh(optimizer, group) and fits
            results = step.call(args) if fits else None
            if results is not None:
                step.checks_left -= 1
                return step.result(results)
        return self._by_signature(args, kwargs)

    def _by_signature(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        arrays: list[Array] = []
        key = signature(args, kwargs, arrays), environment()
        step = next((step for step in self._steps[key] if step.is_current()), None)
        if step is None:
            return self._capture(key, args, kwargs)
        if step.checks_left == 0:
            return self._check(key, step, args, kwargs)
        step.checks_left -= 1
        self._latest = step
        return step.replay(tuple(arrays))

    def _capture(self, key: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._waiting[key] < self._after:
            self._waiting[key] += 1
            return self._function(*replaced(args, borrowed), **replaced(kwargs, borrowed))
        self.captures += 1
        result, capture, slots = record(self._function, args, kwargs)
        step = self._step(capture, slots, form(args, kwargs), result)
        step.checks_left = -1 if self._verify is False else 0
        self._steps[key] = [step, *self._steps[key]][:_KEPT]
        del capture  # and with it the memory of the recording
        _core.empty_cache()
        return result

    def _step(self, capture: Any, arguments: list[Array], form: list[Any], result: Any) -> Step:
        return Step(capture, arguments, form, result, self._forward_only)

    def _check(self, key: Any, step: Step, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs the step eagerly, and the program beside it from the same state; the eager run counts."""
        self._steps[key].remove(step)
        settings = step.settings()
        before = step.program.snapshot()
        result, capture, slots = record(self._function, args, kwargs, step.arguments)
        other = step.program.other_path(capture.recording)
        if other and not step.renewed:  # the first run may have had something to set up
            step = self._step(capture, slots, form(args, kwargs), result)
            step.renewed = True
        else:
            fault = f"the step does not do the same each time: {other}" if other else ""
            if not fault and step.settings() != settings:
                fault = "the step changes the settings of its optimizer (a schedule?); do that outside"
            if not fault:
                fault = step.program.check(before, capture.recording, tuple(slots))
            if fault:
                raise CaptureError(f"[compile] {fault}", result)
            step.adopt_gradients()
            step.checks_left = -1 if self._verify is True else int(self._verify)
        self._steps[key].insert(0, step)
        del capture, before
        _core.empty_cache()
        return result

    @property
    def programs(self) -> list[Program]:
        """The programs so far, one for each signature."""
        return [Program(step.program, step.names) for steps in self._steps.values() for step in steps]

    def explain(self) -> None:
        """Prints the table of each program's instructions: see :meth:`Program.explain`."""
        for program in self.programs:
            program.explain()


class CompiledModel(Compiled):
    """A module whose forward pass replays itself; all else of it is to be had here too.

    >>> import numpy as np, ranvier as rv
    >>> model = rv.nn.Linear(3, 2).eval()
    >>> fast = rv.compile(model)
    >>> x = np.ones((4, 3), np.float32)
    >>> for _ in range(3): y = fast(x)
    >>> bool((y == model(x)).all()), fast.in_features
    (True, 3)
    """

    _function: Any
    _forward_only = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        step = self._latest
        refused = mode.enabled and self._function.training
        if step is not None and step.checks_left and not (kwargs or captures or refused):
            results = step.call(args)
            if results is not None:
                step.checks_left -= 1
                return step.result(results)
        if not mode.enabled:
            return super().__call__(*args, **kwargs)
        if refused:
            self._refuse(args, kwargs)
        with no_grad():
            return super().__call__(*args, **kwargs)

    def _refuse(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        raise CaptureError(
            "[compile] got a model in training mode, of which a program of the forward pass would leave the "
            "backward pass out; compile the whole step (forward, loss, backward and update), or call eval(), "
            "or use rv.no_grad()",
            self._function(*args, **kwargs),
        )

    def __getattr__(self, name: str) -> Any:
        if name == "_function":  # not there yet
            raise AttributeError(name)
        return getattr(self._function, name)


def compile(function: Any = None, *, verify: bool | int = True) -> Any:
    """A step (forward, loss, backward, update), or a model, that is recorded once and then replayed.

    The first call with a new signature runs `function` eagerly while the core records its kernel calls; later
    calls replay them as one static program: no Python, no allocation, bit for bit the eager results. The
    signature is the shapes and dtypes of array arguments, other arguments by value, the modules' training
    modes, which parameters require gradients, and the number of threads; each has a program of its own.

    Arrays and Tensors among the arguments are renewed with each call and arrive as Tensors. What the function
    closes over is either memory that stays where it is (parameters, running statistics, optimizer state,
    learning rates: seen as they are at each call) or Python values, which are frozen as they were. Results
    are Tensors without a tape, in memory of their own. ``.grad`` is set as the eager step sets it.

    Raises :class:`CaptureError` where a step cannot be replayed: it reads a value (``.item()``), uses arrays
    that NumPy makes inside it (wrap true constants in :func:`constant`), keeps an intermediate result, or
    returns its argument.

    verify: the first replay runs beside the eager step, and CaptureError names the first instruction whose
    result differs; a number n repeats the check after every n replays, False leaves it out.

    A module is captured forward only, without a tape: in evaluation mode, or under ``rv.no_grad()``. In
    training mode it raises CaptureError. Inside another captured step it is a part of that. Weights are
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
    return Compiled(function, verify)


def constant(value: Any) -> Tensor:
    """A Tensor of values that a captured step may take for constant, though they are made inside it.

    Outside a capture: ``rv.tensor(value)``, or the Tensor itself.

    >>> import ranvier as rv
    >>> rv.constant([1.0, 2.0])
    tensor([1., 2.])
    """
    x = value if isinstance(value, Tensor) else tensor(value)
    keep(x._array)
    return x
