"""nflows: a masked autoregressive flow and one of rational-quadratic splines are trained."""

import torch
from nflows import distributions, flows, transforms
from nflows.nn.nets import ResidualNet
from weights import fill, normal


def affine():
    """Three masked affine transforms."""
    return [transforms.MaskedAffineAutoregressiveTransform(features=4, hidden_features=32) for _ in range(3)]


def splines():
    """Three couplings by splines."""
    return [
        transforms.PiecewiseRationalQuadraticCouplingTransform(
            mask=[(i + k) % 2 for i in range(4)],
            transform_net_create_fn=lambda inputs, outputs: ResidualNet(inputs, outputs, hidden_features=32),
            tails="linear",
            tail_bound=4.0,
        )
        for k in range(3)
    ]


def job():
    """Ten steps of Adam of each flow; then its density, and there and back."""
    x, answer = torch.from_numpy(normal(256, 4)), {}
    for name, steps in (("affine", affine), ("splines", splines)):
        flow = fill(
            flows.Flow(transforms.CompositeTransform(steps()), distributions.StandardNormal([4])), scale=0.5
        )
        optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
        losses = []
        for _ in range(10):
            optimizer.zero_grad()
            loss = -flow.log_prob(x).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        noise = torch.from_numpy(normal(8, 4, seed=1))
        answer |= {name: losses, f"{name}_inverse": flow._transform.inverse(noise)[0]}
    return answer
