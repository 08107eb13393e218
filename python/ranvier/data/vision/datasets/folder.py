"""The base class of image data sets; data sets of files in class folders, and of random images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ranvier.data import Dataset
from ranvier.data.datasets import images
from ranvier.tensors.memory import Array
from ranvier.tensors.reading import path_of

__all__ = ["DatasetFolder", "FakeData", "ImageFolder", "VisionDataset", "default_loader"]

Function = Callable[[Any], Any] | None


class StandardTransform:
    """The transforms of an image and of its label as one function of both."""

    def __init__(self, transform: Function = None, target_transform: Function = None) -> None:
        self.transform = transform
        self.target_transform = target_transform

    def __call__(self, input: Any, target: Any) -> tuple[Any, Any]:
        if self.transform is not None:
            input = self.transform(input)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return input, target

    def __repr__(self) -> str:
        lines = [type(self).__name__]
        for head, own in (("Transform: ", self.transform), ("Target transform: ", self.target_transform)):
            if own is not None:
                lines += (head + repr(own).replace("\n", "\n" + " " * len(head))).splitlines()
        return "\n".join(lines)


class VisionDataset(Dataset[Any]):
    """Images and labels: `transform` changes the image, `target_transform` the label, `transforms` both.

    Attributes: root and these three; `transforms` is a function of image and label in both cases.

    Raises ValueError: `transforms` besides one of the others.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        transforms: Callable[[Any, Any], Any] | None = None,
        transform: Function = None,
        target_transform: Function = None,
    ) -> None:
        own = transform is not None or target_transform is not None
        if transforms is not None and own:
            raise ValueError(f"[{type(self).__name__}] got transforms and transform; expected one")
        self.root = os.path.expanduser(root) if isinstance(root, str) else root
        self.transform = transform
        self.target_transform = target_transform
        self.transforms = StandardTransform(transform, target_transform) if own else transforms

    def changed(self, image: Any, target: Any) -> tuple[Any, Any]:
        """An item: image and label after the transforms; `__getitem__` of the subclasses calls it.

        `transform` and `target_transform` are read at each call, since a program may set them later: so a
        StandardTransform, which has those of `__init__`, is not called but made anew.
        """
        if not isinstance(self.transforms, StandardTransform | None):
            image, target = self.transforms(image, target)
        return StandardTransform(self.transform, self.target_transform)(image, target)

    def extra_repr(self) -> str:
        """More lines for the text of the data set."""
        return ""

    def __len__(self) -> int:
        raise NotImplementedError(f"[{type(self).__name__}] expected a __len__ method")

    def __repr__(self) -> str:
        body = [f"Number of datapoints: {len(self)}"]
        if self.root is not None:
            body.append(f"Root location: {self.root}")
        body += self.extra_repr().splitlines()
        if getattr(self, "transforms", None) is not None:
            body.append(repr(self.transforms))
        return "\n".join([f"Dataset {type(self).__name__}", *(f"    {line}" for line in body)])


def as_item(x: Array) -> Any:
    """Bytes (h, w) or (h, w, 3) as a PIL image; without pillow the array, for ToTensor."""
    try:
        from PIL import Image
    except ModuleNotFoundError:  # another error of an installed pillow is the program's to see
        return x
    return Image.fromarray(x)


IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def default_loader(path: str) -> Any:
    """A file as a PIL image of mode RGB, upright (torchvision's ignores the EXIF orientation), of 16 bits the
    upper 8. Raises ValueError, naming it, if it is broken."""
    return images.open_image("ImageFolder", path)


pil_loader = default_loader


def has_file_allowed_extension(filename: str, extensions: str | Iterable[str]) -> bool:
    """True if a name has one of the endings, in lower or upper case."""
    if isinstance(extensions, str):
        extensions = (extensions,)
    return filename.lower().endswith(tuple(extensions))


def is_image_file(filename: str) -> bool:
    """True if a file's name has one of the endings of images."""
    return has_file_allowed_extension(filename, IMG_EXTENSIONS)


def find_classes(directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
    """The names of the subfolders, sorted, and the number of each."""
    path_of("ImageFolder", "root", directory, "a folder")
    classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"[find_classes] '{directory}' has no subfolders; expected one per class")
    return classes, {name: number for number, name in enumerate(classes)}


def make_dataset(
    directory: str | os.PathLike[str],
    class_to_idx: dict[str, int] | None = None,
    extensions: str | Iterable[str] | None = None,
    is_valid_file: Callable[[str], bool] | None = None,
    allow_empty: bool = False,
) -> list[tuple[str, int]]:
    """The files (path, number of the class) of a folder; see DatasetFolder."""
    directory = os.path.expanduser(directory)
    if class_to_idx is None:
        numbers = find_classes(directory)[1]
    else:
        numbers = class_to_idx
    if (extensions is None) == (is_valid_file is None):
        raise ValueError("[make_dataset] expected extensions or is_valid_file, one of them")

    def is_sample(path: str) -> bool:
        if is_valid_file is not None:
            return is_valid_file(path)
        return extensions is not None and has_file_allowed_extension(path, extensions)

    samples = []
    for name in sorted(numbers):
        for folder, files in sorted(images.walk(os.path.join(directory, name))):
            paths = (os.path.join(folder, file) for file in files)
            samples += [(path, numbers[name]) for path in paths if is_sample(path)]
    used = {number for _, number in samples}
    empty = [name for name, number in numbers.items() if number not in used]
    if empty and not allow_empty:
        raise FileNotFoundError(
            f"[make_dataset] '{directory}' has no files for the classes {', '.join(empty)}; expected endings "
            f"{extensions}, or allow_empty=True"
        )
    return samples


class DatasetFolder(VisionDataset):
    """The files `root/class/.../name.ending` in order of their names: items are (loader(path), class number).

    Args:
        loader: a function of the path.
        extensions: endings of the files, or `is_valid_file`, a function of the path: one of them.
        allow_empty: classes without files are allowed.

    Attributes: classes, class_to_idx, samples (path, class number) with the second name imgs, targets.

    A subclass may choose the classes and the files by its own `find_classes` and `make_dataset`.

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
        self.loader = loader
        self.extensions = extensions
        self.classes, self.class_to_idx = self.find_classes(self.root)  # type: ignore[arg-type]
        how: Any = {"extensions": extensions, "is_valid_file": is_valid_file, "allow_empty": allow_empty}
        self.samples = self.make_dataset(self.root, class_to_idx=self.class_to_idx, **how)  # type: ignore[arg-type]
        self.imgs, self.targets = self.samples, [sample[1] for sample in self.samples]

    make_dataset = staticmethod(make_dataset)

    def find_classes(self, directory: str | os.PathLike[str]) -> tuple[list[str], dict[str, int]]:
        """The names of the subfolders, sorted, and the number of each."""
        return find_classes(directory)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
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
        self.size = size
        self.image_size = image_size
        self.num_classes = num_classes
        self.random_offset = random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if not 0 <= index < self.size:
            raise IndexError(f"[FakeData] got index {index} for {self.size} images")
        draw = np.random.default_rng([index + self.random_offset])
        levels = (draw.standard_normal(self.image_size, np.float32) * 255).astype(np.int64).astype(np.uint8)
        x = np.ascontiguousarray(levels.transpose(1, 2, 0))
        if x.shape[2] == 1:
            x = x[..., 0]
        item = as_item(x)
        return self.changed(item, int(draw.integers(self.num_classes)))

    def __len__(self) -> int:
        return self.size
