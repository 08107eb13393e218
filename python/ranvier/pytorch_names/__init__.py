"""PyTorch's module names: `ranvier.cuda`, `ranvier.utils.data`, `ranvier.nn.modules.conv`.

`import ranvier.cuda` gives the module `cuda` of this package. A path whose names are elsewhere, such as
`ranvier.nn.modules.conv`, gives a module with the names of `ranvier.nn`.
"""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from typing import Any

from ranvier.extension import add_attributes, attributes

# the beginning of a path: the module here that it is
_TORCH = "accelerator amp backends cuda hub jit mps multiprocessing utils"
_UTILS = "checkpoint dlpack einops tensorboard"
_MODULES = {name: name for name in _TORCH.split()} | {f"utils.{name}": name for name in _UTILS.split()}
_MODULES["utils.model_zoo"] = "hub"
# the beginning of a path: the module of the library that has the names
_HOMES = {
    "autograd.variable": "autograd",
    "data.distributed": "distributed.parallel",
    "distributions": "distributions",
    "nn.modules": "nn",
    "nn.parallel": "distributed.parallel",
    "random": "autograd.random",
    "utils.data": "data",
}
# the modules of PyTorch at such a path; a path with another name is an error
_FILES = {
    "distributions": """
        bernoulli beta binomial categorical cauchy dirichlet distribution exponential geometric gumbel
        half_cauchy half_normal independent kl laplace lkj_cholesky log_normal mixture_same_family
        multinomial multivariate_normal negative_binomial normal one_hot_categorical poisson
        relaxed_bernoulli relaxed_categorical studentT uniform
    """,
    "nn.modules": """
        activation batchnorm channelshuffle container conv distance dropout flatten fold instancenorm lazy
        linear loss module normalization padding pixelshuffle pooling rnn sparse transformer upsampling utils
    """,
    "nn.parallel": "comm data_parallel distributed parallel_apply replicate scatter_gather",
    "utils.data": "dataloader dataset distributed sampler",
}
# names that their homes do not have: module and name here; and functions of Python numbers
_BASES = """
    RNNBase RNNCellBase _AdaptiveAvgPoolNd _AdaptiveMaxPoolNd _AvgPoolNd _BatchNorm _ConstantPadNd _ConvNd
    _ConvTransposeNd _DropoutNd _InstanceNorm _Loss _MaxPoolNd _NormBase _ReflectionPadNd _ReplicationPadNd
    _WeightedLoss
"""
_OTHERS = {name: ("pytorch_names.bases", name) for name in _BASES.split()}
_REPEATED = {"_single": 1, "_pair": 2, "_triple": 3, "_quadruple": 4}
# names of `ranvier` that modules here have
_TOP = {
    "amp": "autocast",
    "backends": """
        are_deterministic_algorithms_enabled get_float32_matmul_precision set_float32_matmul_precision
        use_deterministic_algorithms
    """,
}


def _module_here(path: str) -> types.ModuleType | None:
    """The module of this package that a path names, as such or as an attribute: `cuda`, `cuda.amp`."""
    parent, _, name = path.rpartition(".")
    if path in _MODULES:
        return importlib.import_module(f"{__name__}.{_MODULES[path]}")
    inside = vars(_module_here(parent)).get(name) if parent in _MODULES else None
    return inside if isinstance(inside, types.ModuleType) else None


def _home(path: str) -> str | None:
    parent, _, name = path.rpartition(".")
    return _HOMES.get(parent if name in _FILES.get(parent, "").split() else path)


def _repeated(count: int, name: str = "parse") -> Any:
    """A number as a tuple of `count` equal ones; tuples and lists as they are."""

    def sizes(value: Any) -> tuple[Any, ...]:
        return tuple(value) if isinstance(value, Iterable) else (value,) * count

    return sizes


class _Paths:
    """The finder, and the loader, of these paths; Python asks it for modules that have no file."""

    @staticmethod
    def find_spec(name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        package, _, inner = name.partition(".")
        if package != "ranvier" or not inner.rpartition(".")[2].islower():  # PyTorch's modules: small letters
            return None
        here = _module_here(inner)
        if here is None and _home(inner) in (None, inner):
            return None
        return ModuleSpec(name, _Paths, loader_state=here, is_package=True)  # type: ignore[arg-type]

    @staticmethod
    def create_module(spec: ModuleSpec) -> types.ModuleType | None:
        here: types.ModuleType | None = spec.loader_state
        spec.loader_state = here and here.__spec__
        return here

    @staticmethod
    def exec_module(module: types.ModuleType) -> None:
        spec = module.__spec__
        if spec is not None and spec.name != module.__name__:  # a module of this package, loaded before
            module.__spec__ = spec.loader_state
            return
        home = importlib.import_module(f"ranvier.{_home(module.__name__.partition('.')[2])}")
        public = {name: value for name, value in vars(home).items() if not name.startswith("_")}
        vars(module).update({k: v for k, v in public.items() if not isinstance(v, types.ModuleType)})
        names = [name for name in vars(module) if name[0] != "_"]
        names += [name for name in attributes(home.__name__) if name[0].isupper()]
        vars(module).update(__all__=names, __dir__=lambda: sorted(names))

        def attribute(name: str) -> Any:
            if name == "_ntuple" or name in _REPEATED:
                return _repeated(_REPEATED[name]) if name in _REPEATED else _repeated
            if name in _OTHERS:
                at, other = _OTHERS[name]
                return getattr(importlib.import_module(f"ranvier.{at}"), other)
            if (
                not name.startswith("_")
                and hasattr(home, name)
                and not isinstance(getattr(home, name), types.ModuleType)
            ):
                return getattr(home, name)
            if name in _FILES.get(module.__name__.partition(".")[2], "").split():
                return importlib.import_module(f"{module.__name__}.{name}")
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        vars(module)["__getattr__"] = attribute


sys.meta_path.append(_Paths)
for _name in _TORCH.split():
    add_attributes("ranvier", f"{__name__}.{_name}", _name)
for _name, _names in _TOP.items():
    add_attributes("ranvier", f"{__name__}.{_name}", _names)
add_attributes("ranvier.nn", __name__, "modules parallel")


def __getattr__(name: str) -> Any:
    if name in ("modules", "parallel"):
        return importlib.import_module(f"ranvier.nn.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
