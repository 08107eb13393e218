"""Which of PyTorch's OpInfos exist here, and under which names.

An OpInfo is judged in every form that both libraries have: the function, its aliases, the method, the change
in place, the operator and the augmented assignment.
"""

import importlib
import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import ranvier as rv
import ranvier.nn.functional as functional
from ranvier.torch.installation.finder import homes_of, value_of
from ranvier.torch.installation.names import METHODS, why

# Named as a cast in PyTorch's list, as a dtype in both libraries: judged as methods only.
_DTYPES_HERE = (np.dtype,)
# Complex and sparse tensors, which only the mode has: tests/unchanged/test_spectra.py
NOT_JUDGED = {"cdouble", "cfloat", "complex", "polar", "to_sparse", "view_as_complex"}
NOT_JUDGED |= {"sparse.mm", "sparse.sampled_addmm"}
# open vectors, sums that cancel, draws, no history
NOT_JUDGED |= {"svd", "conv3d", "nn.functional.conv3d", "nn.functional.multi_head_attention_forward", "fill"}


@dataclass(frozen=True)
class Form:
    """One way to call an op: the same call here and in PyTorch."""

    label: str
    ours: Callable[..., Any]
    theirs: Callable[..., Any]
    in_place: bool = False


# OpInfos whose samples are in another order than the function's arguments.
_REORDERED: dict[str, Callable[..., Any]] = {
    "einsum": lambda tensors, equation: rv.einsum(equation, *tensors),
    "nn.functional.embedding": lambda weight, index, **options: functional.embedding(
        index, weight, **options
    ),
    "nn.functional.embedding_bag": lambda weight, index, offsets=None, **options: functional.embedding_bag(
        index, weight, offsets, **options
    ),
    "polygamma": lambda x, n: _in_mode("polygamma")(n, x),
    "special.polygamma": lambda x, n: _in_mode("special.polygamma")(n, x),
    "where": lambda x, condition, other: rv.where(condition, x, other),
}


def _function(name: str) -> Any:
    """The public function of PyTorch's name here, or None."""
    if name in _REORDERED:
        return _REORDERED[name]
    found: Any = functional if name.startswith("nn.functional.") else rv
    for part in name.removeprefix("nn.functional.").split("."):
        found = getattr(found, part, None)
    found = _in_mode(name) if found is None else found
    return found if callable(found) and not isinstance(found, _DTYPES_HERE) else None


def _in_mode(name: str) -> Any:
    """A function that only `python -m ranvier.torch` has, or None."""
    path, _, last = name.rpartition(".")
    if why(name) or name in NOT_JUDGED:
        return None
    try:
        return value_of("torch", path, last, homes_of("torch", path))
    except AttributeError:
        return None


def _method(name: str) -> Any:
    """The method or property of Tensor as a function of the tensor, or None."""
    found = getattr(rv.Tensor, name, None)
    if found is None and name in METHODS and name not in NOT_JUDGED:
        found = getattr(importlib.import_module(METHODS[name]), name)
    return found.fget if isinstance(found, property) else found


# The factors of lu have no gradients here and refuse matrices that require them; tests/ops/test_matrices.py
# compares their values.
WITHOUT_GRADIENT = {"linalg.lu", "linalg.lu_factor", "lu", "lu_unpack"}
SIGNS_ARE_OPEN = {"svd", "linalg.svd", "linalg.eigh"}  # signs of vectors: each LAPACK chooses
# samples of a function around it
OTHER_ARGUMENTS = {"linalg.pinv.singular", "linalg.lstsq.grad_oriented", "svd_lowrank", "pca_lowrank"}
OTHER_ARGUMENTS |= {"_segment_reduce.lengths", "_segment_reduce.offsets"}  # half of them of wrong lengths


def forms_of(info: Any) -> Iterator[Form]:
    """Every form of an OpInfo (its aliases included) that exists in both libraries."""
    if info.name == "broadcast_shapes":  # a shape, no tensor: docs/pytorch_names.md has it
        return
    if info.name in WITHOUT_GRADIENT or title(info) in OTHER_ARGUMENTS:
        return
    seen = set()
    for variant in (info, *info.aliases):
        name = variant.name
        method, in_place = variant.method_variant, variant.inplace_variant
        for label, ours, theirs, changes in (
            (name, _function(name), variant.op, name.endswith("_")),
            # methods that OpInfo lists as the op itself: T, item, __getitem__, float ...
            (f"Tensor.{name}", _method(name), method or variant.op, name.endswith("_") and name[0] != "_"),
            (f"Tensor.{name}_", _method(name + "_"), in_place, True),
        ):
            if ours is not None and theirs is not None and label not in seen:
                if info.variant_test_name == "in_place" and not changes:
                    continue
                if label.startswith("Tensor.") and not changes and not hasattr(_torch_tensor(), name):
                    continue
                seen.add(label)
                if info.name in SIGNS_ARE_OPEN:
                    ours, theirs = _magnitudes(ours), _magnitudes(theirs)
                yield Form(label, ours, theirs, changes)
    for function, changes in ((info.operator_variant, False), (info.inplace_operator_variant, True)):
        name = getattr(function, "__name__", "")
        if function is not None and hasattr(rv.Tensor, f"__{name.strip('_')}__"):
            yield Form(f"operator.{name}", getattr(operator, name), function, changes)


def _magnitudes(factors: Callable[..., Any]) -> Callable[..., Any]:
    """The results without their signs, and of svd without vectors of no singular value, which are as open."""

    def of(*args: Any, **options: Any) -> tuple[Any, ...]:
        parts = tuple(part.abs() for part in factors(*args, **options))
        if len(parts) == 3:
            u, s, vh = parts
            return u[..., : s.shape[-1]], s, vh[..., : s.shape[-1], :]
        return parts

    return of


def _torch_tensor() -> Any:
    import torch

    return torch.Tensor


def infos() -> list[Any]:
    """The OpInfos that have at least one form here, in PyTorch's order; equal names are told apart."""
    from torch.testing._internal.common_methods_invocations import op_db

    return [info for info in op_db if next(forms_of(info), None) is not None]


def title(info: Any) -> str:
    return f"{info.name}.{info.variant_test_name}" if info.variant_test_name else info.name
