"""The base of the data sets; files in folders, with a subfolder for each class, and random images."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.autograd.memory import Array
from ranvier.data import Dataset
from ranvier.data.datasets import images
from ranvier.data.vision.images import pillow

__all__ = ["DatasetFolder", "FakeData", "ImageFolder", "VisionDataset", "default_loader"]

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

    def __len__(self) -> int:
        raise NotImplementedError(f"[{type(self).__name__}] expected a __len__ method")

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


IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def default_loader(path: str) -> Any:
    """A file as a PIL image of mode RGB, upright (torchvision's ignores the EXIF orientation), of 16 bits the
    upper 8. Raises ValueError, naming it, if it is broken."""
    pillow("ImageFolder")  # raises ImportError with the remedy
    return images.open_image("ImageFolder", path)


class DatasetFolder(VisionDataset):
    """The files `root/class/.../name.ending` in order of their names: items are (loader(path), class number).

    Args:
        loader: a function of the path.
        extensions: endings of the files, or `is_valid_file`, a function of the path: one of them.
        allow_empty: classes without files are allowed.

    Attributes: classes, class_to_idx, samples (path, class number) with the second name imgs, targets.

    Raises FileNotFoundError: no folder, no classes, or a class without files.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        loader: Callable[[str], Any],
        extensions: tuple[str, ...] | str | None = None,
        transform: Function = None,
        target_transform: Function = None,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        if (extensions is None) == (is_valid_file is None):
            raise ValueError("[DatasetFolder] expected extensions or is_valid_file, one of them")
        self.loader, self.extensions = loader, extensions
        ok = is_valid_file or (lambda path: path.lower().endswith(extensions or ()))
        self.classes, self.class_to_idx = self.find_classes(str(self.root))
        self.samples = [
            (path, number)
            for name, number in self.class_to_idx.items()
            for path in self._files(name)
            if ok(path)
        ]
        used = {number for _, number in self.samples}
        empty = [name for name, number in self.class_to_idx.items() if number not in used]
        if empty and not allow_empty:
            raise FileNotFoundError(
                f"[{type(self).__name__}] '{self.root}' has no files for the classes {', '.join(empty)}; "
                f"expected endings {extensions}"
            )
        self.imgs, self.targets = self.samples, [number for _, number in self.samples]

    def find_classes(self, directory: str) -> tuple[list[str], dict[str, int]]:
        """The names of the subfolders, sorted, and the number of each."""
        classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
        if not classes:
            raise FileNotFoundError(
                f"[{type(self).__name__}] '{directory}' has no subfolders; expected one per class"
            )
        return classes, {name: number for number, name in enumerate(classes)}

    def _files(self, name: str) -> list[str]:
        walk = sorted(os.walk(os.path.join(str(self.root), name), followlinks=True))
        return [os.path.join(folder, file) for folder, _, files in walk for file in sorted(files)]

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        path, target = self.samples[index]
        return self.changed(self.loader(path), target)

    def __len__(self) -> int:
        return len(self.samples)


class ImageFolder(DatasetFolder):
    """The images `root/class/name.png`: items are (PIL image, class number). See DatasetFolder."""

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Function = None,
        target_transform: Function = None,
        loader: Callable[[str], Any] = default_loader,
        is_valid_file: Callable[[str], bool] | None = None,
        allow_empty: bool = False,
    ) -> None:
        endings = IMG_EXTENSIONS if is_valid_file is None else None
        super().__init__(root, loader, endings, transform, target_transform, is_valid_file, allow_empty)


class FakeData(VisionDataset):
    """`size` images of normal noise with random classes, the same at each reading."""

    def __init__(
        self,
        size: int = 1000,
        image_size: tuple[int, int, int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Function = None,
        target_transform: Function = None,
        random_offset: int = 0,
    ) -> None:
        super().__init__(None, transform=transform, target_transform=target_transform)
        self.size, self.image_size = size, image_size
        self.num_classes, self.random_offset = num_classes, random_offset

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        if not 0 <= index < self.size:
            raise IndexError(f"[FakeData] got index {index} for {self.size} images")
        draw = np.random.default_rng([index + self.random_offset])
        levels = (draw.standard_normal(self.image_size, np.float32) * 255).astype(np.int64).astype(np.uint8)
        x = np.ascontiguousarray(levels.transpose(1, 2, 0))
        item = as_item(x[..., 0] if x.shape[2] == 1 else x)
        return self.changed(item, int(draw.integers(self.num_classes)))

    def __len__(self) -> int:
        return self.size
