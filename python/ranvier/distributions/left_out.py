"""Stand-ins for distributions of PyTorch that ranvier lacks: classes whose constructor raises an error.

Libraries import these names and make subclasses of them, even if a program never uses them.
"""

from __future__ import annotations

from typing import Any

from ranvier.distributions.base import Distribution

_NAMES = """
    Chi2 ContinuousBernoulli ExponentialFamily FisherSnedecor GeneralizedPareto InverseGamma Kumaraswamy
    LogisticNormal LowRankMultivariateNormal OneHotCategoricalStraightThrough Pareto VonMises Weibull
    Wishart
"""


def _left_out(name: str) -> type:
    def __init__(self: Any, *args: Any, **settings: Any) -> None:
        raise NotImplementedError(f"[torch.distributions.{name}] ranvier leaves it out: few programs use it")

    text = f"{name} of PyTorch, which refuses its parameters here."
    return type(name, (Distribution,), {"__init__": __init__, "__doc__": text, "__module__": __name__})


globals().update({name: _left_out(name) for name in _NAMES.split()})
