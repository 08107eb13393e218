"""Transforms of whole arrays before training, each with `fit`, `transform` and `inverse_transform`.

What they have learnt is saved beside a model (`rv.save(..., preprocessing=[...])`), so that whoever loads it
can prepare new samples in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from ranvier.data.encoding import OneHot, one_hot
from ranvier.data.scaling import Normalize, Standardize, normalise, standardise

__all__ = [
    "Compose",
    "Normalize",
    "OneHot",
    "Pipeline",
    "Standardize",
    "from_config",
    "normalise",
    "one_hot",
    "standardise",
]


class Compose:
    """Several transforms, one after another; a plain function among them has nothing to fit and no inverse.

    Raises:
        TypeError: a step that is neither; or an inverse asked of a plain function, or a config.

    >>> import numpy as np
    >>> from ranvier.data import Compose, Normalize, Standardize
    >>> steps = Compose([Normalize(0, 255), Standardize()])
    >>> y = steps.fit_transform([[0.0], [255.0]])
    >>> y.tolist(), steps.inverse_transform(y).tolist()
    ([[-1.0], [1.0]], [[0.0], [255.0]])
    """

    def __init__(self, steps: Sequence[Any]) -> None:
        self.steps = list(steps)
        for step in self.steps:
            if not (hasattr(step, "transform") or callable(step)):
                raise TypeError(
                    f"[Compose] got a step of type {type(step).__name__}; expected a transform or a function"
                )

    def fit(self, x: npt.ArrayLike) -> Compose:
        """Fit each step to what the steps before it make of `x`; returns self.

        A step whose numbers were given to its constructor, such as `Normalize(0, 255)`, keeps them.
        """
        self.fit_transform(x)
        return self

    def fit_transform(self, x: Any) -> Any:
        """`fit(x)`, then `transform(x)`."""
        for step in self.steps:
            if hasattr(step, "fit") and not getattr(step, "given", False):
                step.fit(x)
            x = _apply(step, x)
        return x

    def transform(self, x: Any) -> Any:
        for step in self.steps:
            x = _apply(step, x)
        return x

    __call__ = transform

    def inverse_transform(self, y: Any) -> Any:
        """The steps' inverses, the last one first."""
        for step in reversed(self.steps):
            if not hasattr(step, "inverse_transform"):
                raise TypeError(f"[Compose.inverse_transform] got a step without inverse: {_name(step)}")
            y = step.inverse_transform(y)
        return y

    def config(self) -> dict[str, Any]:
        """The steps' configs, by name."""
        for step in self.steps:
            if not hasattr(step, "config"):
                raise TypeError(f"[Compose.config] got a step that cannot be saved: {_name(step)}")
        return {"steps": [{"transform": type(step).__name__, **step.config()} for step in self.steps]}

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.steps))}])"


Pipeline = Compose


def _apply(step: Any, x: Any) -> Any:
    return step.transform(x) if hasattr(step, "transform") else step(x)


def _name(step: Any) -> str:
    return getattr(step, "__name__", type(step).__name__)


def from_config(config: dict[str, Any]) -> Standardize | Normalize | OneHot | Compose:
    """The transform that a saved model's `preprocessing` names, `{"transform": "Standardize", "mean": ...}`.

    Raises:
        ValueError: a name that is not one of ours.

    >>> from ranvier.data import transforms
    >>> transforms.from_config({"transform": "Normalize", "low": 0, "high": 16})([8.0]).tolist()
    [0.5]
    """
    kinds: dict[str, Any] = {"Standardize": Standardize, "Normalize": Normalize, "OneHot": OneHot}
    name = config.get("transform")
    arguments = {key: value for key, value in config.items() if key != "transform"}
    if name == "Compose":
        return Compose([from_config(step) for step in arguments["steps"]])
    if name not in kinds:
        raise ValueError(
            f"[transforms.from_config] unknown transform {name!r}; "
            f"expected one of {', '.join(kinds)}, Compose"
        )
    transform: Standardize | Normalize | OneHot = kinds[name](**arguments)
    return transform
