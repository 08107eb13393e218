"""geoopt: manifolds' operations, and optimizers that stay on them."""

import geoopt
import torch
from weights import normal

_MANIFOLDS = {
    "PoincareBall": (4, 3),
    "Lorentz": (4, 3),
    "Sphere": (4, 3),
    "Stiefel": (4, 3),
    "CanonicalStiefel": (4, 3),
    "SymmetricPositiveDefinite": (3, 3),
    "Euclidean": (4, 3),
    "Scaled": (4, 3),
}


def job():
    """Points, tangents and five steps of each optimizer."""
    answer = {}
    for name, shape in _MANIFOLDS.items():
        made = (geoopt.Sphere(), 2.0) if name == "Scaled" else ()
        manifold = getattr(geoopt, name)(*made)
        point = manifold.projx(torch.from_numpy(normal(*shape, scale=0.3)))
        tangent = manifold.proju(point, torch.from_numpy(normal(*shape, seed=1, scale=0.1)))
        answer |= {f"{name} retraction": manifold.retr(point, tangent), f"{name} tangent": tangent}
        answer[f"{name} length"] = manifold.inner(point, tangent, tangent)
        for kind in ("RiemannianAdam", "RiemannianSGD"):
            parameter = geoopt.ManifoldParameter(point.clone(), manifold=manifold)
            optimizer = getattr(geoopt.optim, kind)([parameter], lr=0.05)
            for _ in range(5):
                optimizer.zero_grad()
                ((parameter - 0.2 * torch.ones(shape)) ** 2).sum().backward()
                optimizer.step()
            answer[f"{name} {kind}"] = parameter
    return answer
