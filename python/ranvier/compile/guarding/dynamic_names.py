"""Notes names that are made at run time, so that `getattr(config, name)` is guarded like `config.lr`.

While a step is recorded, the built-in functions getattr, hasattr, setattr and delattr are replaced by
wrappers that note the names they get in `TracedCode.asked`. A step that calls the original C function in
another way, such as by a `functools.partial(getattr, x)` made before, is refused like for any C function that
is not listed.
"""

from __future__ import annotations

import builtins
import sys
from typing import Any

from ranvier.compile.guarding.capturable import HIDDEN, STATE_OF_TENSORS
from ranvier.compile.guarding.origins import PACKAGE, USER, origin_of
from ranvier.observe import Lock, current

LOOK_UP = frozenset({"getattr", "hasattr"})
_STORE = frozenset({"setattr", "delattr"})
WATCHED = LOOK_UP | _STORE
_OWN = HIDDEN | STATE_OF_TENSORS  # attributes of Python's and the library's objects that a step must not read
_made = {name: vars(builtins)[name] for name in WATCHED}  # the original built-in functions
_active: list[Any] = []  # the `TracedCode` of each thread that records
_lock = Lock()


def _noted(name: str) -> Any:
    """The wrapper of a built-in function."""
    function = _made[name]

    def look(*args: Any, **kwargs: Any) -> Any:
        file = sys._getframe(1).f_code.co_filename
        if file.startswith(PACKAGE):  # most calls
            return function(*args, **kwargs)
        recording = current()
        traced: Any = recording and recording.traced
        if traced in _active and not traced.ignores:
            text = args[1] if len(args) > 1 else None
            by_user = origin_of(file) == USER
            if type(text) is not str or (by_user and (name in _STORE or text in _OWN)):
                traced.refuse(f"calls {name}", at_run_time=True)
            # Left out are the names with two underscores that Python's own code asks for.
            elif by_user or text[:2] != "__" or text == "__dataclass_fields__":
                traced.asked.add(text)
        return function(*args, **kwargs)

    look.__name__ = look.__qualname__ = name
    return look


_noting = {name: _noted(name) for name in WATCHED}


def watch(traced: Any) -> frozenset[str]:
    """Replaces the built-in functions, so that `traced` notes names from now on.

    Returns the names of the replaced functions: none if the program itself has replaced one before.
    """
    with _lock:
        if not _active and any(vars(builtins).get(name) is not made for name, made in _made.items()):
            return frozenset()
        _active.append(traced)
        vars(builtins).update(_noting)
    return WATCHED


def unwatch(traced: Any) -> None:
    """Ends `watch`; the last recording puts the built-in functions back."""
    with _lock:
        if traced in _active:
            _active.remove(traced)
            if not _active:
                vars(builtins).update(_made)
