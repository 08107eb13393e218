"""Transforms of whole arrays before training, each with `transform` and `inverse_transform`, most with `fit`.

Their numbers are saved with a model (`rv.save(..., preprocessing=[...])`), so that a program that loads it
prepares new samples in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from ranvier.data.encoding import OneHot, one_hot
from ranvier.data.scaling import MinMaxScaler, Normalize, Standardize, minmax_scale, standardize
from ranvier.data.table_encoder import TableEncoder

__all__ = [
    "Compose",
    "MinMaxScaler",
    "Normalize",
    "OneHot",
    "Standardize",
    "TableEncoder",
    "minmax_scale",
    "one_hot",
    "standardize",
]


class Compose:
    """Several transforms, one after another; a plain function among them has nothing to fit and no inverse.

    Raises:
        TypeError: a step that is neither; `inverse_transform` or `config` with a plain function among the
            steps.

    >>> import numpy as np
    >>> from ranvier.data import Compose, MinMaxScaler, Standardize
    >>> steps = Compose([MinMaxScaler(0, 255), Standardize()])
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

        A step whose numbers were given to its constructor, such as `MinMaxScaler(0, 255)`, keeps them.
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


def _apply(step: Any, x: Any) -> Any:
    return step.transform(x) if hasattr(step, "transform") else step(x)


def _name(step: Any) -> str:
    return getattr(step, "__name__", type(step).__name__)


def from_config(config: dict[str, Any]) -> Any:
    """The transform of a saved model's `preprocessing`, `{"transform": "Standardize", "mean": ...}`.

    Raises ValueError: the name is none of this module's transforms.

    >>> from ranvier.data import transforms
    >>> transforms.from_config({"transform": "MinMaxScaler", "low": 0, "high": 16})([8.0]).tolist()
    [0.5]
    """
    kinds = {kind.__name__: kind for kind in (Standardize, MinMaxScaler, Normalize, OneHot, TableEncoder)}
    name = config.get("transform")
    arguments = {key: value for key, value in config.items() if key != "transform"}
    if name == "Compose":
        return Compose([from_config(step) for step in arguments["steps"]])
    if name == "Normalize" and "low" in arguments:  # the name of MinMaxScaler in older files
        name = "MinMaxScaler"
    if name not in kinds:
        raise ValueError(
            f"[transforms.from_config] unknown transform {name!r}; "
            f"expected one of {', '.join(kinds)}, Compose"
        )
    return kinds[name](**arguments)
