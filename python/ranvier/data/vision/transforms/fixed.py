"""Transforms with nothing random."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier.data.vision.transforms.functional as F
import ranvier.nn as nn
from ranvier.data import Normalize as Normalization
from ranvier.data.vision.transforms.color import normalized
from ranvier.data.vision.transforms.geometry import pair_of, sides
from ranvier.data.vision.transforms.resize import InterpolationMode, mode_of, output_size

__all__ = [
    "CenterCrop",
    "ConvertImageDtype",
    "FiveCrop",
    "Grayscale",
    "Lambda",
    "Normalize",
    "PILToTensor",
    "Pad",
    "Resize",
    "ToPILImage",
    "ToTensor",
]


class Transform(nn.Module):
    """The base class: its text has the constructor's arguments. A call changes no array into a Tensor."""

    def __call__(self, img: Any) -> Any:
        return self.forward(img)

    def extra_repr(self) -> str:
        shown = {k: v for k, v in vars(self).items() if k[0] != "_" and k != "training"}
        return ", ".join(f"{k}={getattr(v, 'value', v)}" for k, v in shown.items())


class ToTensor(Transform):
    """`functional.to_tensor`: a PIL image or an array (h, w, c) as a float Tensor (c, h, w) in 0 ... 1."""

    def forward(self, pic: Any) -> Any:
        return F.to_tensor(pic)


class PILToTensor(Transform):
    """`functional.pil_to_tensor`: a PIL image as a Tensor (c, h, w) of its bytes."""

    def forward(self, pic: Any) -> Any:
        return F.pil_to_tensor(pic)


class ToPILImage(Transform):
    """`functional.to_pil_image`."""

    def __init__(self, mode: str | None = None) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, pic: Any) -> Any:
        return F.to_pil_image(pic, self.mode)


class ConvertImageDtype(Transform):
    """`functional.convert_image_dtype`."""

    def __init__(self, dtype: Any) -> None:
        super().__init__()
        self.dtype = np.dtype(dtype)

    def forward(self, image: Any) -> Any:
        return F.convert_image_dtype(image, self.dtype)


class Normalize(Transform):
    """(x - mean) / std for each channel of a float Tensor: `rv.data.Normalize` for one image."""

    def __init__(self, mean: Any, std: Any, inplace: bool = False) -> None:
        super().__init__()
        self._step = Normalization(mean, std)
        self.mean, self.std, self.inplace = mean, std, inplace

    def forward(self, tensor: Any) -> Any:
        return normalized(self._step, tensor, self.inplace)


class Resize(Transform):
    """`functional.resize`."""

    def __init__(
        self,
        size: Any,
        interpolation: Any = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        output_size(size, 1, 1, max_size)
        mode_of("Resize", interpolation)
        self.size, self.interpolation, self.max_size, self.antialias = (
            size,
            interpolation,
            max_size,
            antialias,
        )

    def forward(self, img: Any) -> Any:
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)


class CenterCrop(Transform):
    """`functional.center_crop`."""

    def __init__(self, size: Any) -> None:
        super().__init__()
        self.size = pair_of("CenterCrop", size)

    def forward(self, img: Any) -> Any:
        return F.center_crop(img, self.size)


class FiveCrop(Transform):
    """`functional.five_crop`: a tuple of five images."""

    def __init__(self, size: Any) -> None:
        super().__init__()
        self.size = pair_of("FiveCrop", size)

    def forward(self, img: Any) -> Any:
        return F.five_crop(img, self.size)


class Pad(Transform):
    """`functional.pad`."""

    def __init__(self, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> None:
        super().__init__()
        sides(padding)
        self.padding, self.fill, self.padding_mode = padding, fill, padding_mode

    def forward(self, img: Any) -> Any:
        return F.pad(img, self.padding, self.fill, self.padding_mode)


class Grayscale(Transform):
    """`functional.to_grayscale`."""

    def __init__(self, num_output_channels: int = 1) -> None:
        super().__init__()
        self.num_output_channels = num_output_channels

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
