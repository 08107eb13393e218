"""Runs the model that `export` writes at several sizes of the dynamic axes, traced and plain.

The traced runs give the calls that are written; from the differences between them the writer learns what
depends on sizes or values. The file's graph is compared with the results of the plain runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from ranvier.onnx.arguments import Axes
from ranvier.onnx.conditions import error_with_symbols, line_of_model, settled
from ranvier.onnx.example_inputs import (
    ExampleInputs,
    Sizes,
    compared_sizes,
    extreme_inputs,
    first_sizes,
    traced_sizes,
)
from ranvier.onnx.model_run import Modules, Run, plain_run, run
from ranvier.onnx.module_state import require_independent_of_first_call, state_of
from ranvier.onnx.values import Array
from ranvier.tape.calls import Call, Refused
from ranvier.tape.variations import FAILURES, accepted


class Runs(NamedTuple):
    """The runs of a model.

    traced: at several sizes; the first two have the sizes of the example.
    plain: runs to compare with, at sizes near and far.
    """

    traced: list[Run]
    plain: list[Run]


class _Model(NamedTuple):
    """The model, with the arguments of `run` that are the same in all runs. args: the example."""

    target: Callable[..., Any]
    modules: Modules
    args: Any
    axes: Axes

    def traced(self, arrays: list[Array], answers: Sequence[bool] = ()) -> Run:
        return run(self.target, self.modules, self.args, arrays, self.axes, answers)

    def plain(self, arrays: list[Array]) -> Run:
        return plain_run(self.target, self.modules, self.args, arrays)

    def results(self, arrays: list[Array]) -> list[Array]:
        return [array for _, array in self.plain(arrays).outputs]


def run_at_sizes(
    target: Callable[..., Any],
    modules: Modules,
    args: Any,
    arrays: list[Array],
    axes: Axes,
    symbols: list[str],
) -> Runs:
    """The runs of a model. args: the example; arrays: its tensors; symbols: the names of the dynamic axes.

    The traced runs tell whether a constant depends on sizes or values. The plain runs are a check of what is
    written: axes of size 1, sizes near the example's and primes up to eight times as large, and values of any
    sign, of one sign, and zeros.
    """
    model = _Model(target, modules, args, axes)
    inputs = ExampleInputs(arrays, axes)
    # seed 0 below gives the example's values; the other seeds only keep the values of the runs apart
    example_sizes = {symbol: inputs.size_of(symbol) for symbol in symbols}
    narrow = [0] * len(arrays)  # for each input how wide a range its values have
    example = inputs.make(example_sizes, 0, narrow)

    works = _run_once(model, inputs, example, example_sizes, narrow)
    try:
        first = settled(modules, partial(model.traced, example))
    except Exception as error:
        if not works or not axes or str(error).startswith("[onnx.export]"):
            raise
        raise error_with_symbols(error) from error
    plain = [model.plain(example)]
    widths = accepted(lambda tried: model.plain(inputs.make(example_sizes, 5, tried)), narrow)

    def traced_at(sizes: Sizes, seed: int) -> Run:
        try:
            return model.traced(inputs.make(sizes, seed, widths))
        except FAILURES:
            return model.traced(inputs.make(sizes, seed, narrow))

    traced = [first]
    plans = traced_sizes(example_sizes)
    for number, sizes in enumerate(plans, 1):
        other, taken = _attempt(partial(traced_at, seed=100 * number), sizes, example_sizes)
        _require_same_operations(first, other, _description(taken, example_sizes))
        traced.append(other)

    wide = [inputs.make(example_sizes, 10, widths), inputs.make(example_sizes, 11, widths)]
    extremes = [extreme_inputs(wide[0], wide[1], seed) for seed in range(3)]
    wide.append(inputs.make(plans[-1], 12, widths))
    sizes_to_compare = compared_sizes(example_sizes, arrays, first.trace.least_sizes)
    others = [inputs.make(sizes, 7, narrow) for sizes in sizes_to_compare]
    plain += _accepted_runs(model, [*others, *wide, *extremes])
    return Runs(traced, plain)


def _run_once(
    model: _Model, inputs: ExampleInputs, example: list[Array], example_sizes: Sizes, narrow: list[int]
) -> bool:
    """Runs the model with the example; False if that fails: then a later run raises the error again.

    A model may make a mask or a table at its first call, and keep it: the runs to write come after it.
    Raises ValueError: what it keeps depends on the sizes of its first call.
    """
    before = state_of(model.modules.all())
    weights = model.modules.weights()
    works = False
    with suppress(Exception):
        run(model.target, model.modules, model.args, example, {})
        works = True
    if model.axes:
        is_lazy = weights != model.modules.weights()
        first_calls = []
        for sizes in first_sizes(example_sizes):
            first_calls.append(partial(model.results, inputs.make(sizes, 3, narrow)))
        require_independent_of_first_call(before, is_lazy, first_calls)
    return works


def _accepted_runs(model: _Model, inputs: list[list[Array]]) -> list[Run]:
    """Plain runs with these inputs, without those that the model refuses."""
    runs = []
    for arrays in inputs:
        with suppress(*FAILURES, AssertionError):
            runs.append(model.plain(arrays))
    return runs


def _description(sizes: Sizes, example_sizes: Sizes) -> str:
    """What is different in a run from the first one, for messages."""
    if sizes == example_sizes:
        return "with other values"
    return f"of sizes {sizes}"


def _attempt(run_at: Callable[[Sizes], Run], sizes: Sizes, example_sizes: Sizes) -> tuple[Run, Sizes]:
    """The run run_at(sizes), and the sizes it had.

    If the model refuses them, sizes nearer to the example's are tried, then sizes below them, then twice the
    example's.
    """
    failure: Any = None
    for choice in (sizes, *_other_choices(sizes, example_sizes)):
        try:
            return run_at(choice), choice
        except (*FAILURES, AssertionError) as error:
            failure = failure or error
    if isinstance(failure, Refused):
        raise failure
    what = _description(sizes, example_sizes)
    raise ValueError(
        f"[onnx.export] the model at {line_of_model(failure)} fails for inputs {what}: {failure}; expected "
        "one that takes other sizes: axes that must be equal have one name in dynamic_axes, others are left "
        "out of it"
    ) from failure


def _other_choices(sizes: Sizes, example_sizes: Sizes) -> list[Sizes]:
    """What is tried in place of sizes that the model refuses."""
    nearer = {name: min(n, example_sizes[name] + 3) for name, n in sizes.items()}
    smaller = {name: max(1, 2 * example_sizes[name] - n) for name, n in nearer.items()}
    doubled = dict(example_sizes)  # a model may take multiples alone, such as images of even sides
    for name, n in sizes.items():
        if n != example_sizes[name]:
            doubled[name] = 2 * example_sizes[name]
    return [choice for choice in (nearer, smaller, doubled) if choice not in (sizes, example_sizes)]


def _require_same_operations(first: Run, other: Run, what: str) -> None:
    """Raises ValueError unless two runs make calls of the same kinds. what: the inputs of the other run."""
    if [call.kind for call in other.trace.calls] == [call.kind for call in first.trace.calls]:
        return
    call = _first_different_call(first.trace.calls, other.trace.calls)
    raise ValueError(
        f"[onnx.export] the model computes other operations for inputs {what}, from {call.kind} at "
        f"{call.where} on; expected the same: a graph has no branches that depend on them"
    )


def _first_different_call(calls: list[Call], others: list[Call]) -> Call:
    """The first call that a run makes and the other does not."""
    for call, other in zip(calls, others, strict=False):
        if call.kind != other.kind:
            return call
    longer = calls if len(calls) > len(others) else others
    return longer[min(len(calls), len(others))]
