"""zuko: masked autoregressive flows, spline flows and coupling flows are trained, with a context."""

import torch
import zuko
from weights import fill, normal


def job():
    """Ten steps of Adam of each flow; then what it makes of noise."""
    x, context, answer = torch.from_numpy(normal(128, 3)), torch.from_numpy(normal(128, 2, seed=1)), {}
    for name in ("MAF", "NSF", "NICE"):
        flow = fill(getattr(zuko.flows, name)(3, 2, transforms=2, hidden_features=(32, 32)), scale=0.5)
        optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
        losses = []
        for _ in range(10):
            optimizer.zero_grad()
            loss = -flow(context).log_prob(x).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        noise = torch.from_numpy(normal(8, 3, seed=2))
        answer |= {name: losses, f"{name}_inverse": flow(context[:8]).transform.inv(noise)}
    return answer
