"""lightly: losses of two views of a batch, and heads of projection."""

import torch
from lightly import loss as losses
from lightly.models import modules
from weights import fill, normal

_LOSSES = "NTXentLoss BarlowTwinsLoss VICRegLoss NegativeCosineSimilarity DCLLoss DCLWLoss TiCoLoss"
_HEADS = "SimCLRProjectionHead MoCoProjectionHead BYOLPredictionHead SimSiamProjectionHead"


def job():
    """Each loss with its gradient; what each head gives."""
    views, answer = [torch.from_numpy(normal(6, 8, seed=seed)) for seed in (0, 1)], {}
    for name in _LOSSES.split():
        first = views[0].clone().requires_grad_()
        answer[name] = getattr(losses, name)()(first, views[1])
        answer[name].backward()
        answer[f"{name} slope"] = first.grad
    for name in _HEADS.split():
        answer[name] = fill(getattr(modules, name)(8, 16, 4))(views[0])
    return answer
