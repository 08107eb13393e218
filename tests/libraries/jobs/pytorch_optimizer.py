"""pytorch_optimizer: four updates of a network by each of its optimizers that needs no settings."""

import pytorch_optimizer
import torch
from torch import nn
from weights import fill, normal

_NAMES = """
    a2grad adabelief adabound adai adalite adamg adamod adamp adams adan adapnm adashift adasmooth
    ademamix adopt aggmo apollo avagrad came diffgrad fadam focus fromage grams lamb laprop lars
    lion madgrad mars msvag nero novograd padam pid pnm prodigy qhadam qhm ranger sgdp sgdw shampoo
    sm3 srmm stableadamw swats tiger vsgd yogi
"""


def job():
    """The network's output after the updates."""
    answer = {}
    for name in _NAMES.split():
        model = fill(nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4)))
        optimizer = pytorch_optimizer.load_optimizer(name)(model.parameters(), lr=0.01)
        for i in range(4):
            optimizer.zero_grad()
            model(torch.from_numpy(normal(6, 8, seed=i))).square().mean().backward()
            optimizer.step()
        answer[name] = model(torch.from_numpy(normal(6, 8)))
    return answer
