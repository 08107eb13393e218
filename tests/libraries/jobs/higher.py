"""higher: gradients through the steps of an optimizer, as MAML has."""

import higher
import torch
from torch import nn
from weights import fill, normal


def job():
    """Five steps over four tasks, each of three inner steps, with two inner optimizers."""
    answer = {}
    for name, inner in (("sgd", torch.optim.SGD), ("adam", torch.optim.Adam)):
        network = fill(nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 1)))
        outer = torch.optim.Adam(network.parameters(), lr=1e-2)
        losses = []
        for _ in range(5):
            outer.zero_grad()
            total = 0.0
            for task in range(4):
                x, y = (
                    torch.from_numpy(normal(32, 4, seed=task)),
                    torch.from_numpy(normal(32, 1, seed=10 + task)),
                )
                optimizer = inner(network.parameters(), lr=0.05)
                with higher.innerloop_ctx(network, optimizer, copy_initial_weights=False) as (copy, steps):
                    for _ in range(3):
                        steps.step(nn.functional.mse_loss(copy(x[:16]), y[:16]))
                    loss = nn.functional.mse_loss(copy(x[16:]), y[16:])
                    loss.backward()
                    total += loss.item()
            outer.step()
            losses.append(total)
        answer[name] = losses
    return answer
