"""Stand-ins for distributions of PyTorch that ranvier lacks: classes whose constructor raises an error.

Libraries import these names and make subclasses of them, even if a program never uses them, and ask
`isinstance`: each has PyTorch's base class.
"""

from __future__ import annotations

from typing import Any

from ranvier.distributions.base import Distribution, ExponentialFamily
from ranvier.distributions.discrete import OneHotCategorical
from ranvier.distributions.gamma import Gamma
from ranvier.distributions.transforms import TransformedDistribution

_NAMES: dict[type[Distribution], str] = {
    Distribution: "FisherSnedecor GeneralizedPareto LowRankMultivariateNormal VonMises",
    ExponentialFamily: "ContinuousBernoulli Wishart",
    Gamma: "Chi2",
    OneHotCategorical: "OneHotCategoricalStraightThrough",
    TransformedDistribution: "InverseGamma Kumaraswamy LogisticNormal Pareto Weibull",
}


def _left_out(name: str, base: type[Distribution]) -> type:
    def __init__(self: Any, *args: Any, **settings: Any) -> None:
        raise NotImplementedError(f"[torch.distributions.{name}] ranvier leaves it out: few programs use it")

    text = f"{name} of PyTorch, which refuses its parameters here."
    return type(name, (base,), {"__init__": __init__, "__doc__": text, "__module__": __name__})


for _base, _names in _NAMES.items():
    globals().update({name: _left_out(name, _base) for name in _names.split()})
