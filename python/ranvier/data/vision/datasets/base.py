"""The base of the data sets: transforms, and the pixels of an image as an item."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ranvier.autograd.memory import Array
from ranvier.data import Dataset

__all__ = ["VisionDataset"]

Function = Callable[[Any], Any] | None


class VisionDataset(Dataset[Any]):
    """Images and labels: `transform` changes the image, `target_transform` the label, `transforms` both.

    Raises ValueError: `transforms` besides one of the others.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        transforms: Callable[[Any, Any], Any] | None = None,
        transform: Function = None,
        target_transform: Function = None,
    ) -> None:
        if transforms is not None and (transform is not None or target_transform is not None):
            raise ValueError(f"[{type(self).__name__}] got transforms and transform; expected one")
        self.root = os.path.expanduser(root) if isinstance(root, str) else root
        self.transforms, self.transform, self.target_transform = transforms, transform, target_transform

    def changed(self, image: Any, target: Any) -> tuple[Any, Any]:
        """What an item is: image and label after the transforms."""
        if self.transforms is not None:
            image, target = self.transforms(image, target)
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def __repr__(self) -> str:
        lines = [f"Dataset {type(self).__name__}", f"    Number of datapoints: {len(self)}"]
        lines += [f"    Root location: {self.root}"] if self.root is not None else []
        return "\n".join(lines)


def as_item(x: Array) -> Any:
    """Bytes (h, w) or (h, w, 3) as a PIL image; without pillow the array, for ToTensor."""
    try:
        from PIL import Image
    except ImportError:
        return x
    return Image.fromarray(x)


def require_md5(name: str, path: Path, md5: str) -> None:
    """Raises ValueError if the file has other content."""
    found = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    if found != md5:
        raise ValueError(
            f"[{name}] '{path}' has the md5 {found}; expected {md5}: it is damaged; "
            "remove it and use download=True"
        )
