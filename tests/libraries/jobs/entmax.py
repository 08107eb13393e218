"""entmax: sparse activations and losses, and a network that learns with them."""

import torch
from entmax import Entmax15Loss, entmax15, entmax_bisect, normmax_bisect, sparsemax
from torch import nn
from weights import fill, labels, normal


def job():
    """Values and gradients of each function; ten steps with the loss."""
    answer = {}
    functions = {
        "sparsemax": sparsemax,
        "entmax15": entmax15,
        "bisect": lambda x: entmax_bisect(x, alpha=1.3),
        "normmax": lambda x: normmax_bisect(x, alpha=2.0),
    }
    for name, function in functions.items():
        x = torch.from_numpy(normal(64, 20)).requires_grad_()
        y = function(x)
        (y**2).sum().backward()
        answer |= {name: y[::11], f"{name}_gradient": x.grad[::11]}
    x, target = torch.from_numpy(normal(256, 10)), torch.from_numpy(labels(256, classes=20))
    network, losses = fill(nn.Linear(10, 20)), []
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(10):
        optimizer.zero_grad()
        loss = Entmax15Loss()(network(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return answer | {"losses": losses}
