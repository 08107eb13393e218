"""Guards on objects of Python's own library and NumPy, other than containers and functions.

Each function here is a row of the table `_FOLLOW` in `walk.py`: it makes the guards of one kind of value,
or denies it.
"""

from __future__ import annotations

import enum
import logging
import types
from typing import Any

import numpy as np

from ranvier.compile.capturable import MOST, is_listed, is_numpy_function
from ranvier.compile.equality import PLAIN
from ranvier.compile.guards import Guards


def guard_set(walk: Guards, x: set[Any], text: str) -> None:
    """Also its order, in which a loop over it goes."""
    if len(x) > MOST:
        walk.deny(text, f"a set of {len(x)} items, too many to be compared before each replay")
        return
    walk.call(f"the items of {text}", tuple, x)
    walk.stack += [(item, text) for item in x if type(item) not in PLAIN]


def guard_members(walk: Guards, kind: enum.EnumMeta) -> None:
    """Guard the members of an enumeration, by their names and by their values."""
    for name in ("_member_map_", "_value2member_map_", "_member_names_"):
        walk.container(getattr(kind, name), f"the members of {kind.__name__}")


def guard_field(walk: Guards, x: Any, text: str) -> None:
    """Guard a field of a dataclass."""
    for name in ("name", "default", "default_factory", "_field_type"):
        walk.attribute(x, name, text)


def guard_logger(walk: Guards, x: logging.Logger, text: str) -> None:
    """A step that logs is refused: what is left to read are attributes."""
    walk.items(vars(x), walk.names & vars(x).keys(), f"{text}.", follow=False)
    if not walk.names.isdisjoint(("handlers", "filters", "manager")):
        walk.deny(text, "a logger, of which lists may be read")


def guard_namespace(walk: Guards, x: types.SimpleNamespace, text: str) -> None:
    """C makes its text and comparisons."""
    walk.users = True
    walk.whole(vars(x), (f"{text}.", ""))
    walk.stack += [(value, f"{text}.{name}") for name, value in vars(x).items()]


def guard_scalar(walk: Guards, x: Any, text: str) -> None:
    walk.numpy()
    if isinstance(x, np.void):  # a row of a table, which can be written to
        walk.deny(text, "a row of a table of NumPy")


def guard_array(walk: Guards, x: Any, text: str) -> None:
    remedy = "make it a Tensor outside the step (rv.tensor), which a replay reads as it is"
    walk.deny(text, "an array of NumPy, whose elements are not compared", remedy)


def guard_numpy(walk: Guards, x: Any, text: str) -> None:
    walk.numpy()
    if not (isinstance(x, np.dtype) or is_numpy_function(x)):
        walk.deny(text, "a function of NumPy that is not listed")


def guard_wrapper(walk: Guards, x: Any, text: str) -> None:
    if not is_listed(x):
        walk.deny(text, "which is made in C")
