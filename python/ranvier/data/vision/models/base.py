"""What the constructors of the models share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ranvier.nn as nn

__all__ = ["constructor", "linear_normal"]


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


def linear_normal(module: nn.Module, std: float = 0.01) -> None:
    """Normal weights and zero biases for each Linear."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, 0, std)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def conv_kaiming(module: nn.Module, mode: str = "fan_out") -> None:
    """He's normal weights and zero biases for each Conv2d."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode=mode, nonlinearity="relu")
            if part.bias is not None:
                nn.init.zeros_(part.bias)
