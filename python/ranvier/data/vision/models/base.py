"""What the constructors of the models share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ranvier.nn as nn

__all__ = ["constructor", "linear_normal"]


def constructor(name: str, make: Callable[..., nn.Module], **settings: Any) -> Callable[..., Any]:
    """The function `name(**kwargs)` that makes a model; weights that would be downloaded are refused."""

    def model(pretrained: Any = False, *, weights: Any = None, progress: bool = True, **kwargs: Any) -> Any:
        for argument, given in (("pretrained", pretrained), ("weights", weights), *_backbone(kwargs)):
            if given is not None and given is not False:
                raise ValueError(
                    f"[{name}] got {argument}={given!r}; expected none: no weights are downloaded. Save "
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


def _backbone(kwargs: dict[str, Any]) -> list[tuple[str, Any]]:
    return [("weights_backbone", kwargs.pop("weights_backbone", None))]


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
