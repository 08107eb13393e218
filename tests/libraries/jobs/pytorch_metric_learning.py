"""pytorch-metric-learning: losses with their gradients, and miners."""

import torch
from pytorch_metric_learning import losses, miners
from weights import fill, normal

_LOSSES = """
    AngularLoss CircleLoss ContrastiveLoss FastAPLoss GeneralizedLiftedStructureLoss IntraPairVarianceLoss
    LiftedStructureLoss MarginLoss MultiSimilarityLoss NCALoss NPairsLoss NTXentLoss PNPLoss
    SignalToNoiseRatioContrastiveLoss SmoothAPLoss SupConLoss TripletMarginLoss TupletMarginLoss
"""
_WITH_WEIGHTS = "ArcFaceLoss CosFaceLoss NormalizedSoftmaxLoss ProxyAnchorLoss ProxyNCALoss SoftTripleLoss"


def job():
    """All on 12 vectors of four classes."""
    classes, answer = torch.arange(12) % 4, {}
    for name in (_LOSSES + _WITH_WEIGHTS).split():
        settings = {"num_classes": 4, "embedding_size": 8} if name in _WITH_WEIGHTS.split() else {}
        x = torch.from_numpy(normal(12, 8)).requires_grad_()
        loss = fill(getattr(losses, name)(**settings))(x, classes)
        loss.backward()
        answer |= {name: loss, f"{name} slope": x.grad}
    for name in ("MultiSimilarityMiner", "TripletMarginMiner", "BatchHardMiner", "PairMarginMiner"):
        answer[name] = torch.cat(getattr(miners, name)()(torch.from_numpy(normal(12, 8)), classes))
    return answer
