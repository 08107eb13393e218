"""Packages whose names are loaded at their first use, so that a program pays for what it uses."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import ranvier.extension as extension
from ranvier.tensors.errors import own_errors


class FirstUse:
    """The names of a package, by the modules below it that define them; as ``__getattr__`` of the package.

    modules: {module: its public names, divided by spaces}; a module without names is public itself.
    left_out: errors of public functions and classes begin with their names, except those of these
    (`own_errors`); None: all name themselves. A name that is not here is one that a satellite adds.
    """

    def __init__(self, package: str, modules: dict[str, str], left_out: str | None = None) -> None:
        self.package = package
        self.modules = modules
        self.left_out = left_out
        self.home = {name: module for module, names in modules.items() for name in names.split()}
        self.names = sorted([*self.home, *[module for module, names in modules.items() if not names]])

    def __call__(self, name: str) -> Any:
        if name in self.modules:
            return importlib.import_module(f"{self.package}.{name}")
        module = self.home.get(name)
        if module is None:
            return extension.attribute(self.package, name)
        loaded = importlib.import_module(f"{self.package}.{module}")
        names = self.modules[module].split()
        if self.left_out is not None:
            own_errors(vars(loaded), names, self.left_out)
        here = sys.modules[self.package]
        for public in names:
            setattr(here, public, getattr(loaded, public))
        return getattr(loaded, name)

    def directory(self) -> list[str]:
        """The names that the package shows in ``dir``."""
        added = extension.attributes(self.package)
        return sorted({*vars(sys.modules[self.package]), *self.names, *added})
