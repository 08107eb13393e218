"""The error of a table that cannot be read, with the arguments that help."""

from __future__ import annotations

import itertools
from typing import TypeAlias

from ranvier.tensors.sanitize import printable

Remedy: TypeAlias = tuple[str, object, str]
"""An argument of `load_csv` that helps: its name, its value, and what it does."""


class TableError(ValueError):
    """A table that cannot be read.

    Attributes:
        problem: what is wrong.
        remedies: the arguments of `load_csv` that help.
    """

    def __init__(self, problem: str, *remedies: Remedy) -> None:
        self.problem = f"[load_csv] {problem}"
        self.remedies = remedies
        texts = [f"{name}={value!r} {effect}" for name, value, effect in remedies]
        super().__init__(printable("; ".join([self.problem, *texts])))


def joined(errors: list[TableError], title: str) -> TableError:
    """One error of several columns; lists of remedies with the same effect are one."""
    problems = [error.problem.removeprefix("[load_csv] ") for error in errors]
    others = [problem.replace(f"{title} ", "", 1) for problem in problems[1:]]
    values: dict[tuple[str, str], object] = {}
    for name, value, effect in itertools.chain(*(error.remedies for error in errors)):
        known = values.get((name, effect))
        if isinstance(value, list) and isinstance(known, list):
            value = list(dict.fromkeys([*known, *value]))
        values[name, effect] = value
    remedies = [(name, value, effect) for (name, effect), value in values.items()]
    return TableError("; ".join([problems[0], *others]), *remedies)


def short(text: str) -> str:
    """A text, of which the middle is left out if it is long."""
    if len(text) <= 60:
        return text
    return f"{text[:40]}...{text[-10:]}"
