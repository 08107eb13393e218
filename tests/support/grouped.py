"""Many short cases in few tests: pytest spends 2 ms on each test, more than most calls of a kernel take."""

import copy
import inspect
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import Any

import pytest
import ranvier as rv


def in_groups(cases: Sequence[Any], size: int = 40) -> list[Sequence[Any]]:
    """The first case alone, which is the part of `pytest -m quick`, and the others `size` at a time."""
    return [cases[:1], *(cases[at : at + size] for at in range(1, len(cases), size))]


def grouped(names: str | tuple[str, ...], cases: Iterable[Any], ids: Any = None) -> Callable[..., Any]:
    """pytest.mark.parametrize, but one test runs a group of cases; each has its own random numbers."""
    arguments = (names,) if isinstance(names, str) else names
    rows = [(case,) if isinstance(names, str) else case for case in cases]
    together = in_groups([dict(zip(arguments, row, strict=True)) for row in rows])
    texts = ids if isinstance(ids, list) else ["-".join(map(ids or _text, row)) for row in rows]
    labels = [f"{group[0]}..{group[-1]}" for group in in_groups(texts)]

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @wraps(test)
        def run(*instance: Any, group: Sequence[dict[str, Any]], **fixtures: Any) -> None:
            __tracebackhide__ = True
            skipped = None
            for case in group:
                rv.manual_seed(0)
                given = {**fixtures, **case}
                if "rng" in given:
                    given["rng"] = copy.deepcopy(given["rng"])
                try:
                    test(*instance, **given)
                except pytest.skip.Exception as reason:
                    skipped = reason
                except BaseException:
                    print("failed with", case)  # pytest shows it below the traceback
                    raise
            if skipped:
                raise skipped

        own = inspect.signature(test)
        kept = [parameter for name, parameter in own.parameters.items() if name not in arguments]
        group = inspect.Parameter("group", inspect.Parameter.KEYWORD_ONLY)
        run.__signature__ = own.replace(parameters=[*kept, group])  # type: ignore[attr-defined]
        return pytest.mark.parametrize("group", together, ids=labels)(run)

    return decorate


def _text(value: Any) -> str:
    return value if isinstance(value, str) else repr(value)
