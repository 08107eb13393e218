"""Names: those that a Module registers, and those of torch.nn that are not here."""

from __future__ import annotations

from typing import Any


def check(module: Any, what: str, name: Any, own: Any, value: Any, kind: type) -> None:
    """Refuses a name that is no string, empty, with a dot (paths have dots), or that of another attribute,
    and a value that is neither of this kind nor None."""
    if not isinstance(name, str):
        raise TypeError(f"[register_{what}] got name {name!r}; expected a string")
    if not name or "." in name:
        raise KeyError(f"[register_{what}] got name {name!r}; expected one without dots that is not empty")
    if hasattr(module, name) and name not in own:
        raise KeyError(f"attribute {name!r} already exists")
    if not (value is None or isinstance(value, kind)):
        raise TypeError(
            f"cannot assign {type(value).__name__} as {what} {name!r}; expected a {kind.__name__} or None"
        )


# a part of names of torch.nn and torch.nn.functional, and what those are for
_ABSENT = {
    "3d": "volumes (N, C, D, H, W) are",
    "quant": "quantised arithmetic is",
    "qat": "quantised arithmetic is",
    "sparse": "sparse arithmetic is",
    "fractional": "pooling of random regions is",
    "linear_cross": "cross_entropy(linear(x, weight), target) is the same; this name is",
    "linearcross": "CrossEntropyLoss of a Linear is the same; this name is",
    "crossmaplrn": "LocalResponseNorm is the same; this name is",
    "nllloss2d": "NLLLoss takes images; this name is",
}


def absent(module: str, name: str) -> AttributeError:
    """The error for a name that a module lacks; it says why where the name is one of PyTorch's."""
    why = next((text for part, text in _ABSENT.items() if part in name.lower()), None)
    ending = "" if why is None else f": {why} not part of this library (docs/versions.md)"
    return AttributeError(f"module {module!r} has no attribute {name!r}{ending}")
