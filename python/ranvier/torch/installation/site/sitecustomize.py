"""Python runs this module at its start, in processes that a process with ranvier in place of PyTorch has
started.

`ranvier.torch.install` has put this folder on PYTHONPATH. ranvier is loaded at the first `import torch`.
"""

import importlib.machinery
import os
import sys
from typing import Any

_HERE = os.path.dirname(os.path.abspath(__file__))


class _First:
    """Puts this library in place of `torch` when it is first asked for."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> Any:
        if name in ("torch", "torchvision", "functorch"):
            return _put_in_place().find_spec(name)
        return None

    @staticmethod
    def find_distributions(context: Any = None) -> Any:
        name = getattr(context, "name", None)
        if name in ("torch", "torchvision", "functorch"):
            return _put_in_place().find_distributions(context)
        return iter(())


def _put_in_place() -> Any:
    """Installs ranvier in place of torch; returns its finder, which replaces `_First`."""
    finders: list[Any] = sys.meta_path
    finders.remove(_First)
    packages = os.environ.get("RANVIER_PACKAGES")
    try:
        import ranvier.torch
    except ModuleNotFoundError:
        if packages is None:
            raise
        sys.path.append(packages)
        import ranvier.torch
    ranvier.torch.install()
    return finders[0]  # where `install` has put its finder


if os.environ.get("RANVIER_IN_PLACE_OF_TORCH"):
    sys.meta_path.insert(0, _First)

# run the sitecustomize module, if there is another one, that this one hides
_others = [path for path in sys.path if os.path.abspath(path or ".") != _HERE]
_spec = importlib.machinery.PathFinder.find_spec("sitecustomize", _others)
if _spec is not None and _spec.loader is not None:
    _spec.loader.exec_module(sys.modules[__name__])
