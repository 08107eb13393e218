"""segmentation-models-pytorch: decoders, a training step, losses, scores."""

import segmentation_models_pytorch as smp
import torch
from weights import fill, normal


def job():
    """Three decoders on a small encoder, one of them trained."""
    x = torch.from_numpy(normal(1, 3, 64, 64))
    results = {}
    for name in ("Unet", "FPN", "Linknet"):
        network = fill(getattr(smp, name)("resnet18", encoder_weights=None, classes=2), scale=0.3).eval()
        results[name] = network(x)[0, :, ::20, ::20]
    target = (x[:, :1] > 0).long()
    losses = {
        "dice": smp.losses.DiceLoss("multiclass"),
        "jaccard": smp.losses.JaccardLoss("multiclass"),
        "focal": smp.losses.FocalLoss("multiclass"),
    }
    y = network(x)
    results |= {name: loss(y, target[:, 0]) for name, loss in losses.items()}
    results["dice"].backward()
    results["slope"] = network.segmentation_head[0].weight.grad
    counts = smp.metrics.get_stats(y.argmax(1), target[:, 0], mode="multiclass", num_classes=2)
    return results | {"score": smp.metrics.iou_score(*counts, reduction="micro")}
