"""geomloss: a cloud of points moves to another along the gradient of three distances."""

import torch
from geomloss import SamplesLoss
from weights import normal


def job():
    """Five steps with each distance."""
    target, answer = torch.from_numpy(normal(100, 3, seed=1)) * 0.5 + 1, {}
    for name, options in (("sinkhorn", {"p": 2, "blur": 0.1}), ("gaussian", {"blur": 0.5}), ("energy", {})):
        distance = SamplesLoss(name, backend="tensorized", **options)
        points, losses = torch.from_numpy(normal(120, 3)).requires_grad_(), []
        for _ in range(5):
            loss = distance(points, target)
            (slope,) = torch.autograd.grad(loss, [points])
            points.data -= 20 * slope
            losses.append(loss.item())
        answer |= {name: losses, f"{name}_points": points[::17]}
    return answer
