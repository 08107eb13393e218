"""The networks that `ranvier train` knows by name, and the settings that suit them."""

from __future__ import annotations

from typing import Any

EPOCHS = {"digits": {"cnn": 40, "mlp": 40}, "mnist": {"cnn": 6, "mlp": 10}}
BATCH_SIZE = {"digits": 32, "mnist": 128}
LEARNING_RATE = {
    "adam": {"cnn": 3e-3, "mlp": 6e-3},
    "adamw": {"cnn": 3e-3, "mlp": 6e-3},
    "rmsprop": {"cnn": 1e-3, "mlp": 2e-3},
    "sgd": {"cnn": 0.05, "mlp": 0.05},
}
PIXEL_MAXIMUM = {"digits": 16, "mnist": 255}


def network(dataset: str, kind: str) -> Any:
    from ranvier import nn

    if kind == "mlp":
        pixels = 64 if dataset == "digits" else 784
        return nn.Sequential(
            nn.Flatten(), nn.Linear(pixels, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
        )
    if dataset == "digits":  # 8x8 pixels leave room for one pooling, 1,257 images need dropout
        convolutions = [nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU()]
        head = [nn.Linear(1024, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10)]
        return nn.Sequential(*convolutions, nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten(), *head)
    first = [nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10)]
    return nn.Sequential(*first, *second, nn.Flatten(), *head)


def make_optimizer(name: str, model: Any, lr: float) -> Any:
    from ranvier import optim

    if name == "sgd":
        return optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    kinds = {"adam": optim.Adam, "adamw": optim.AdamW, "rmsprop": optim.RMSprop}
    return kinds[name](model.parameters(), lr=lr)
