"""The registry of the satellites, the folders that use the core but that the core does not need: which names
they add to modules of the core, and which tasks they do.

docs/design/extension_points.md describes it. Modules and attributes are named as text, so that nothing is
loaded before its first use. `ranvier/__init__.py` and the satellites register here; modules of the core ask
in their `__getattr__` (`attribute`) and where a satellite does a task for them (`provider`).
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from types import ModuleType
from typing import Any

__all__ = [
    "add_attributes", "adds", "attribute", "attributes", "belongs_to", "home_of", "loaded", "optional",
    "provide", "provider", "show_in", "when_loaded",
]  # fmt: skip

_ATTRIBUTES: dict[str, dict[str, str]] = {}  # {module of the core: {name: module that has the object}}
_PROVIDERS: dict[str, str] = {}  # {task: module that does it}
_HOMES: dict[type, str] = {}  # {class of the core that a satellite shows in another module: its own module}
_LOADED: set[str] = set()  # the modules of the core that are loaded
_WAITING: dict[str, list[Callable[[], None]]] = {}  # {module of the core: functions for when it is loaded}


def add_attributes(module: str, home: str, names: str) -> None:
    """Makes names of the module ``home`` attributes of a module of the core. names: divided by spaces.

    A name that is the last part of ``home`` means the module ``home`` itself.
    """
    _ATTRIBUTES.setdefault(module, {}).update(dict.fromkeys(names.split(), home))


def adds(module: str, name: str) -> bool:
    """True if an installed satellite adds this name to a module."""
    home = _ATTRIBUTES.get(module, {}).get(name)
    return home is not None and _is_there(home)


def attributes(module: str) -> list[str]:
    """The names that the installed satellites add to a module."""
    return [name for name in _ATTRIBUTES.get(module, {}) if adds(module, name)]


def attribute(module: str, name: str) -> Any:
    """The object that a satellite adds to a module under this name. Raises AttributeError if none does."""
    if not adds(module, name):
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    home = _ATTRIBUTES[module][name]
    loaded = importlib.import_module(home)
    if home.rpartition(".")[2] == name:
        return loaded
    return getattr(loaded, name)


def belongs_to(module: str, package: str) -> bool:
    """True if the classes of a module count as a package's: it is inside the package or adds names to it."""
    return module.startswith(package) or module in _ATTRIBUTES.get(package, {}).values()


def show_in(cls: type, module: str) -> None:
    """Gives a class of the core the name of another module, which programs read. `home_of` still returns the
    module that defines it."""
    _HOMES.setdefault(cls, cls.__module__)
    cls.__module__ = module


def home_of(cls: type) -> str:
    """The module that defines a class, also of a class that a satellite shows in another one."""
    return _HOMES.get(cls, cls.__module__)


def provide(task: str, home: str) -> None:
    """Registers the module ``home`` for a task. The core knows only the name of the task."""
    _PROVIDERS[task] = home


def provider(task: str) -> ModuleType:
    """The module that does a task. Raises ModuleNotFoundError if no installed satellite does it."""
    home = _PROVIDERS.get(task)
    if home is None or not _is_there(home):
        raise ModuleNotFoundError(f"[{task}] expected the part of ranvier that does it: not installed")
    return importlib.import_module(home)


def when_loaded(module: str, attach: Callable[[], None]) -> None:
    """Calls a function when a module of the core is loaded; at once if it is loaded already. The module must
    call ``loaded`` at its end."""
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

    Raises ImportError with the text, which says how to install the package. If the package is installed but
    fails, the error also has the cause.
    """
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)
        return importlib.import_module(module)
    except ImportError as error:
        is_missing = isinstance(error, ModuleNotFoundError) and error.name == package
        if is_missing:
            raise ImportError(text) from None
        cause = str(error).splitlines()[0]
        raise ImportError(f"{text} ({cause})") from None


def _is_there(home: str) -> bool:
    """True if the module has a file. This loads nothing."""
    path = os.path.join(os.path.dirname(__file__), *home.split(".")[1:])
    return any(os.path.exists(path + ending) for ending in ("", ".py", ".pyc"))
