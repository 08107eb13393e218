"""What the constructors of the models share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ranvier.nn as nn

__all__ = ["constructor", "initialize"]


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
    """He's normal weights for each Conv2d, with a deviation normal ones for each Linear, and zero biases."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(part, nn.Linear) and linear_std is not None:
            nn.init.normal_(part.weight, 0, linear_std)
        else:
            continue
        if part.bias is not None:
            nn.init.zeros_(part.bias)
