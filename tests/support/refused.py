"""Calls that must be refused."""

import re
from collections.abc import Callable
from typing import Any

import pytest

Kind = type[Exception]


def refused(
    error: Kind | tuple[Kind, ...], text: str, function: Callable[..., Any], *arguments: Any, **settings: Any
) -> None:
    """function(*arguments, **settings) raises this error, and its message contains the text."""
    with pytest.raises(error, match=re.escape(text)):
        function(*arguments, **settings)


def text_of(error: Kind, function: Callable[..., Any], *arguments: Any, **settings: Any) -> str:
    """All of the text of this error, which function(*arguments, **settings) raises."""
    with pytest.raises(error) as caught:
        function(*arguments, **settings)
    return str(caught.value)


def refusals(function: Callable[..., Any]) -> Callable[..., None]:
    """`refused` for many calls of one function, whose errors begin with its name: "[name] text"."""

    def wrong(error: Kind | tuple[Kind, ...], text: str, *arguments: Any, **settings: Any) -> None:
        refused(error, f"[{function.__name__}] {text}", function, *arguments, **settings)

    return wrong
