"""Puts this library in place of `torch`, and makes PyTorch's module paths below `ranvier` (`ranvier.amp`).

A program that imports `torch` runs unchanged, with this library's modules under PyTorch's names:

    python -m ranvier.torch program.py ...           a program
    python -m ranvier.torch -m pytest ...            a module
    python -m ranvier.torch --report program.py      which names were missing, which calls ran in NumPy
    pytest -p ranvier.torch                          tests
    %load_ext ranvier.torch                          a notebook
    import ranvier.torch; ranvier.torch.install()    before the first `import torch`

This holds for `torch`, and for `torchvision` if it is not installed, in the process and in the Python
processes that it starts. Nothing is installed and no file is changed. docs/unchanged.md says what works.

| folder | what a user of PyTorch finds in it |
|---|---|
| `installation` | how `import torch` finds this library: where each name is, which are left out |
| `torch_function` | the protocol `__torch_function__`, `torch.overrides` |
| `tensors` | complex and sparse tensors, the device "meta", shared memory, printing, `torch.types` |
| `functions` | functions of `torch`, `torch.linalg`, `torch.fft`, `torch.special`; PyTorch's random numbers |
| `modules` | layers for volumes, bases of layers, `torch.ao.quantization`, `functorch.make_functional` |
| `training` | `torch.amp`, `torch.autograd.graph`, `torch.optim`, `torch.utils.checkpoint` |
| `operators` | `torch.library`, `torch.ops`, the compiled operators of torchvision and torchaudio |
| `distributed` | `torch.distributed`, `torch.multiprocessing` |
| `devices` | `torch.cuda`, `torch.backends` |
| `files` | `torch.load`, `torch.save` |
| `fx` | `torch.fx`, `torch.jit`, `torch.compiler`, `torch.onnx.export` |
| `utils` | `torch.utils`, `torch.testing`, `torch.hub`, `torch.futures` |

`attached.py` changes classes of the core, so that they look like PyTorch's; `version.py` is `torch.version`.

The code uses nine terms:

| term | meaning |
|---|---|
| path | the name of a module or object of PyTorch, without `torch.`: "nn.functional.relu" |
| root | the package whose modules are made: "torch", "torchvision", "functorch" or "ranvier" |
| home | a module here that has the names of a module of PyTorch |
| left out | a name that is not here, with the reason (`paths.json`) |
| stand-in | an object in place of a left-out name, which raises when it is used (`absent.py`) |
| awaited | a name in a `try` whose handler goes on without it: it raises at once (`fallbacks.py`) |
| public function | a function of `torch`, which asks `__torch_function__` first (`dispatch.py`) |
| operator | a function of `torch.ops`, with a kernel for each dispatch key (`torch_ops.py`) |
| pairs | complex numbers as a real tensor (.., 2), which `Complex` wraps (`pairs.py`) |
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from ranvier.extension import add_attributes, provide

__all__ = ["install", "is_installed"]


class Finder:
    """An entry of sys.meta_path: Python asks it for modules below `roots`, and `finder.py` makes them."""

    def __init__(self, *roots: str) -> None:
        self.roots = roots

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name.partition(".")[0] not in self.roots:
            return None
        return importlib.import_module("ranvier.torch.installation.finder").spec_of(name)

    def find_distributions(self, context: Any = None) -> Any:
        if self is not IN_PLACE:
            return iter(())
        return importlib.import_module("ranvier.torch.installation.metadata").distributions(context)


# PATHS makes PyTorch's paths below `ranvier`; IN_PLACE makes `torch` itself, after `install`.
if "IN_PLACE" not in globals():  # they exist if the module is loaded again: `%reload_ext ranvier.torch`
    PATHS = Finder("ranvier")
    IN_PLACE = Finder("torch", "torchvision", "functorch")
    sys.meta_path.append(PATHS)
_HERE = f"{__name__}.installation.finder"  # its `__getattr__` imports these modules from below `ranvier`
add_attributes("ranvier", _HERE, "accelerator amp backends cuda hub jit mps multiprocessing utils")
add_attributes("ranvier.nn", _HERE, "modules parallel")
add_attributes("ranvier", f"{__name__}.training.amp", "autocast")
_NAMES = "are_deterministic_algorithms_enabled use_deterministic_algorithms"
add_attributes("ranvier", f"{__name__}.devices.backends", _NAMES)
provide("complex tensors", f"{__name__}.functions.composed")
provide("complex parameters", f"{__name__}.tensors.pair_parameters")
_SITE = os.path.join(os.path.dirname(__file__), "installation", "site")
# the folder that has the package ranvier, for child processes that do not find it (`sitecustomize.py`)
_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def install(report: bool = False, numbers: bool = False) -> None:
    """Puts this library in place of `torch` and `torchvision`; a second call does nothing.

    report: print on stderr when the process ends which names were missing, and which calls ran in NumPy.
    numbers: seeds give PyTorch's random numbers; the environment variable RANVIER_TORCH_RANDOM=1 has the same
    effect.

    Raises RuntimeError if PyTorch is imported already.

    >>> import ranvier.torch
    >>> ranvier.torch.install()                                       # doctest: +SKIP
    ranvier 0.1.0 is in place of torch 2.13.0
    >>> import torch                                                  # doctest: +SKIP
    """
    from ranvier.settings import defined
    from ranvier.torch import attached

    if not is_installed():
        there = [name for name in ("torch", "torchvision") if name in sys.modules]
        if there:
            raise RuntimeError(
                f"[torch.install] got {there[0]}, which is imported already; expected to come before the "
                "first `import torch`: python -m ranvier.torch program.py"
            )
        sys.meta_path.insert(0, IN_PLACE)
        attached.attach()
        if not os.environ.get("RANVIER_IN_PLACE_OF_TORCH"):
            from ranvier import __version__
            from ranvier.torch.version import TORCH

            print(f"ranvier {__version__} is in place of torch {TORCH}", file=sys.stderr)
        if numbers or os.environ.get("RANVIER_TORCH_RANDOM") == "1":
            from ranvier.torch.functions import twister

            twister.start()
            os.environ["RANVIER_TORCH_RANDOM"] = "1"  # for the processes that this one starts
        _tell_children()
        defined()  # steps that were compiled before are recorded anew: methods of Tensor have changed
    if report:
        from ranvier.torch.installation import report as reports

        reports.start()


def is_installed() -> bool:
    """True if `import torch` gives this library."""
    return IN_PLACE in sys.meta_path


def _tell_children() -> None:
    """Sets variables by which Python processes that this one starts run `site/sitecustomize.py`."""
    os.environ["RANVIER_IN_PLACE_OF_TORCH"] = "1"
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if _SITE not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([_SITE, *filter(None, paths)])
    os.environ["RANVIER_PACKAGES"] = _PACKAGES


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext ranvier.torch`"""
    install()


def pytest_load_initial_conftests() -> None:
    """`pytest -p ranvier.torch`: before the first conftest.py."""
    install()
