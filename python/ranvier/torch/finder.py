"""The modules `torch` and, if it is not installed, `torchvision`: this library's names under their paths."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import multiprocessing.connection  # noqa: F401  # is there after `import torch`
import sys
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec
from opcode import opmap
from types import ModuleType
from typing import Any

import ranvier.torch.names as names
import ranvier.torch.pair_parameters  # noqa: F401  # what nn.Parameter makes of complex numbers
import ranvier.torch.report as report
from ranvier import Tensor
from ranvier.torch.absent import LACKS, absent, why
from ranvier.torch.dispatch import public
from ranvier.torch.version import LOCAL, TORCH, TORCHVISION

_ROOTS = {"torch": "ranvier", "torchvision": "ranvier.data.vision", "functorch": "ranvier.func"}
_VERSIONS = {"torch": f"{TORCH}+{LOCAL}", "torchvision": f"{TORCHVISION}+{LOCAL}"}


class Finder:
    """Python asks it for each module before it looks for files; it answers for the two packages alone."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        root, _, inner = name.partition(".")
        if root not in _ROOTS or _is_installed(root):
            return None
        homes = _homes(root, inner)
        if not homes and not why(_full(root, inner)):
            if sys._getframe(2).f_code.co_name != "_find_and_load_unlocked":  # importlib.util.find_spec
                return None
            error = _not_found(name)
            if error is None:
                return None
            raise report.missing(error, name)
        spec = ModuleSpec(name, Finder, origin=_file(homes), is_package=True)  # type: ignore[arg-type]
        spec.loader_state = homes
        return spec

    @staticmethod
    def find_distributions(context: Any = None) -> Iterator[importlib.metadata.Distribution]:
        """The versions that `importlib.metadata` gives for the two packages."""
        for name, version in _VERSIONS.items():
            if getattr(context, "name", None) in (name, None) and not _is_installed(name):
                yield _Distribution(name, version)

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType | None:
        return None

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        homes: list[ModuleType] = module.__spec__.loader_state  # type: ignore[union-attr]
        root, _, path = module.__name__.partition(".")
        vars(module)["__file__"] = _file(homes)
        vars(module)["__doc__"] = homes[0].__doc__ if homes else None

        def attribute(name: str) -> Any:
            value = _value(root, path, name, homes)
            vars(module)[name] = value
            return value

        def listing() -> list[str]:
            return sorted({*vars(module), *(name for home in homes for name in dir(home) if name[0] != "_")})

        vars(module).update(__getattr__=attribute, __dir__=listing)
        if root == "torchvision" and not path:
            vars(module)["__version__"] = _VERSIONS[root]
        if root == "torch" and not path:
            vars(module)["torch"] = module  # torch.torch, as some libraries write
        if module.__name__ in names.WHOLE:
            file = names.WHOLE[module.__name__]
            known = importlib.import_module(file).__all__ if file else listing()
            vars(module).update({name: attribute(name) for name in known if name[0] != "_"})


@cache
def _is_installed(root: str) -> bool:
    """Whether the package's own files serve: torchvision's, if it is installed."""
    others = (finder for finder in sys.meta_path if finder is not Finder)
    return root == "torchvision" and any(finder.find_spec(root, None) for finder in others)


class _Distribution(importlib.metadata.Distribution):
    """What `importlib.metadata` says of a package."""

    def __init__(self, name: str, version: str) -> None:
        self._text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"

    def read_text(self, filename: str) -> str | None:
        return self._text if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        return path


def _not_found(name: str) -> ImportError | None:
    """The error of a module that is not there, or of a name that `from ... import` takes for one, too.
    None: `__import__(..., fromlist=[name])`, which lets such a name be missing."""
    frame, parent = sys._getframe(2), name.rpartition(".")[0]
    while frame.f_back is not None and "importlib" in frame.f_code.co_filename:
        if frame.f_code.co_name == "_handle_fromlist" and parent in sys.modules:
            asks = frame.f_back
            if asks.f_code.co_code[asks.f_lasti] != opmap["IMPORT_NAME"]:
                return None
            return ImportError(
                f"cannot import name {name[len(parent) + 1 :]!r} from {parent!r}: {LACKS}", name=parent
            )
        frame = frame.f_back
    return ModuleNotFoundError(f"No module named {name!r}: {LACKS}", name=name)


def _file(homes: list[ModuleType]) -> str:
    """A file of this library, which programs look for beside `torch.__file__`."""
    return str((homes and vars(homes[-1]).get("__file__")) or importlib.import_module("ranvier").__file__)


def _full(root: str, path: str) -> str:
    """The path under which `names.OUT` has it: without `torch`, with other roots."""
    return path if root == "torch" else f"{root}.{path}"


@functools.cache  # libraries ask again and again for what is not there
def _homes(root: str, path: str) -> list[ModuleType]:
    """The modules of this library that have the names of a module of PyTorch, in the order of asking."""
    homes: list[ModuleType] = []
    if root == "torch" and path in names.FILES:
        homes.append(importlib.import_module(names.FILES[path]))
    if why(_full(root, path)):  # a module of ranvier with this name is another one
        return homes
    inner = names.HOMES.get(_full(root, path), path)
    try:
        homes.append(importlib.import_module(f"{_ROOTS[root]}.{inner}" if inner else _ROOTS[root]))
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("ranvier"):
            raise
    return homes


def _value(root: str, path: str, name: str, homes: list[ModuleType]) -> Any:
    """What a module of PyTorch has under a name. Raises AttributeError if it is not there."""
    full = f"{path}.{name}" if path else name
    if root == "torch" and full in names.OTHERS:
        module, _, inner = names.OTHERS[full].rpartition(".")
        return public(getattr(importlib.import_module(module), inner), full)
    if full.startswith("_foreach_") and root == "torch":
        return importlib.import_module("ranvier.torch.groups").foreach(name)
    out = why(_full(root, full))
    text = f"module {f'{root}.{path}'.strip('.')!r} has no attribute {name!r}: {LACKS}"
    for home in homes:
        try:
            value = getattr(home, name)
        except AttributeError as error:
            text = str(error) if str(error)[:1] == "[" else text  # a reason that names what to do
            continue
        if not (isinstance(value, ModuleType) and value.__name__.startswith("ranvier.")):
            return public(value, full) if root == "torch" else value
        if not out and _homes(root, full):  # else it is another module with this name
            return importlib.import_module(f"{root}.{full}")
    method = name in names.FUNCTIONS or name[-1:] == "_" != name[-2:-1]
    if root == "torch" and not path and method and hasattr(Tensor, name):
        return public(getattr(Tensor, name), name)  # torch.relu_(x)
    if not name.startswith("__") or full in names.FILES:
        if out and not any(known.startswith(full) for known in (*names.FILES, *names.OTHERS)):
            return absent(_full(root, full))
        if out or _homes(root, full):
            return importlib.import_module(f"{root}.{full}")
    raise report.missing(AttributeError(text, name=name), f"{root}.{full}")
