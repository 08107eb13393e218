"""VGG. Source: K. Simonyan, A. Zisserman, "Very deep convolutional networks", 2015."""

from __future__ import annotations

from typing import Any

import ranvier.nn as nn
from ranvier.data.vision.models.base import constructor, initialize

__all__ = [
    "VGG", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19",
    "vgg19_bn",
]  # fmt: skip

# the channels of the 3x3 convolutions of each stage, each stage ended by a pool
STAGES = {
    11: "64 P 128 P 256 256 P 512 512 P 512 512 P",
    13: "64 64 P 128 128 P 256 256 P 512 512 P 512 512 P",
    16: "64 64 P 128 128 P 256 256 256 P 512 512 512 P 512 512 512 P",
    19: "64 64 P 128 128 P 256 256 256 256 P 512 512 512 512 P 512 512 512 512 P",
}


def make_layers(stages: str, batch_norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for stage in stages.split():
        if stage == "P":
            layers.append(nn.MaxPool2d(2, stride=2))
            continue
        layers.append(nn.Conv2d(channels, int(stage), 3, padding=1))
        channels = int(stage)
        layers += [nn.BatchNorm2d(channels)] if batch_norm else []
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


class VGG(nn.Module):
    """Convolutions `features` of images (n, 3, h, w), pooled to 7x7, and three linear layers."""

    def __init__(
        self, features: nn.Module, num_classes: int = 1000, init_weights: bool = True, dropout: float = 0.5
    ) -> None:
        super().__init__()
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        if init_weights:
            initialize(self, linear_std=0.01)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def _vgg(depth: int, batch_norm: bool, **options: Any) -> VGG:
    return VGG(make_layers(STAGES[depth], batch_norm), **options)


vgg11 = constructor("vgg11", _vgg, depth=11, batch_norm=False)
vgg13 = constructor("vgg13", _vgg, depth=13, batch_norm=False)
vgg16 = constructor("vgg16", _vgg, depth=16, batch_norm=False)
vgg19 = constructor("vgg19", _vgg, depth=19, batch_norm=False)
vgg11_bn = constructor("vgg11_bn", _vgg, depth=11, batch_norm=True)
vgg13_bn = constructor("vgg13_bn", _vgg, depth=13, batch_norm=True)
vgg16_bn = constructor("vgg16_bn", _vgg, depth=16, batch_norm=True)
vgg19_bn = constructor("vgg19_bn", _vgg, depth=19, batch_norm=True)
