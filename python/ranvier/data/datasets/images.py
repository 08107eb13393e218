"""Images in folders, with a subfolder for each class."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ranvier.data.checks import pair
from ranvier.data.datasets.samples import PathLike, Samples, path_of, require_file
from ranvier.extension import optional
from ranvier.tensors.reading import open_file, shortened
from ranvier.tensors.sanitize import printable

__all__ = ["load_images", "read_image"]

ENDINGS = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
SPLITS = {"train", "training", "val", "valid", "validation", "test", "testing"}  # no names of classes
Image: TypeAlias = np.ndarray[Any, np.dtype[np.float32]]
Pixels: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]
Size = int | tuple[int, int] | None


class ImageError(OSError, ValueError):
    """A file that is broken or no image: an OSError, as pillow raises, and a ValueError, as of other data."""


def read_image(path: PathLike, size: Size = None, grayscale: bool = False) -> Image:
    """One image, float32 (c, h, w) in [0, 1]: 3 channels, or 1 with `grayscale`.

    It is turned as its EXIF orientation says, so that it is upright. Pixels of 16 bits are rounded down to 8,
    and transparency is left out. All readers of images do this.

    Args:
        path: a PNG, JPEG, BMP, GIF, TIFF, WebP, PPM, AVIF or JPEG 2000; of an animation, the first frame.
        size: height and width to scale it to (bilinear, with smoothing if it shrinks); by default unchanged.
        grayscale: one channel, the luma of ITU-R 601.

    Raises FileNotFoundError: no such file.
    Raises ImageError, a ValueError and an OSError: the file is broken, or not an image.
    Raises ImportError: pillow is not installed.
    """
    sizes = _sizes("read_image", size)
    return _channels_first(_pixels("read_image", require_file("read_image", path), sizes, grayscale))


def load_images(
    root: PathLike, size: Size = None, grayscale: bool = False, skip_broken: bool = False
) -> Samples:
    """All images of a folder with a subfolder for each class, `root/class name/any name.png`.

    Args:
        root: the folder; its subfolders are the classes, in alphabetical order.
        size: height and width to scale every image to; by default unchanged.
        grayscale: one channel instead of three.
        skip_broken: leave broken files out; `skipped` has their names.

    Returns:
        Samples: x float32 (n, c, h, w) in [0, 1], channels-last in memory; y int64 (n,); the names of the
        subfolders as class_names.

    Raises FileNotFoundError: no such folder.
    Raises ValueError: no subfolders with images; a broken file, or images of different sizes and no `size`;
        the message names the file.
    Raises ImportError: pillow is not installed.
    """
    sizes = _sizes("load_images", size)
    classes, files = _find(path_of("load_images", root), "load_images")
    x, kept, skipped = _read_all([path for path, _ in files], sizes, grayscale, skip_broken)
    labels = np.array([label for _, label in files], np.int64)[kept]
    for number, name in enumerate(classes):
        if number not in labels:
            raise ValueError(
                f"[load_images] all images of '{name}' in '{root}' are broken; expected one to read"
            )
    names = tuple(str(files[i][0]) for i in kept)
    return Samples(x, labels, tuple(classes), scale=255.0, skipped=skipped, files=names)


def load_unlabelled(
    root: PathLike, size: Size = None, grayscale: bool = False, skip_broken: bool = False
) -> Samples:
    """All images of a folder, without labels: `root/any name.png`; as `load_images`."""
    sizes = _sizes("load_images", size)
    files = sorted(path for path in Path(root).iterdir() if is_image(path))
    if not files:
        raise ValueError(f"[load_images] '{root}' has no images; expected files {', '.join(ENDINGS)}")
    x, kept, skipped = _read_all(files, sizes, grayscale, skip_broken)
    return Samples(x, None, scale=255.0, skipped=skipped, files=tuple(str(files[i]) for i in kept))


def _read_all(
    files: list[Path], sizes: tuple[int, int] | None, grayscale: bool, skip_broken: bool
) -> tuple[Image, list[int], tuple[str, ...]]:
    """(x, kept, skipped): the images, the numbers of their files, and the names of the broken files."""
    x: Pixels | None = None
    kept: list[int] = []
    skipped: list[str] = []
    for place, path in enumerate(files):
        try:
            pixels = _pixels("load_images", path, sizes, grayscale)
        except ValueError as error:
            if not skip_broken:
                raise ValueError(f"{error}; skip_broken=True (--skip-broken) leaves such files out") from None
            skipped.append(str(path))
            continue
        number = len(kept)
        if x is None:
            x = np.empty((len(files), *pixels.shape), np.uint8)
        if pixels.shape != x.shape[1:]:
            raise ValueError(
                f"[load_images] '{path}' has {pixels.shape[0]}x{pixels.shape[1]} pixels and the images "
                f"before it {x.shape[1]}x{x.shape[2]}; expected equal sizes, or size=(height, width) "
                "(--size HxW)"
            )
        x[number] = pixels
        kept.append(place)
    if x is None:
        raise ValueError(f"[load_images] all {len(files)} images are broken; expected one to read")
    return _channels_first(x[: len(kept)]), kept, tuple(skipped)


def _holds_image(folder: Path) -> bool:
    """True if an image lies in the folder itself, not only in a sub-folder of it."""
    return any(is_image(path) for path in folder.iterdir())


def _find(root: Path, name: str) -> tuple[list[str], list[tuple[Path, int]]]:
    """The names of the classes, which are those of the folders, and all images with their class."""
    if not root.is_dir():
        raise FileNotFoundError(f"[{name}] no folder '{root}'")
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    files: list[tuple[Path, int]] = []
    for number, folder in enumerate(folders):
        images = sorted(filter(is_image, _files_below(folder)))
        if not images:
            raise ValueError(f"[{name}] '{folder}' has no images; expected files {', '.join(ENDINGS)}")
        files += [(path, number) for path in images]
    names = [folder.name for folder in folders]
    no_direct_images = not any(_holds_image(folder) for folder in folders)
    if no_direct_images and len(names) > 1 and {n.lower() for n in names} <= SPLITS:
        raise ValueError(
            f"[{name}] '{root}' has the sub-folders {', '.join(names)}, which are no classes; expected a "
            f"folder with a sub-folder for each class, such as '{folders[0]}'"
        )
    if not files:
        raise ValueError(f"[{name}] '{root}' has no sub-folders; expected one with images for each class")
    return names, files


def walk(folder: PathLike, hidden: bool = True) -> Iterator[tuple[str, list[str]]]:
    """(folder, names of its files) of a folder and all below, through links to folders too, in order of their
    names.

    A folder that several links lead to is entered once, and none that lies above: links in a circle, or ten
    links to a folder with ten links to the next, would give more files than there are.

    hidden: whether hidden folders are entered, such as .ipynb_checkpoints.
    Raises OSError: a folder that may not be listed.
    """
    entered = {os.path.realpath(folder)}
    for base, folders, files in os.walk(folder, followlinks=True, onerror=_refused):
        above = os.path.realpath(base) + os.sep
        below = []
        for name in sorted(folders):
            place = os.path.realpath(os.path.join(base, name))
            is_new = place not in entered and not above.startswith(place + os.sep)
            if is_new and (hidden or name[0] != "."):
                entered.add(place)
                below.append(name)
        folders[:] = below
        yield base, sorted(files)


def _refused(error: OSError) -> None:
    raise error


def _files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder, none in hidden folders."""
    for base, names in walk(folder, hidden=False):
        yield from (Path(base, name) for name in names)


def is_image(path: Path) -> bool:
    return path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()


def pillow(name: str) -> Any:
    """The module PIL.Image."""
    return optional("PIL.Image", f"[{name}] images need pillow: pip install 'ranvier[images]'")


def _sizes(name: str, size: Size) -> tuple[int, int] | None:
    pillow(name)
    if size is None:
        return None
    return pair(name, "size", size)


def open_image(name: str, path: PathLike, grayscale: bool = False) -> Any:
    """A file as a PIL image of mode RGB, or L with `grayscale`: see `read_image`.

    Raises ImageError: the file is broken, or not an image; the message names it.
    """
    library = pillow(name)
    try:
        # Given a path, pillow 13 maps some TIFF files with sides exchanged by their orientation.
        with open_file(path, name) as file, library.open(file, formats=_formats(library)) as image:
            require_pixels(image.size, os.path.getsize(path))
            image.load()  # Pillow turns a TIFF image here itself, and removes its orientation.
            turn = _TURNS.get(_orientation(image))
            image.info.pop("transparency", None)  # convert() warns of it
            if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
                # convert() takes all values above 255 as 255
                image = library.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            elif image.mode in ("I", "F"):
                values = np.asarray(image)
                if not ((values >= 0) & (values <= 255) & (values == np.floor(values))).all():
                    raise ValueError("its pixels are not 0, 1 ... 255; expected 8 or 16 bits")
            mode = "L" if grayscale else "RGB"
            image = image.convert(mode)
            if turn is None:
                return image
            return image.transpose(turn)
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:  # pillow's parsers raise many types for broken files
        said = str(error) or type(error).__name__
        raise ImageError(shortened(printable(f"[{name}] '{path}' is broken or no image: {said}"))) from None


MOST_PIXELS = 2**25
"""A picture may always have so many pixels, and more if its file has a byte for each 200 of them."""


def require_pixels(size: tuple[int, int], length: int, frames: int = 1) -> None:
    """Raise ValueError for a picture of far more pixels than a file of so many bytes holds.

    frames: the number of pictures of an animation that are kept.
    """
    width, height = size
    if width * height * frames <= max(MOST_PIXELS, 200 * length):
        return
    if frames > 1:
        what = f"{frames} frames of {width}x{height}"
    else:
        what = f"{width}x{height}"
    raise ValueError(f"it has {what} pixels, far more than a file of its length holds")


# The formats that are read. Others are not: reading EPS, for one, runs a program.
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")


def _formats(library: Any) -> list[str]:
    library.init()
    return [name for name in _FORMATS if name in library.OPEN]


# pillow's numbers of the transpositions that put an image upright, by the orientation in its EXIF data
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}


def _orientation(image: Any) -> Any:
    """The orientation in the EXIF data of an image, 1 where there is none that can be read."""
    try:
        value = image.getexif().get(0x0112, 1)
        if isinstance(value, int):
            return value
        return 1
    except Exception:  # pillow's parser raises many types for broken EXIF data; the pixels are still right
        return 1


def _pixels(name: str, path: Path, sizes: tuple[int, int] | None, grayscale: bool) -> Pixels:
    image = open_image(name, path, grayscale)
    if sizes is not None and image.size != sizes[::-1]:
        image = image.resize(sizes[::-1], pillow(name).Resampling.BILINEAR)
    pixels = np.asarray(image, np.uint8)
    if grayscale:
        return pixels[..., None]
    return pixels


def _channels_first(pixels: Pixels) -> Image:
    values = pixels.astype(np.float32)
    values /= np.float32(255)
    return np.moveaxis(values, -1, -3)
