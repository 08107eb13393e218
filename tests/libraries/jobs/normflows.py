"""normflows: a RealNVP and a neural spline flow are trained."""

import normflows
import torch
from weights import fill, normal


def real_nvp():
    """Four couplings."""
    return [
        normflows.flows.MaskedAffineFlow(
            torch.tensor([float(k % 2), float((k + 1) % 2)]),
            normflows.nets.MLP([2, 32, 32, 2]),
            normflows.nets.MLP([2, 32, 32, 2]),
        )
        for k in range(4)
    ]


def splines():
    """Two autoregressive layers of splines."""
    return [normflows.flows.AutoregressiveRationalQuadraticSpline(2, 1, 32) for _ in range(2)]


def job():
    """Ten steps of Adam of each flow, by its forward divergence; then what it makes of noise."""
    x, answer = torch.from_numpy(normal(256, 2)), {}
    for name, layers in (("real_nvp", real_nvp), ("splines", splines)):
        model = fill(normflows.NormalizingFlow(normflows.distributions.DiagGaussian(2), layers()), scale=0.5)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        losses = []
        for _ in range(10):
            optimizer.zero_grad()
            loss = model.forward_kld(x)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        answer |= {name: losses, f"{name}_samples": model.forward(torch.from_numpy(normal(8, 2, seed=1)))}
    return answer
