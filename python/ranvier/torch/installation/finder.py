"""Makes PyTorch's modules: `torch`, `torchvision` if it is not installed, and their paths below `ranvier`.

The finder in `__init__.py` calls the functions here. A module such as torch.nn is made empty. When one of its
names is first used, it is looked up in the tables of `names.py`, then in the module's homes, which are the
modules of this library that have its names. The root of a path is its first word; its path is the rest.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from importlib.machinery import ModuleSpec
from opcode import opmap
from types import ModuleType
from typing import Any, TypeVar

import ranvier.torch.installation.names as names
from ranvier import Tensor
from ranvier.extension import attributes
from ranvier.torch.installation.absent import absent, is_absent
from ranvier.torch.installation.fallbacks import is_awaited
from ranvier.torch.installation.names import LACKS, why
from ranvier.torch.version import LOCAL, TORCH, TORCHVISION

# The other modules are plain ones, whose attributes Python finds faster.
_PACKAGES = {path.rpartition(".")[0] for path in names.ALSO_MODULES}
_Error = TypeVar("_Error", bound=BaseException)
_ROOTS = {"torch": "ranvier", "torchvision": "ranvier.data.vision", "functorch": "ranvier.func"}
_REPLACEABLE = ("torch.nn.functional", "torch.nn.init")  # see replaceable.py
VERSIONS = {"torch": f"{TORCH}+{LOCAL}", "torchvision": f"{TORCHVISION}+{LOCAL}"}


def spec_of(name: str) -> ModuleSpec | None:
    """The spec by which Python loads a module; None if there is no such module, or another finder has it."""
    root, _, path = name.partition(".")
    if is_installed(root):
        return None
    homes = homes_of(root, path)
    if not homes and not _is_stand_in(root, path):
        # An import statement gets an error that names this library; importlib.util.find_spec gets None.
        # Frame 1 is Finder.find_spec, 2 importlib's _find_spec, 3 the function that has called that.
        asks = sys._getframe(3).f_code.co_name
        imports = asks == "_find_and_load_unlocked" and root != "ranvier"
        if not imports:
            return None
        error = _not_found(name)
        if error is None:
            return None
        raise _missing(error, name)
    spec = ModuleSpec(name, Loader, origin=_file(homes), is_package=True)  # type: ignore[arg-type]
    spec.loader_state = homes
    return spec


class _Package(ModuleType):
    """A module that has a function with the name of a submodule: an import of that leaves the function."""

    def __setattr__(self, name: str, value: Any) -> None:
        path = f"{self.__name__}.{name}".partition(".")[2]
        if path not in names.ALSO_MODULES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


class Loader:
    """The loader of these modules: gives a module the functions `__getattr__` and `__dir__`."""

    @staticmethod
    def create_module(spec: ModuleSpec) -> ModuleType | None:
        root, _, path = spec.name.partition(".")
        if root == "torch" and path in _PACKAGES:
            return _Package(spec.name)
        return None

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        if module.__name__ in _REPLACEABLE:  # Python takes the module that stands here afterwards
            replaceable = importlib.import_module("ranvier.torch.installation.replaceable")
            sys.modules[module.__name__] = replaceable.shared(module.__name__, value_of)
            return
        homes: list[ModuleType] = module.__spec__.loader_state  # type: ignore[union-attr]
        root, _, path = module.__name__.partition(".")
        known = vars(module)
        stand_ins: dict[str, Any] = {}
        known.update(__file__=_file(homes), __doc__=None)
        if homes:
            known["__doc__"] = homes[0].__doc__

        def attribute(name: str) -> Any:
            if name in stand_ins and not is_awaited(name):
                return stand_ins[name]
            value = value_of(root, path, name, homes)
            # A stand-in is no attribute of the module: who asks next may have a way to go on without it.
            if is_absent(value):
                stand_ins[name] = value
            else:
                known[name] = value
            return value

        def listing() -> list[str]:
            if root == "ranvier":
                return sorted(known["__all__"])
            shown = set(known)
            for home in homes:
                shown |= {name for name in dir(home) if name[0] != "_" and is_shown(home, name)}
            return sorted(shown)

        def is_shown(home: ModuleType, name: str) -> Any:
            """Whether dir() lists a name of a home: submodules are listed only if PyTorch has them."""
            is_module = isinstance(vars(home).get(name), ModuleType)
            return not is_module or homes_of(root, f"{path}.{name}".strip("."))

        if root == "ranvier":  # `from ranvier.x import *` gives the names of the home, so they are set now
            home = homes[0]
            added = attributes(home.__name__)
            for name in dir(home):
                if name[0] == "_" or name in added:
                    continue
                value = getattr(home, name)
                if type(value) is not ModuleType:
                    known[name] = value
            public = [name for name in known if name[0] != "_"]
            classes = [name for name in added if name[0].isupper()]
            known["__all__"] = public + classes
        known.update(__getattr__=attribute, __dir__=listing)
        if module.__name__ == "torchvision":
            known["__version__"] = VERSIONS[root]
        if module.__name__ == "torch":
            known["torch"] = module  # torch.torch, as some libraries write
            if "multiprocessing" in sys.modules:  # PyTorch loads its module `connection`, which programs use
                importlib.import_module("multiprocessing.connection")
        if module.__name__ in names.WHOLE:
            file = names.WHOLE[module.__name__]
            if file:
                every = importlib.import_module(file).__all__
            else:
                every = listing()
            for name in every:
                if name[0] != "_":
                    known[name] = attribute(name)


def __getattr__(name: str) -> ModuleType:
    """A module of `ranvier` or `ranvier.nn` with a path of PyTorch: `extension.add_attributes` asks here."""
    for path in (name, f"nn.{name}"):
        if path in names.PATHS:
            return importlib.import_module(f"ranvier.{path}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def is_installed(root: str) -> bool:
    """True if the package itself is used: only torchvision, if it is installed."""
    others = (finder for finder in sys.meta_path if root not in getattr(finder, "roots", ()))
    return root == "torchvision" and any(finder.find_spec(root, None) for finder in others)


def _not_found(name: str) -> ImportError | None:
    """The error for a missing module, or for `from parent import name`, which also tries name as a module.

    None for a call `__import__(..., fromlist=[name])`, which accepts that the name is missing.
    """
    frame = sys._getframe(3)  # importlib's _find_spec: below it are spec_of and Finder.find_spec
    parent = name.rpartition(".")[0]
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
    """The `__file__` of a module: that of its last home, or of `ranvier`."""
    return str((homes and vars(homes[-1]).get("__file__")) or importlib.import_module("ranvier").__file__)


def _full(root: str, path: str) -> str:
    """The path as the tables of `names.py` have it: without `torch`, but with `torchvision`."""
    if root in ("ranvier", "torch"):
        return path
    return f"{root}.{path}".rstrip(".")


def _why(root: str, path: str) -> str:
    """The reason why this library lacks a module or name of PyTorch; empty if it has it or knows none."""
    if root == "ranvier":
        return ""
    return why(_full(root, path))


@cache  # libraries ask for missing names again and again
def homes_of(root: str, path: str) -> list[ModuleType]:
    """The modules of this library that have the names of a module of PyTorch, in the order of asking."""
    full = _full(root, path)
    if root == "ranvier":
        row = names.PATHS.get(path)
    else:
        row = names.MODULES.get(full)
    if row is not None:
        return [importlib.import_module(home) for home in row]
    # a module of ranvier with the path of a module that is left out is something else
    if root != "ranvier" and not _why(root, path):
        try:
            return [importlib.import_module(f"{_ROOTS[root]}.{path}".rstrip("."))]
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith("ranvier"):
                raise
    parent, _, last = path.rpartition(".")
    if parent:
        inside = [vars(home).get(last) for home in homes_of(root, parent)]
    else:
        inside = []
    # modules that code of a home has made, as backends.cudnn: they have no spec, unlike loaded submodules
    return [x for x in inside if isinstance(x, ModuleType) and x.__spec__ is None]


def value_of(root: str, path: str, name: str, homes: list[ModuleType]) -> Any:
    """The value of a name in a module of PyTorch.

    It is looked for, in this order, in the table of names, in the homes, among Tensor's methods, among names
    that are left out (`absent.py`), and as a module. Raises AttributeError if it is none of these.
    """
    full = f"{path}.{name}" if path else name
    if root == "torch" and full in names.NAMES:
        module, _, inner = names.NAMES[full].rpartition(".")
        return _public(getattr(importlib.import_module(module), inner), full)
    if root == "torch" and full.startswith("_foreach_"):
        return importlib.import_module("ranvier.torch.installation.list_functions").foreach(name)
    out = _why(root, full)  # the reason why the name is left out, or ""
    text = f"module {f'{root}.{path}'.strip('.')!r} has no attribute {name!r}"
    if root != "ranvier":
        text += f": {LACKS}"
    for home in homes:
        try:
            value = getattr(home, name)
        except AttributeError as error:
            # a reason that names what to do
            if str(error)[:1] == "[":
                text = str(error)
            continue
        if name == "__all__":
            return _without_submodules(home, value)
        if not (isinstance(value, ModuleType) and value.__name__.startswith("ranvier.")):
            if root == "torch":
                return _public(value, full)
            return value
        if not out and homes_of(root, full):  # else it is another module with this name
            return importlib.import_module(f"{root}.{full}")
    # a method in place, whose name ends with one underscore, is also a function of torch
    method = name in names.FUNCTIONS or name[-1:] == "_" != name[-2:-1]
    if root == "torch" and not path and method and hasattr(Tensor, name):
        return _public(getattr(Tensor, name), name)  # torch.relu_(x)
    if not name.startswith("__") or full in names.MODULES:  # such as the module `torch.__config__`
        is_module = full not in names.ALSO_MODULES and (homes_of(root, full) or (out and _has_parts(full)))
        if is_module:
            return importlib.import_module(f"{root}.{full}")
        if out and not is_awaited(name):
            return absent(_full(root, full))
    raise _missing(AttributeError(text, name=name), f"{root}.{full}")


def _without_submodules(home: ModuleType, names: list[str]) -> list[str]:
    """The public names of a module, without those of submodules. Of the package itself only those that are
    loaded are left out: `compile` is a function, too."""
    import pkgutil  # for `import *` only

    below: set[str] = set()
    if home.__name__ != "ranvier":
        below = {module.name for module in pkgutil.iter_modules(getattr(home, "__path__", ()))}
    return [name for name in names if f"{home.__name__}.{name}" not in sys.modules and name not in below]


def _has_parts(path: str) -> bool:
    """True if a path is left out but some names below it are not."""
    return any(known.startswith(f"{path}.") for known in (*names.MODULES, *names.NAMES))


def _is_stand_in(root: str, path: str) -> bool:
    """True if a module of PyTorch is left out, and the code that asks for it cannot go on without it."""
    if not _why(root, path) or _full(root, path) not in names.left_out_modules():
        return False
    return not is_awaited(path.rpartition(".")[2], imports=True)


def _missing(error: _Error, name: str) -> _Error:
    """The error for a missing name, which `--report` notes."""
    return importlib.import_module("ranvier.torch.installation.report").missing(error, name)


def _public(value: Any, path: str) -> Any:
    return importlib.import_module("ranvier.torch.torch_function.dispatch").public(value, path)
