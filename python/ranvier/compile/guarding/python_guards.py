"""Makes the guards on objects of Python's own library and NumPy, other than containers and functions.

Each function here handles one kind of value, and the table `_FOLLOW` in `walk.py` calls it by the value's
class. It adds guards to the walk, or denies the step. text: names the value in messages.
"""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.compile.guarding.capturable import MOST, GuardKind, is_listed, is_numpy_function
from ranvier.compile.guarding.equality import PLAIN
from ranvier.compile.guarding.guards import Guards

if TYPE_CHECKING:
    import logging


def guard_set(walk: Guards, x: set[Any], text: str) -> None:
    """Guards the items of a set and their order, in which a loop over the set goes."""
    if len(x) > MOST:
        walk.deny(text, f"a set of {len(x)} items, too many to be compared before each replay")
        return
    walk.call(f"the items of {text}", tuple, x)
    walk.stack += [(item, text) for item in x if type(item) not in PLAIN]


def guard_field(walk: Guards, x: object, text: str) -> None:
    """Guards a field of a dataclass."""
    for name in ("name", "default", "default_factory", "_field_type"):
        walk.add((GuardKind.SLOT, x, name, getattr(x, name), text))


def guard_logger(walk: Guards, x: logging.Logger, text: str) -> None:
    """Guards the attributes of a logger that the code names. A step that logs was refused before."""
    walk.items(vars(x), walk.names & vars(x).keys(), f"{text}.", follow=False)
    if not walk.names.isdisjoint(("handlers", "filters", "manager")):
        walk.deny(text, "a logger, of which lists may be read")


def guard_namespace(walk: Guards, x: types.SimpleNamespace, text: str) -> None:
    """Guards all attributes: C code that makes the text of a namespace, or compares it, reads them all."""
    walk.users = True
    walk.whole(vars(x), (f"{text}.", ""))
    walk.stack += [(value, f"{text}.{name}") for name, value in vars(x).items()]


def guard_scalar(walk: Guards, x: object, text: str) -> None:
    """Guards np.errstate beside a scalar of NumPy, whose own value the guard on its place compares."""
    walk.numpy()
    if isinstance(x, np.void):  # a row of a structured array, which can be written to
        walk.deny(text, "a row of a table of NumPy")


def guard_array(walk: Guards, x: object, text: str) -> None:
    remedy = "make it a Tensor outside the step (rv.tensor), which a replay reads as it is"
    walk.deny(text, "an array of NumPy, whose elements are not compared", remedy)


def guard_numpy(walk: Guards, x: object, text: str) -> None:
    walk.numpy()
    if not (isinstance(x, np.dtype) or is_numpy_function(x)):
        walk.deny(text, "a function of NumPy that is not listed")


def guard_wrapper(walk: Guards, x: Any, text: str) -> None:
    if not is_listed(x):
        walk.deny(text, "which is made in C")
