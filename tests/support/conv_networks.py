"""Convolutional networks drawn at random."""

import random

import ranvier as rv
from ranvier import nn

CLASSES = 4


def _pool(draw, one):
    size = draw.choice([2, 2, 2, 3, (1, 2) if not one else 2])
    kind = draw.choice(["plain", "plain", "plain", "stride", "padding", "ceil"])
    settings = {
        "plain": {},
        "stride": {"stride": draw.choice([1, 2])},
        "padding": {"padding": 0 if isinstance(size, tuple) else 1},
        "ceil": {"ceil_mode": True},
    }[kind]
    return (nn.MaxPool1d if one else nn.MaxPool2d)(size, **settings)


def network(seed: int):
    """(model, shape of one image): one or two stages and a linear layer. ValueError: too small an image."""
    draw = random.Random(seed)
    one = draw.random() < 0.15
    channels = draw.choice([1, 2, 3, 8, 16])
    shape = (
        (channels, draw.randint(20, 30)) if one else (channels, draw.randint(16, 22), draw.randint(16, 22))
    )
    layers: list[nn.Module] = []
    for _ in range(draw.randint(1, 2)):
        out = draw.choice([4, 6, 8, 16, 24])
        groups = draw.choice([1, 1, 1, 2]) if channels % 2 == 0 else 1
        layers.append(
            (nn.Conv1d if one else nn.Conv2d)(
                *(channels, out, draw.choice([1, 3, 3, 5])),
                stride=draw.choice([1, 1, 1, 2]),
                padding=draw.choice([0, 1, 2]),
                dilation=draw.choice([1, 1, 1, 2]),
                groups=groups,
                bias=draw.random() < 0.8,
            )
        )
        if draw.random() < 0.3:
            layers.append((nn.BatchNorm1d if one else nn.BatchNorm2d)(out))
        tail = [nn.ReLU(inplace=draw.random() < 0.3)] if draw.random() < 0.75 else []
        if draw.random() < 0.8:
            tail.insert(draw.choice([0, len(tail)]), _pool(draw, one))
        layers += tail
        if draw.random() < 0.2:
            layers.append(draw.choice([nn.Dropout(0.2), nn.Tanh(), nn.LeakyReLU()]))
        channels = out
    body = nn.Sequential(*layers, nn.Flatten())
    with rv.no_grad():
        features = body.eval()(rv.zeros(1, *shape)).shape[1]
    return body.append(nn.Linear(features, CLASSES)).train(), shape
