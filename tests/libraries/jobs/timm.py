"""timm: networks by name, a training step, features, losses and its optimizers."""

import timm
import torch
from timm.data.mixup import Mixup
from timm.loss import SoftTargetCrossEntropy
from timm.optim import create_optimizer_v2
from torch import nn
from weights import fill, labels, normal


def job():
    """A step of training of each network, three of each optimizer."""
    images, answer = torch.from_numpy(normal(4, 3, 64, 64)), {}
    for name in ("test_byobnet", "test_convnext", "test_vit", "test_efficientnet"):
        settings = {"img_size": 64} if name == "test_vit" else {}
        model = fill(timm.create_model(name, num_classes=7, drop_path_rate=0.0, **settings))
        answer[name] = model.eval()(images)
        optimizer = create_optimizer_v2(model.train(), "adamw", lr=1e-3, weight_decay=0.05)
        mixed, targets = Mixup(mixup_alpha=0.8, num_classes=7)(images, torch.from_numpy(labels(4, classes=7)))
        loss = SoftTargetCrossEntropy()(model(mixed), targets)
        loss.backward()
        optimizer.step()
        answer[f"{name} loss"] = loss
    features = fill(timm.create_model("resnet10t", features_only=True)).eval()(images)
    answer |= {f"features {i}": values for i, values in enumerate(features)}
    for name in ("adan", "lamb", "lion", "madgradw", "nadamw", "adopt", "laprop", "mars", "rmsproptf"):
        layer = fill(nn.Linear(6, 3))
        optimizer = create_optimizer_v2(layer, name, lr=0.01)
        for i in range(3):
            optimizer.zero_grad()
            layer(torch.from_numpy(normal(5, 6, seed=i))).square().mean().backward()
            optimizer.step()
        answer[name] = layer.weight
    return answer
