"""Networks for small machines: MobileNetV2 and SqueezeNet.

Source: M. Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018; F. Iandola et al.,
"SqueezeNet", 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ranvier.nn as nn
from ranvier.data.vision.models.base import constructor, conv_kaiming, linear_normal
from ranvier.ops import cat

__all__ = ["MobileNetV2", "SqueezeNet", "mobilenet_v2", "squeezenet1_0", "squeezenet1_1"]

Norm = Callable[[int], nn.Module]


def _conv(norm: Norm, c: int, k: int, size: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(c, k, size, stride=stride, padding=(size - 1) // 2, groups=groups, bias=False)
    return nn.Sequential(conv, norm(k), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """1x1 to `expand_ratio` times the channels, 3x3 for each channel, 1x1 back; plus x where shapes agree."""

    def __init__(
        self, inp: int, oup: int, stride: int, expand_ratio: float, norm_layer: Norm | None = None
    ) -> None:
        super().__init__()
        norm = norm_layer or nn.BatchNorm2d
        hidden = round(inp * expand_ratio)
        self.use_res_connect = stride == 1 and inp == oup
        layers: list[nn.Module] = [] if expand_ratio == 1 else [_conv(norm, inp, hidden, 1)]
        layers += [
            _conv(norm, hidden, hidden, 3, stride, hidden),
            nn.Conv2d(hidden, oup, 1, bias=False),
            norm(oup),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Any) -> Any:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


def _divisible(v: float, by: int) -> int:
    """The closest multiple, at least `by` and at least nine tenths of v."""
    new = max(by, int(v + by / 2) // by * by)
    return new + by if new < 0.9 * v else new


# expansion, channels, blocks, stride of the first
INVERTED = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(nn.Module):
    """Inverted residuals on images (n, 3, h, w); `width_mult` scales the channels. Returns logits."""

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        inverted_residual_setting: Any = None,
        round_nearest: int = 8,
        norm_layer: Norm | None = None,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        norm = norm_layer or nn.BatchNorm2d
        channels = _divisible(32 * width_mult, round_nearest)
        self.last_channel = _divisible(1280 * max(1.0, width_mult), round_nearest)
        features: list[nn.Module] = [_conv(norm, 3, channels, stride=2)]
        for t, c, n, s in INVERTED if inverted_residual_setting is None else inverted_residual_setting:
            width = _divisible(c * width_mult, round_nearest)
            for i in range(n):
                features.append(InvertedResidual(channels, width, s if i == 0 else 1, t, norm))
                channels = width
        features.append(_conv(norm, channels, self.last_channel, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.last_channel, num_classes))
        conv_kaiming(self)
        linear_normal(self)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x).mean((2, 3)))


class Fire(nn.Module):
    """1x1 to few channels, then 1x1 and 3x3 side by side."""

    def __init__(
        self, inplanes: int, squeeze_planes: int, expand1x1_planes: int, expand3x3_planes: int
    ) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inplanes, squeeze_planes, 1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze_planes, expand1x1_planes, 1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze_planes, expand3x3_planes, 3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Any) -> Any:
        x = self.squeeze_activation(self.squeeze(x))
        return cat(
            [self.expand1x1_activation(self.expand1x1(x)), self.expand3x3_activation(self.expand3x3(x))], 1
        )


# the first convolution, then "P" for a pool, or the squeezed and expanded channels of a Fire
SQUEEZE = {
    "1_0": ((96, 7), "P 16,64 16,64 32,128 P 32,128 48,192 48,192 64,256 P 64,256"),
    "1_1": ((64, 3), "P 16,64 16,64 P 32,128 32,128 P 48,192 48,192 64,256 64,256"),
}


class SqueezeNet(nn.Module):
    """Fire modules on images (n, 3, h, w); returns logits. `version` is "1_0" or "1_1"."""

    def __init__(self, version: str = "1_0", num_classes: int = 1000, dropout: float = 0.5) -> None:
        super().__init__()
        if version not in SQUEEZE:
            raise ValueError(f"[SqueezeNet] got version {version!r}; expected one of {', '.join(SQUEEZE)}")
        self.num_classes = num_classes
        (channels, size), stages = SQUEEZE[version]
        layers: list[nn.Module] = [nn.Conv2d(3, channels, size, stride=2), nn.ReLU(inplace=True)]
        for stage in stages.split():
            if stage == "P":
                layers.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
                continue
            squeezed, expanded = map(int, stage.split(","))
            layers.append(Fire(channels, squeezed, expanded, expanded))
            channels = 2 * expanded
        self.features = nn.Sequential(*layers)
        last = nn.Conv2d(512, num_classes, 1)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout), last, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((1, 1))
        )
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_uniform_(part.weight)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)
        nn.init.normal_(last.weight, 0.0, 0.01)

    def forward(self, x: Any) -> Any:
        return self.classifier(self.features(x)).flatten(1)


mobilenet_v2 = constructor("mobilenet_v2", MobileNetV2)
squeezenet1_0 = constructor("squeezenet1_0", SqueezeNet, version="1_0")
squeezenet1_1 = constructor("squeezenet1_1", SqueezeNet, version="1_1")
