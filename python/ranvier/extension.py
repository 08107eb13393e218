"""The registry of the satellites: what they add to the core, and parts that may be missing.

docs/design/extension_points.md describes it. Modules and attributes are named as text, so that nothing is
loaded before its first use.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = [
    "add_attributes", "adds", "attribute", "attributes", "belongs_to", "loaded", "optional", "provide",
    "provider", "when_loaded",
]  # fmt: skip

_ATTRIBUTES: dict[str, dict[str, str]] = {}  # a module of the core: name -> module that has it
_PROVIDERS: dict[str, str] = {}  # task -> module that does it
_LOADED: set[str] = set()  # modules of the core
_WAITING: dict[str, list[Callable[[], None]]] = {}  # a module of the core: what is called when it is loaded


def add_attributes(module: str, home: str, names: str) -> None:
    """The names, divided by spaces, of the module ``home`` become attributes of a module of the core.

    The last part of ``home`` as a name means that module itself.
    """
    _ATTRIBUTES.setdefault(module, {}).update(dict.fromkeys(names.split(), home))


def adds(module: str, name: str) -> bool:
    """True if a satellite that is there adds this name to a module."""
    home = _ATTRIBUTES.get(module, {}).get(name)
    return home is not None and _is_there(home)


def attributes(module: str) -> list[str]:
    """The names that the satellites that are there add to a module."""
    return [name for name in _ATTRIBUTES.get(module, {}) if adds(module, name)]


def attribute(module: str, name: str) -> Any:
    """The object that a satellite adds to a module under this name. Raises AttributeError if none does."""
    if not adds(module, name):
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    home = _ATTRIBUTES[module][name]
    loaded = importlib.import_module(home)
    return loaded if home.rpartition(".")[2] == name else getattr(loaded, name)


def belongs_to(module: str, package: str) -> bool:
    """True if the classes of a module count as those of a package: it is inside, or adds attributes to it."""
    return module.startswith(package) or module in _ATTRIBUTES.get(package, {}).values()


def provide(task: str, home: str) -> None:
    """Registers the module ``home`` for a task, of which the core has only the name."""
    _PROVIDERS[task] = home


def provider(task: str) -> ModuleType:
    """The module that does a task. Raises ModuleNotFoundError if no satellite that is there does it."""
    home = _PROVIDERS.get(task)
    if home is None or not _is_there(home):
        raise ModuleNotFoundError(f"[{task}] expected the part of ranvier that does it: not installed")
    return importlib.import_module(home)


def when_loaded(module: str, attach: Callable[[], None]) -> None:
    """Calls a function when a module of the core is loaded, one that calls ``loaded``; at once if it is."""
    if module in _LOADED:
        attach()
    else:
        _WAITING.setdefault(module, []).append(attach)


def loaded(module: str) -> None:
    """A module of the core calls this at its end."""
    _LOADED.add(module)
    for attach in _WAITING.pop(module, ()):
        attach()


def optional(module: str, text: str) -> Any:
    """A module of another package, which may be missing.

    Raises ImportError: the text, which says how to install the package, and the cause where it is installed.
    """
    try:
        importlib.import_module(module.partition(".")[0])
        return importlib.import_module(module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == module.partition(".")[0]
        cause = "" if missing else f" ({str(error).splitlines()[0]})"
        raise ImportError(text + cause) from None


def _is_there(home: str) -> bool:
    """True if the module has a file; nothing is loaded."""
    path = os.path.join(os.path.dirname(__file__), *home.split(".")[1:])
    return any(os.path.exists(path + ending) for ending in ("", ".py", ".pyc"))
