"""torch_optimizer: each of its optimizers trains a network."""

import torch
import torch_optimizer
from torch import nn
from weights import fill, labels, normal

NAMES = (
    "AccSGD",
    "AdaBound",
    "AdaMod",
    "Adafactor",
    "AdamP",
    "AggMo",
    "Apollo",
    "DiffGrad",
    "Lamb",
    "LARS",
    "MADGRAD",
)
MORE = ("NovoGrad", "PID", "QHAdam", "QHM", "RAdam", "Ranger", "SGDP", "SGDW", "SWATS", "Shampoo", "Yogi")


def job():
    """Ten steps of each optimizer."""
    x, y, answer = torch.from_numpy(normal(128, 10)), torch.from_numpy(labels(128, classes=3)), {}
    for name in NAMES + MORE:
        network = fill(nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 3)))
        options = {"lr": 0.01} if name not in ("Adafactor",) else {}
        optimizer, losses = getattr(torch_optimizer, name)(network.parameters(), **options), []
        for _ in range(10):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        answer[name] = losses
    return answer
