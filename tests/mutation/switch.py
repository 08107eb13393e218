"""Switches a mutant on in this process, and says which mutants the code that ran would have met."""

from __future__ import annotations

import ctypes
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

import numpy as np
from mutation import py_sites
from mutation.sites import Site
from mutation.tree import ORIGINAL, TREE, sites

OPTIMIZED = 1  # the flag that functions have and bodies of modules and classes have not
Codes = dict[tuple[Any, ...], CodeType]
Place = tuple[str, int, str]  # of a function: file, line, name


class Core:
    """The switch and the marks of the instrumented core, which is loaded already."""

    def __init__(self, count: int) -> None:
        from ranvier import _core

        library = ctypes.CDLL(_core.__file__)
        self._mutant, self._reached = ctypes.c_int(), np.zeros(1, np.uint16)
        if not hasattr(library, "ranvier_mutant"):  # an extension as it is: see tree.take_extension
            return
        self._mutant = ctypes.c_int.in_dll(library, "ranvier_mutant")
        marks = (ctypes.c_ushort * count).in_dll(library, "ranvier_reached")
        self._reached = np.frombuffer(marks, np.uint16)

    def switch_on(self, number: int) -> None:
        self._mutant.value = number

    def reached(self) -> list[int]:
        return [int(n) for n in np.flatnonzero(self._reached)]

    def clear(self) -> None:
        self._reached[:] = 0


class PythonMutant:
    """A change of a Python file: the code objects that differ, old and new."""

    def __init__(self, site: Site) -> None:
        self.path = str(TREE / site.file)
        text = (ORIGINAL / site.file).read_text()
        self.module = compile(py_sites.mutated(text, site), self.path, "exec")
        old, new = _codes(compile(text, self.path, "exec")), _codes(self.module)
        self.changed = {p: (code, new[p]) for p, code in old.items() if p in new and new[p] != code}
        innermost = max(self.changed, key=len, default=())
        code = self.changed[innermost][0] if innermost else None
        self.at_import = code is None or not code.co_flags & OPTIMIZED
        self.place = None if code is None else _place(code)

    def apply(self) -> bool:
        """Gives the functions that exist their changed code; False where they cannot take it."""
        by_place = {_place(old): new for old, new in self.changed.values() if old.co_flags & OPTIMIZED}
        found = False
        gc.unfreeze()  # conftest.py freezes all objects, which get_objects() then leaves out
        for thing in gc.get_objects():
            if type(thing) is FunctionType and thing.__code__.co_filename == self.path:
                new = by_place.get(_place(thing.__code__))
                if new is None:
                    continue
                try:
                    thing.__code__ = new
                except ValueError:  # another number of free variables
                    return False
                found = True
        return found


def _codes(code: CodeType, path: tuple[Any, ...] = ()) -> Codes:
    """All code objects of a module, by where they are."""
    found = {path: code}
    for part in code.co_consts:
        if isinstance(part, CodeType):
            found |= _codes(part, (*path, part.co_name, part.co_firstlineno))
    return found


def _place(code: CodeType) -> Place:
    return code.co_filename, code.co_firstlineno, code.co_name


class Calls:
    """Notes which functions of the given files are entered, by the trace function: a recording needs the
    profiler. What a recording's own profile function calls is not traced, and counts with each recording."""

    def __init__(self, places: dict[Place, list[int]]) -> None:
        self.places = places
        self.files = {place[0] for place in places}
        self.recorder = str(TREE / "python/ranvier/compile/executed.py")
        self.profiling = {self.recorder, str(TREE / "python/ranvier/compile/kinds.py")}
        self.entered: set[Place] = set()

    def start(self) -> None:
        self.entered.clear()
        if self.files:
            threading.settrace(self._note)
            sys.settrace(self._note)

    def stop(self) -> list[int]:
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        if any(file == self.recorder and name == "__enter__" for file, _, name in self.entered):
            self.entered |= {place for place in self.places if place[0] in self.profiling}
        return [n for place in self.entered for n in self.places.get(place, [])]

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if code.co_filename in self.files or code.co_filename == self.recorder:
            self.entered.add(_place(code))


class ImportMutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the changed module in place of the one in the file."""

    def __init__(self, mutant: PythonMutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.origin is None or str(Path(spec.origin)) != self.mutant.path:
            return None
        return importlib.util.spec_from_loader(
            name, self, origin=spec.origin, is_package=spec.submodule_search_locations is not None
        )

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = self.mutant.path
        if hasattr(module, "__path__"):
            module.__path__ = [str(Path(self.mutant.path).parent)]
        exec(self.mutant.module, module.__dict__)


def mutate_imports(number: int) -> None:
    """From now on the changed module is imported in place of the one in the file, if it is one of Python."""
    for site in sites():
        if site.number == number and site.file.endswith(".py"):
            sys.meta_path.insert(0, ImportMutated(PythonMutant(site)))
