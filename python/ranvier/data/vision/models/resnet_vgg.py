"""Residual networks and VGG.

Sources: K. He et al., "Deep residual learning for image recognition", 2016; ResNeXt: S. Xie et al., 2017;
wide: S. Zagoruyko, N. Komodakis, 2016; VGG: K. Simonyan, A. Zisserman, "Very deep convolutional networks",
2015.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import ranvier.nn as nn
from ranvier import Tensor

__all__ = [
    "VGG", "BasicBlock", "Bottleneck", "ResNet", "resnet18", "resnet34", "resnet50", "resnet101",
    "resnet152", "resnext50_32x4d", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19",
    "vgg19_bn", "wide_resnet50_2",
]  # fmt: skip


def constructor(name: str, make: Callable[..., nn.Module], **settings: Any) -> Callable[..., Any]:
    """The function `name(**kwargs)` that makes a model; weights that would be downloaded are refused."""

    def model(pretrained: Any = False, *, weights: Any = None, progress: bool = True, **kwargs: Any) -> Any:
        backbone = kwargs.pop("weights_backbone", None)
        refused = {"pretrained": pretrained, "weights": weights, "weights_backbone": backbone}
        for argument, value in refused.items():
            if value is not None and value is not False:
                raise ValueError(
                    f"[{name}] got {argument}={value!r}; expected none: no weights are downloaded. Save "
                    f"torchvision's with safetensors.torch.save_file({name}(...).state_dict(), path), then "
                    "model.load_state_dict(rv.load(path))"
                )
        return make(**{**settings, **kwargs})

    model.__name__ = model.__qualname__ = name
    model.__module__ = make.__module__
    model.__doc__ = (
        f"{name} with new weights; arguments as {getattr(make, '__name__', 'the class')}'s, parameters named "
        "as in torchvision. Raises ValueError for weights= or pretrained=."
    )
    return model


def initialize(module: nn.Module, linear_std: float | None = None) -> None:
    """Gives each Conv2d He's normal weights, with a deviation each Linear normal ones, and zero biases."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(part, nn.Linear) and linear_std is not None:
            nn.init.normal_(part.weight, 0, linear_std)
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)


Norm = Callable[[int], nn.Module]


def conv3x3(
    in_planes: int, out_planes: int, stride: int = 1, groups: int = 1, dilation: int = 1
) -> nn.Conv2d:
    return nn.Conv2d(in_planes, out_planes, 3, stride, dilation, dilation, groups, bias=False)


def conv1x1(in_planes: int, out_planes: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_planes, out_planes, 1, stride=stride, bias=False)


class Block(nn.Module):
    """relu(x + convolutions), which `_layers` makes."""

    _layers: Callable[..., None]

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        self._layers(inplanes, planes, stride, groups, base_width, dilation, norm_layer or nn.BatchNorm2d)
        self.downsample = downsample
        self.stride = stride


class BasicBlock(Block):
    """relu(x + two 3x3 convolutions)."""

    expansion = 1

    def _layers(
        self, inplanes: int, planes: int, stride: int, groups: int, base_width: int, dilation: int, norm: Norm
    ) -> None:
        if (groups, base_width, dilation) != (1, 64, 1):
            raise ValueError(
                f"[BasicBlock] got groups {groups}, base_width {base_width}, dilation {dilation}; "
                "expected 1, 64, 1"
            )
        self.conv1, self.bn1 = conv3x3(inplanes, planes, stride), norm(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2, self.bn2 = conv3x3(planes, planes), norm(planes)

    def forward(self, x: Tensor) -> Tensor:
        same = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + same)


class Bottleneck(Block):
    """relu(x + convolutions 1x1, 3x3 with the stride, 1x1)."""

    expansion = 4

    def _layers(
        self, inplanes: int, planes: int, stride: int, groups: int, base_width: int, dilation: int, norm: Norm
    ) -> None:
        width = int(planes * (base_width / 64.0)) * groups
        self.conv1, self.bn1 = conv1x1(inplanes, width), norm(width)
        self.conv2, self.bn2 = conv3x3(width, width, stride, groups, dilation), norm(width)
        self.conv3, self.bn3 = conv1x1(width, planes * self.expansion), norm(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        same = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + same)


class ResNet(nn.Module):
    """Four stages of `layers` residual blocks each, on images (n, 3, h, w); returns logits."""

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: Norm | None = None,
    ) -> None:
        super().__init__()
        self._norm_layer: Norm = norm_layer or nn.BatchNorm2d
        self.inplanes = 64
        self.dilation = 1
        self.groups = groups
        self.base_width = width_per_group
        dilate = replace_stride_with_dilation or (False, False, False)
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = self._norm_layer(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, 64, layers[0])
        self.layer2 = self._make_layer(block, 128, layers[1], 2, dilate[0])
        self.layer3 = self._make_layer(block, 256, layers[2], 2, dilate[1])
        self.layer4 = self._make_layer(block, 512, layers[3], 2, dilate[2])
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        initialize(self)
        if not zero_init_residual:
            return
        for part in self.modules():
            if isinstance(part, (BasicBlock, Bottleneck)):
                last: Any = part.bn3 if isinstance(part, Bottleneck) else part.bn2
                nn.init.zeros_(last.weight)

    def _make_layer(
        self,
        block: type[BasicBlock | Bottleneck],
        planes: int,
        blocks: int,
        stride: int = 1,
        dilate: bool = False,
    ) -> nn.Sequential:
        before = self.dilation
        norm = self._norm_layer
        downsample = None
        if dilate:
            self.dilation = self.dilation * stride
            stride = 1
        width = planes * block.expansion
        if stride != 1 or self.inplanes != width:
            downsample = nn.Sequential(conv1x1(self.inplanes, width, stride), norm(width))
        shared = self.groups, self.base_width
        first = block(self.inplanes, planes, stride, downsample, *shared, before, norm)
        self.inplanes = width
        rest = [block(width, planes, 1, None, *shared, self.dilation, norm) for _ in range(1, blocks)]
        return nn.Sequential(first, *rest)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.avgpool(x).flatten(1))


resnet18 = constructor("resnet18", ResNet, block=BasicBlock, layers=(2, 2, 2, 2))
resnet34 = constructor("resnet34", ResNet, block=BasicBlock, layers=(3, 4, 6, 3))
resnet50 = constructor("resnet50", ResNet, block=Bottleneck, layers=(3, 4, 6, 3))
resnet101 = constructor("resnet101", ResNet, block=Bottleneck, layers=(3, 4, 23, 3))
resnet152 = constructor("resnet152", ResNet, block=Bottleneck, layers=(3, 8, 36, 3))
resnext50_32x4d = constructor(
    "resnext50_32x4d", ResNet, block=Bottleneck, layers=(3, 4, 6, 3), groups=32, width_per_group=4
)
wide_resnet50_2 = constructor(
    "wide_resnet50_2", ResNet, block=Bottleneck, layers=(3, 4, 6, 3), width_per_group=128
)


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
        if batch_norm:
            layers.append(nn.BatchNorm2d(channels))
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

    def forward(self, x: Tensor) -> Tensor:
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
