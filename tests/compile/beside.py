"""A compiled step beside the step itself, from the same seed: each call has to show the same bits.

`same` compiles a step and asserts that all calls show what those of the plain step show; `alike` does it for
runs that compile by themselves; `played` gives what was shown; `bits` is what can be compared of a value.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import ranvier as rv

CALLS = 6  # a recording, checks at calls 2 and 4, replays


def bits(x: Any) -> Any:
    """A value in a form that can be compared: Tensors as dtype, shape and bytes; modules with gradients."""
    if isinstance(x, rv.nn.Module):
        return bits([x.state_dict(), [p.grad for p in x.parameters()]])
    if isinstance(x, rv.optim.Optimizer):
        return bits(x.state_dict())
    if isinstance(x, dict):
        return type(x), [(key, bits(value)) for key, value in x.items()]
    if isinstance(x, (list, tuple)):
        return type(x), [bits(value) for value in x]
    if dataclasses.is_dataclass(x):
        return type(x), bits(dict.copy(vars(x)) if hasattr(x, "__dict__") else dataclasses.asdict(x))
    if isinstance(x, float):
        return x.hex(), np.signbit(x)  # NaN, too
    array = x._array if isinstance(x, rv.Tensor) else x
    return (str(array.dtype), array.shape, array.tobytes()) if isinstance(array, np.ndarray) else array


def outcome(step: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """The bits of a result, or the error."""
    try:
        return bits(step(*args, **kwargs))
    except rv.CaptureError:
        raise
    except (TypeError, ValueError, RuntimeError, IndexError, KeyError) as error:
        return type(error), str(error)


def drawn(*forms: Any, dtype: str = "float32") -> Callable[[int], tuple[Any, ...]]:
    """Tensors of these shapes, other numbers at each call; an integer: classes, as many as there are rows."""

    def inputs(number: int) -> tuple[Any, ...]:
        rng = np.random.default_rng(number)
        rows = next((form[0] for form in forms if form and type(form) is tuple), 1)
        arrays = [
            rng.integers(0, form, rows) if isinstance(form, int) else rng.standard_normal(form).astype(dtype)
            for form in forms
        ]
        return tuple(map(rv.tensor, arrays))

    return inputs


def played(make: Any, inputs: Any, wrap: Any, calls: int = CALLS, between: Any = None) -> tuple[Any, Any]:
    """(what each call has shown, the step).

    make(): the step, or a tuple of it and of what is to be compared after each call.
    between: called with the number of the call and that, after the call.
    """
    rv.manual_seed(3)
    made = make()
    step, *watched = made if isinstance(made, tuple) else (made,)
    step, shown = wrap(step), []
    for number in range(calls):
        found = outcome(step, *inputs(number))
        shown.append((found, bits(watched), rv.random.current().plain_state()["calls"]))
        if between is not None:
            between(number, *watched)
    return shown, step


def same(make: Any, inputs: Any, calls: int = CALLS, between: Any = None, **settings: Any) -> Any:
    """The compiled step, after calls that have all shown what those of the step itself show."""
    expected, _ = played(make, inputs, lambda step: step, calls, between)
    found, step = played(
        make, inputs, lambda step: rv.compile(step, **{"strict": True, **settings}), calls, between
    )
    for number, (a, b) in enumerate(zip(expected, found, strict=True)):
        assert b == a, f"call {number}"
    return step


def alike(run: Callable[[bool], Any]) -> Any:
    """The result of run(True), which compiles, equal to that of run(False)."""
    compiled, eager = run(True), run(False)
    assert compiled == eager
    return compiled


def names(step: Any, prepared: bool = False) -> list[str]:
    """The instructions of its first program."""
    return [i.op for i in step.programs[0].instructions if i.prepared == prepared]


def fused(step: Any) -> list[str]:
    return sorted(name for i in step.programs[0].instructions for name in i.fused)


def put(x: Any, key: Any, value: Any) -> Any:
    """x with this value there."""
    x = x.clone()
    x[key] = value
    return x


def squares(y: Any) -> Any:
    return (y * y).mean()
