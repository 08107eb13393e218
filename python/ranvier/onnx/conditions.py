"""Conditions on sizes: a model that computes something else for other sizes cannot be written."""

from __future__ import annotations

import dis
import os
from collections.abc import Callable, Sequence

import numpy as np

from ranvier.observe import package
from ranvier.onnx.model_run import Modules, Run
from ranvier.onnx.traced_call import equal_calls
from ranvier.onnx.tracing import ARITHMETIC, Trace
from ranvier.tape.calls import Refused


def settled(modules: Modules, run_with: Callable[[Sequence[bool]], Run]) -> Run:
    """The run run_with(()), in which no condition on sizes changes what is computed.

    run_with: runs the model with answers to the first conditions, in place of those of the example's sizes.
    The model runs again with each other answer. It may raise an error of its own, so that sizes with this
    answer are refused by the model, or compute the same. Raises ValueError where it computes something else.
    """
    first = run_with(())
    conditions = first.trace.conditions
    for i, condition in enumerate(conditions):
        answers = [earlier.answer for earlier in conditions[:i]]
        answers.append(not condition.answer)
        if not _is_without_effect(modules, run_with, answers, first):
            raise ValueError(
                f"[onnx.export] {condition.where} depends on the condition {condition.text}, which holds for "
                "some sizes of a dynamic axis and not for others; expected the same operations for all "
                "sizes, or an axis that is static: leave it out of dynamic_axes"
            )
    return first


def _is_without_effect(
    modules: Modules, run_with: Callable[[Sequence[bool]], Run], answers: list[bool], first: Run
) -> bool:
    """True if the model refuses sizes with the last of these answers, or computes what it does without it."""
    try:
        other = run_with(answers)
    except Exception as error:
        trace = modules.trace
        # equal lengths: the model has asked no further condition before it has raised the error
        return _is_raised_by_model(error, trace) and len(trace.conditions) == len(answers)
    if other.trace.taken:
        return False
    expected = [later.text for later in first.trace.conditions[len(answers) :]]
    asked = [later.text for later in other.trace.conditions[len(answers) :]]
    return asked == expected and _computes_the_same(first, other)


def _computes_the_same(first: Run, other: Run) -> bool:
    return equal_calls(first.trace.calls, other.trace.calls) and _same_results(first, other)


def _same_results(a: Run, b: Run) -> bool:
    """True if two runs with equal calls return the same values, or equal constants."""
    if len(a.outputs) != len(b.outputs):
        return False
    for one, other in zip(a.outputs, b.outputs, strict=True):
        if one.value.name != other.value.name or not np.array_equal(one.array, other.array):
            return False
    return True


_RAISE = dis.opmap["RAISE_VARARGS"]


def _is_raised_by_model(error: Exception, trace: Trace) -> bool:
    """True for an error that a `raise` or `assert` of the model raises, whatever the size.

    The sizes of the run contradict the answer. So the error must not follow from another error, such as that
    of a reshape, nor from a number of a size, except for one that its text holds.
    """
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or isinstance(error, Refused) or trace.failure:
        return False
    code = last.tb_frame.f_code
    if code.co_filename.startswith(package()) or code.co_code[last.tb_lasti] != _RAISE:
        return False
    return all(number in str(error) for number in trace.taken)


_PYTHON = os.path.dirname(os.__file__)


def line_of_model(error: Exception) -> str:
    """File and line of the model where an error was raised."""
    found = "an unknown line"
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith((package(), _PYTHON)) and "-packages" not in file:
            found = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def error_with_symbols(error: Exception) -> ValueError:
    """The error of a model that fails where sizes are symbols, and not where they are numbers."""
    return ValueError(
        f"[onnx.export] the model at {line_of_model(error)} takes no symbol for the size of a dynamic axis "
        f"({type(error).__name__}: {error}); expected {ARITHMETIC} that goes to functions of the library, or "
        "an axis that is static: leave it out of dynamic_axes"
    )
