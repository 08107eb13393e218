"""Convolutional networks drawn at random, and the weights that they have after some steps."""

import random

import numpy as np
import ranvier as rv
from ranvier import nn
from support.training import training

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


def trained(seed: int, compiled: bool, dtype=np.float32, steps: int = 5) -> dict[str, bytes]:
    """What a network's state and losses are after some steps on images drawn by the seed."""
    rv.manual_seed(seed)
    model, shape = network(seed)
    rng = np.random.default_rng(seed)
    model.to(dtype)
    optimizer = rv.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    step = training(model, optimizer)
    run = rv.compile(step) if compiled else step
    losses = []
    for n in [3, 3, 3, 5, 3, 5, 5, 3][:steps]:
        x = rv.tensor(rng.standard_normal((n, *shape)).astype(dtype))
        losses.append(run(x, rv.tensor(rng.integers(0, CLASSES, n))).item())
    state = {name: value.detach().numpy().tobytes() for name, value in model.state_dict().items()}
    return state | {"losses": np.array(losses).tobytes()}
