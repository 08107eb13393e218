"""backpack: gradients of each sample, variances and curvature beside the gradient."""

import torch
from backpack import backpack, extend, extensions
from torch import nn
from weights import fill, labels, normal

_KINDS = "BatchGrad BatchL2Grad SumGradSquared Variance DiagGGNExact BatchDiagGGNExact KFLR DiagHessian"


def job():
    """Each quantity of a network's parameters."""
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(144, 4))
    network, loss = extend(fill(network)), extend(nn.CrossEntropyLoss())
    x, wanted, answer = torch.from_numpy(normal(8, 1, 8, 8)), torch.from_numpy(labels(8, classes=4)), {}
    for kind in _KINDS.split():
        extension = getattr(extensions, kind)()
        with backpack(extension):
            loss(network(x), wanted).backward()
        for name, parameter in network.named_parameters():
            kept = getattr(parameter, extension.savefield)
            for part, value in enumerate(kept if isinstance(kept, list) else [kept]):
                answer[f"{kind} {name} {part}"] = value
        network.zero_grad()
    return answer
