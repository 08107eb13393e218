"""Random calls: the right call of an op or kernel, with its arrays and attributes changed at random."""

from typing import Any, NamedTuple

import numpy as np
from ranvier import kernels, ops
from support.calls import KERNELS, OPS
from support.wrong_input import SAME_VALUES, WRONG_ATTRIBUTES, describe

SIZES = (0, 1, 2, 3, 5, 8, 17, 33)
HUGE = (2**41, 2**48 + 1, 2**60 - 1)  # elements, of views that repeat one: beyond what any call takes
VALUES = (np.nan, np.inf, -np.inf, 0.0, -0.0, 3e38, -3e38, 1e-45)
CALLS = [("kernels", name) for name in sorted(KERNELS)] + [("ops", name) for name in sorted(OPS)]
MODULES: dict[str, Any] = {"kernels": kernels, "ops": ops}


class Call(NamedTuple):
    module: str
    name: str
    arrays: list[Any]  # and other arguments by place
    attributes: dict[str, Any]

    def __str__(self) -> str:
        given = [describe(x) for x in _listed(self.arrays)]
        return f"{self.module}.{self.name}({given}, {_described(self.attributes)})"


def random_call(rng: Any) -> Call:
    module, name = CALLS[rng.integers(len(CALLS))]
    arrays, attributes = {"kernels": KERNELS, "ops": OPS}[module][name]
    spoiled = {key: random_attribute(rng, a) if rng.random() < 0.4 else a for key, a in attributes.items()}
    given = _related(rng, arrays, [_random(rng, x) for x in arrays])
    if "out:" in (getattr(MODULES[module], name).__doc__ or "") and rng.random() < 0.3:
        spoiled["out"] = _out(rng, [x for x in _listed(given) if isinstance(x, np.ndarray)])
    if rng.random() < 0.02:
        given = [_huge(rng, x) for x in given]
    return Call(module, name, given, spoiled)


def random_array(rng: Any, like: Any) -> Any:
    """Like the array of the right call, often of other sizes, values, rank or memory."""
    x = like.copy()  # a call may write to it
    if rng.random() < 0.5:
        shape = [int(rng.choice(SIZES)) if rng.random() < 0.3 else n for n in x.shape]
        x = np.resize(like, shape) if like.size else np.zeros(shape, like.dtype)
    if rng.random() < 0.1:
        x = x[None] if rng.random() < 0.5 or x.ndim == 0 else x.reshape(-1)
    if rng.random() < 0.15:
        with np.errstate(all="ignore"):
            x = x.astype(rng.choice(["float32", "float64", "int64", "uint8", "bool", "float16"]))
    if rng.random() < 0.15 and x.dtype.kind == "f":
        with np.errstate(all="ignore"):
            x[rng.random(x.shape) < rng.choice([0.2, 1.0])] = rng.choice(VALUES)
    if rng.random() < 0.15 and x.dtype.kind in "iu":
        x = np.full_like(x, rng.integers(-128 if x.dtype.kind == "i" else 0, 128))
    if rng.random() < 0.3:
        x = SAME_VALUES[rng.integers(len(SAME_VALUES))](np.ascontiguousarray(x))
    if rng.random() < 0.2:
        x = np.asfortranarray(x)
    return x


def random_attribute(rng: Any, right: Any) -> Any:
    if rng.random() < 0.1:
        return WRONG_ATTRIBUTES[rng.integers(len(WRONG_ATTRIBUTES))]
    if isinstance(right, bool):
        return bool(rng.integers(2))
    if isinstance(right, int):
        sizes = rng.integers(-1, 6, 2).tolist()
        return sizes[0] if rng.random() < 0.7 else tuple(sizes)
    if isinstance(right, float):
        return float(rng.normal())
    return right


def _random(rng: Any, like: Any) -> Any:
    if isinstance(like, (list, tuple)):
        return type(like)(_random(rng, x) for x in like)
    if isinstance(like, np.ndarray):
        return random_array(rng, like)
    return random_attribute(rng, like) if rng.random() < 0.4 else like


def _huge(rng: Any, x: Any) -> Any:
    """A view of a size that no memory has, sometimes: refused before anything reads its elements."""
    if isinstance(x, (list, tuple)):
        return type(x)(_huge(rng, part) for part in x)
    if not isinstance(x, np.ndarray) or x.ndim == 0 or rng.random() < 0.5:
        return x
    shape = list(x.shape)
    shape[rng.integers(x.ndim)] = int(rng.choice(HUGE))
    try:
        return np.broadcast_to(np.zeros((), x.dtype), shape)
    except ValueError:  # more than NumPy takes
        return x


def _related(rng: Any, right: Any, given: list[Any]) -> list[Any]:
    """Sometimes arrays that agree in shape, which chance rarely finds, or that are in the same memory."""
    arrays = [x for x in (*given, *right) if isinstance(x, np.ndarray)]
    if len(given) < 2 or len(arrays) < 2 * len(given):
        return given
    if rng.random() < 0.3:
        return [given[0] if x.shape == right[0].shape else y for x, y in zip(right, given, strict=True)]
    if rng.random() < 0.15:
        return overlapping(rng, given)
    return given


def overlapping(rng: Any, arrays: list[Any]) -> list[Any]:
    """Arrays of the same shapes and dtypes whose memory overlaps, each a few bytes into the same block."""
    longest = max(x.nbytes for x in arrays)
    block = np.zeros(longest + 64, np.uint8)
    views = []
    for x in arrays:
        start = int(rng.integers(0, 9)) * x.itemsize
        if x.dtype.hasobject or start + x.nbytes > block.nbytes:
            return arrays
        view = block[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
        view[...] = x
        views.append(view)
    return views


def _out(rng: Any, arrays: list[Any]) -> Any:
    """An array to write to: of some input's shape, an input itself, a part of one, or not writable."""
    x = arrays[rng.integers(len(arrays))]
    kind = rng.integers(5)
    if kind == 0:
        return x
    if kind == 1:
        return x[..., ::-1] if x.ndim else x
    if kind == 2:
        return random_array(rng, np.zeros_like(x))
    out = np.zeros(np.broadcast_shapes((1,), x.shape), x.dtype)
    out.flags.writeable = bool(kind == 3)
    return out


def _listed(arrays: list[Any]) -> list[Any]:
    return [part for x in arrays for part in (x if isinstance(x, (list, tuple)) else [x])]


def _described(attributes: dict[str, Any]) -> dict[str, str]:
    return {name: describe(value) for name, value in attributes.items()}
