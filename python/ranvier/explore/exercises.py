"""Exercises with checked answers: `list()`, `show(n)`, `check(n, answer)`."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ranvier.explore.tasks import EXERCISES, Exercise

__all__ = ["Checked", "check", "list", "show"]


class Checked(NamedTuple):
    """Whether an answer is right (also its truth value), and the text to print."""

    right: bool
    said: str

    def __bool__(self) -> bool:
        return self.right

    def __str__(self) -> str:
        return self.said


def list() -> Sequence[str]:
    """The titles, numbered from 1.

    >>> from ranvier.explore import exercises
    >>> exercises.list()[0]
    '1. A weighted sum'
    """
    return [f"{i}. {exercise.title}" for i, exercise in enumerate(EXERCISES, 1)]


def show(number: int) -> None:
    """Print a question.

    Raises ValueError: no exercise with that number.

    >>> from ranvier.explore import exercises
    >>> exercises.show(6)
    6. The slope of the sigmoid
    What is the derivative of the sigmoid at z = 1?
    """
    exercise = _numbered(number)
    print(f"{number}. {exercise.title}\n{textwrap.fill(exercise.question, 90)}")


def check(number: int, answer: Any) -> Checked:
    """Check an answer; for a wrong one, return the mistake, if it is a known one, and a hint.

    Args:
        number: of the exercise.
        answer: a number (to three digits), numbers in a list or array, or a word, as the question asks.

    Raises ValueError: no exercise with that number.

    >>> from ranvier.explore import exercises
    >>> print(exercises.check(13, 75))
    Not yet: that is it without the last, smaller batch. Hint: the last batch of an epoch is a smaller one, \
and counts.
    >>> print(exercises.check(13, 80))
    Right.
    """
    exercise = _numbered(number)
    wrong = _wrong(exercise, answer)
    if wrong is None:
        return Checked(True, "Right.")
    return Checked(False, f"Not yet{': ' if wrong else ''}{wrong}. Hint: {exercise.hint}.")


def _numbered(number: int) -> Exercise:
    if not isinstance(number, int) or not 1 <= number <= len(EXERCISES):
        raise ValueError(f"[exercises] got {number!r}; expected a number from 1 to {len(EXERCISES)}")
    return EXERCISES[number - 1]


def _wrong(exercise: Exercise, answer: Any) -> str | None:
    """The mistake, "" for an unknown one, None for a right answer."""
    if exercise.answer is None or exercise.judge is not None:
        given = _numbers(answer)
        if given is None or given.shape != exercise.shape or not np.isfinite(given).all():
            return f"expected numbers of shape {exercise.shape}"
        return (exercise.judge(given) if exercise.judge is not None else "") or None
    wanted, mistakes = exercise.answer()
    if _same(answer, wanted):
        return None
    if isinstance(wanted, str) and not isinstance(answer, str):
        return "expected a word"
    given = _numbers(answer)
    if not isinstance(wanted, str) and (given is None or given.shape != np.shape(wanted)):
        return f"expected {'a number' if np.shape(wanted) == () else f'{len(wanted)} numbers'}"
    return next((f"that is {what}" for value, what in mistakes if _same(answer, value)), "")


def _numbers(answer: Any) -> npt.NDArray[np.float64] | None:
    try:
        return np.asarray(getattr(answer, "_array", answer), np.float64)
    except (TypeError, ValueError):
        return None


def _same(answer: Any, wanted: Any) -> bool:
    """Compares words without case, integers exactly, other numbers to three digits."""
    if isinstance(wanted, str):
        return isinstance(answer, str) and answer.strip().lower() == wanted
    given, exact = _numbers(answer), np.asarray(wanted)
    if given is None or given.shape != exact.shape:
        return False
    loose = 0.0 if exact.dtype.kind in "iu" else 1e-3
    return bool(np.allclose(given, exact, rtol=loose, atol=loose / 2))
