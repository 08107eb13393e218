"""Transforms of distributions beside PyTorch's."""

import numpy as np
import pytest

pytest.importorskip("torch.distributions")

from differential.test_distributions import INF, NAN, module, outcome, same

TRANSFORMS = {
    "ExpTransform": lambda d, t: d.ExpTransform(),
    "SigmoidTransform": lambda d, t: d.SigmoidTransform(),
    "TanhTransform": lambda d, t: d.TanhTransform(),
    "SoftplusTransform": lambda d, t: d.SoftplusTransform(),
    "AffineTransform": lambda d, t: d.AffineTransform(t.tensor([1.0, -2.0]).double(), -3.0),
    "ComposeTransform": lambda d, t: d.ComposeTransform([d.AffineTransform(1.0, -2.0), d.SigmoidTransform()]),
    "inverse": lambda d, t: d.ComposeTransform([d.ExpTransform(), d.AffineTransform(0.5, 2.0)]).inv,
}
EDGES = [-INF, -700.0, -40.0, -1.0, -1e-12, 0.0, 0.25, 0.5, 1 - 1e-12, 1.0, 2.0, 40.0, 700.0, INF, NAN]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name):
    results = []
    for library in ("ranvier", "torch"):
        t, d = module(library), module(library, ".distributions.transforms")
        f = TRANSFORMS[name](d, t)
        x = t.tensor(np.stack([EDGES, EDGES], -1))
        y = f(x)
        found = {"y": y, "inverse": f.inv(x), "slope": f.log_abs_det_jacobian(x, y), "back": f.inv(y)}
        normal = module(library, ".distributions").Normal(t.zeros(2).double(), t.ones(2).double())
        wide = module(library, ".distributions").TransformedDistribution(normal, [f])
        inside = f(t.tensor(np.array([[-2.0, -1.0], [0.5, 3.0]]))) if name != "inverse" else None
        if inside is not None:
            found |= {"log_prob": wide.log_prob(inside), "cdf": wide.cdf(inside)}
            found["icdf"] = wide.icdf(t.tensor(np.array([[0.1, 0.3], [0.5, 0.9]])))
            found["expanded"] = wide.expand((3, 2)).log_prob(inside[0])
        results.append({k: outcome(lambda v=v: v) for k, v in found.items()})
    for what, theirs in results[1].items():
        same(results[0][what], theirs, (name, what), 1e-9, 1e-12)


@pytest.mark.parametrize("first", TRANSFORMS)
def test_equal_transforms_and_divergences_between_them(first):
    for second in TRANSFORMS:
        results = []
        for library in ("ranvier", "torch"):
            t, d = module(library), module(library, ".distributions")
            f, g = (TRANSFORMS[name](d.transforms, t) for name in (first, second))
            p = d.TransformedDistribution(d.Normal(t.zeros(2).double(), 1.0), [f])
            q = d.TransformedDistribution(d.Normal(t.zeros(2).double(), 2.0), [g])
            results.append((f == g, outcome(lambda d=d, p=p, q=q: d.kl_divergence(p, q))))
        assert results[0][0] == results[1][0]
        same(results[0][1], results[1][1], (first, second))
