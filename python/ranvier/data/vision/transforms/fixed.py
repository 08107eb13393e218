"""Transforms with nothing random."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import ranvier.data.vision.transforms.functional as F
import ranvier.nn as nn
from ranvier.data import Normalize as Normalization
from ranvier.data.vision.images import InterpolationMode, mode_of, output_size
from ranvier.data.vision.transforms.functional import normalized
from ranvier.data.vision.transforms.geometry import pair_of, sides

__all__ = [
    "CenterCrop", "Grayscale", "Lambda", "Normalize", "PILToTensor", "Pad", "Resize", "ToPILImage",
    "ToTensor",
]  # fmt: skip


Self = TypeVar("Self", bound="Transform")


class Transform(nn.Module):
    """The base class: its text has the constructor's arguments. A call changes no array into a Tensor.

    Subclasses may be dataclasses, whose fields are the constructor's arguments.
    """

    def __new__(cls: type[Self], *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        nn.Module.__init__(self)  # a dataclass assigns attributes at once
        return self

    def __call__(self, img: Any) -> Any:
        return self.forward(img)

    def extra_repr(self) -> str:
        shown = {k: v for k, v in vars(self).items() if k[0] != "_" and k != "training"}
        return ", ".join(f"{k}={getattr(v, 'value', v)}" for k, v in shown.items())


@dataclass(eq=False, repr=False)
class ToTensor(Transform):
    """`functional.to_tensor`: a PIL image or an array (h, w, c) as a float Tensor (c, h, w) in 0 ... 1."""

    def forward(self, pic: Any) -> Any:
        return F.to_tensor(pic)


@dataclass(eq=False, repr=False)
class PILToTensor(Transform):
    """`functional.pil_to_tensor`: a PIL image as a Tensor (c, h, w) of its bytes."""

    def forward(self, pic: Any) -> Any:
        return F.pil_to_tensor(pic)


@dataclass(eq=False, repr=False)
class ToPILImage(Transform):
    """`functional.to_pil_image`."""

    mode: str | None = None

    def forward(self, pic: Any) -> Any:
        return F.to_pil_image(pic, self.mode)


class Normalize(Transform):
    """(x - mean) / std for each channel of a float Tensor: `rv.data.Normalize` for one image."""

    def __init__(self, mean: Any, std: Any, inplace: bool = False) -> None:
        super().__init__()
        self._step = Normalization(mean, std)
        self.mean, self.std, self.inplace = mean, std, inplace

    def forward(self, tensor: Any) -> Any:
        return normalized(self._step, tensor, self.inplace)


@dataclass(eq=False, repr=False)
class Resize(Transform):
    """`functional.resize`."""

    size: Any
    interpolation: Any = InterpolationMode.BILINEAR
    max_size: int | None = None
    antialias: bool | None = True

    def __post_init__(self) -> None:
        output_size(self.size, 1, 1, self.max_size)
        mode_of("Resize", self.interpolation)

    def forward(self, img: Any) -> Any:
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)


class CenterCrop(Transform):
    """`functional.center_crop`."""

    def __init__(self, size: Any) -> None:
        super().__init__()
        self.size = pair_of("CenterCrop", size)

    def forward(self, img: Any) -> Any:
        return F.center_crop(img, self.size)


@dataclass(eq=False, repr=False)
class Pad(Transform):
    """`functional.pad`."""

    padding: Any
    fill: Any = 0
    padding_mode: str = "constant"

    def __post_init__(self) -> None:
        sides(self.padding)

    def forward(self, img: Any) -> Any:
        return F.pad(img, self.padding, self.fill, self.padding_mode)


@dataclass(eq=False, repr=False)
class Grayscale(Transform):
    """`functional.to_grayscale`."""

    num_output_channels: int = 1

    def forward(self, img: Any) -> Any:
        return F.to_grayscale(img, self.num_output_channels)


class Lambda(Transform):
    """A function as a transform."""

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        super().__init__()
        if not callable(lambd):
            raise TypeError(f"[Lambda] got {type(lambd).__name__}; expected a function")
        self.lambd = lambd

    def forward(self, img: Any) -> Any:
        return self.lambd(img)
