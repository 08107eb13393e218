"""torchvision's compiled operators for image files, `torch.ops.image`, which use Pillow here."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import ranvier as rv
from ranvier import Tensor
from ranvier.data.datasets.images import require_pixels
from ranvier.serialization.files import replace
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.reading import open_file, shortened
from ranvier.tensors.sanitize import printable
from ranvier.torch.operators.library import Library

# torchvision's numbers of ImageReadMode: 0 keeps the channels of the file; the others are Pillow's modes by
# number.
_KEPT = 0
_MODES = ("", "L", "LA", "RGB", "RGBA")
# format -> the modes that it can be read in
_TAKES = {"JPEG": (0, 1, 3), "PNG": (0, 1, 2, 3, 4), "WEBP": (0, 3, 4), "GIF": (0, 3)}


def read_file(filename: str) -> Tensor:
    """The bytes of a file. Raises RuntimeError if there is none."""
    try:
        with open_file(filename, "read_file") as stream:
            return rv.from_numpy(np.fromfile(stream, np.uint8))
    except (OSError, ValueError) as error:
        text = str(error).removeprefix("[read_file] ")
        raise OpError(f"[read_file] {text}") from None


def write_file(filename: str, data: Tensor) -> None:
    """Writes bytes."""
    replace(filename, _bytes("write_file", data).tobytes())


def _bytes(name: str, data: Tensor) -> Any:
    if data.dtype != rv.uint8 or data.ndim != 1 or not data.numel():
        raise OpError(
            f"[{name}] got {data.dtype} of shape {data.shape}; expected uint8 of one dimension, not empty"
        )
    return data.numpy()


def _opened(name: str, data: Tensor, formats: tuple[str, ...]) -> Any:
    import PIL.Image

    content = _bytes(name, data).tobytes()
    with _damage(name, f"the bytes of {' or '.join(formats)}"):
        image = PIL.Image.open(io.BytesIO(content), formats=formats)
    if image.format == "PNG" and content[24] == 16 and content[25]:
        raise OpError(
            f"[{name}] got a PNG of colours of 16 bits; expected 8, or gray: Pillow reads no others"
        )
    return image


def _decoded(name: str, data: Tensor, mode: int = _KEPT, orient: bool = False, *formats: str) -> Tensor:
    """The pixels (channels, height, width) in a mode. Raises RuntimeError for bytes that are no image."""
    import PIL.ImageOps

    image = _opened(name, data, formats or tuple(_TAKES))
    if mode not in _TAKES[image.format]:
        raise OpError(
            f"[{name}] got mode {mode}; The provided mode is not supported for {image.format} files"
        )
    length = data.numel()
    if image.format == "GIF":
        return _frames(name, image, length)
    _require_pixels(name, image.size, length)
    if image.format == "JPEG" and _MODES[mode] == "L":
        image.draft("L", image.size)  # the brightness that is stored
    with _damage(name):
        image.load()
    if orient:
        image = PIL.ImageOps.exif_transpose(image)
    if image.mode == "1":
        image = image.convert("L")
    if mode != _KEPT and image.mode != _MODES[mode] and not image.mode.startswith("I"):
        if image.mode == "P":
            image = image.convert("RGBA")
        image = image.convert(_MODES[mode])
    pixels = np.asarray(image)
    if image.mode.startswith("I"):
        pixels = _wide(pixels.astype(np.uint16), mode)
    return rv.from_numpy(np.array(pixels if pixels.ndim == 3 else pixels[..., None])).permute(2, 0, 1)


def _wide(gray: Any, mode: int) -> Any:
    """Gray pixels of 16 bits with the channels of a mode."""
    channels = [gray] * (3 if _MODES[mode][:1] == "R" else 1)
    return np.stack(channels + [np.full_like(gray, 65535)] * _MODES[mode].endswith("A"), -1)


def _frames(name: str, image: Any, length: int) -> Tensor:
    """The images of a GIF as they are shown: one, or (n, 3, h, w). length: the bytes of the file."""
    _require_pixels(name, image.size, length)  # before a frame is looked for
    with _damage(name):
        count = image.n_frames
    _require_pixels(name, image.size, length, count)
    width, height = image.size
    frames = np.empty((count, height, width, 3), np.uint8)
    for number in range(count):
        with _damage(name):
            image.seek(number)
            frames[number] = np.asarray(image.convert("RGB"))
    shown = rv.from_numpy(frames).permute(0, 3, 1, 2)
    if count == 1:
        return shown[0]
    return shown


def _require_pixels(name: str, size: tuple[int, int], length: int, frames: int = 1) -> None:
    """Raise OpError for far more pixels than a file of so many bytes holds."""
    try:
        require_pixels(size, length, frames)
    except ValueError as error:
        raise OpError(f"[{name}] got a picture that is refused: {error}") from None


@contextmanager
def _damage(name: str, expected: str = "those of a whole picture") -> Iterator[None]:
    """A block of Pillow's parsers, which raise many types for damaged bytes: all become OpErrors."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        said = str(error) or type(error).__name__
        text = f"[{name}] got bytes that cannot be read: {said}; expected {expected}"
        raise OpError(shortened(printable(text))) from None


def decode_image(data: Tensor, mode: int, apply_exif_orientation: bool = False) -> Tensor:
    """The pixels of a JPEG, PNG, GIF or WebP file."""
    return _decoded("decode_image", data, mode, apply_exif_orientation)


def _decoder(format: str) -> Any:
    return lambda data, mode, orient=False: _decoded(f"decode_{format.lower()}", data, mode, orient, format)


decode_jpeg, decode_png, decode_webp = map(_decoder, ("JPEG", "PNG", "WEBP"))


def decode_gif(data: Tensor) -> Tensor:
    return _decoded("decode_gif", data, _KEPT, False, "GIF")


def _encoded(name: str, data: Tensor, **settings: Any) -> Tensor:
    """The bytes of an image file of a tensor (c, h, w), as a tensor."""
    import PIL.Image

    if data.dtype != rv.uint8:
        raise DtypeError(f"[{name}] got {data.dtype}; Input tensor dtype should be uint8")
    if data.ndim != 3:
        raise OpError(f"[{name}] got shape {data.shape}; Input data should be a 3-dimensional tensor")
    if data.shape[0] not in (1, 3):
        raise OpError(f"[{name}] got {data.shape[0]}; The number of channels should be 1 or 3")
    pixels = np.ascontiguousarray(data.permute(1, 2, 0).numpy())
    file = io.BytesIO()
    PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).save(file, **settings)
    return rv.from_numpy(np.frombuffer(file.getvalue(), np.uint8).copy())


def encode_jpeg(data: Tensor, quality: int) -> Tensor:
    return _encoded("encode_jpeg", data, format="JPEG", quality=quality)


def encode_png(data: Tensor, compression_level: int) -> Tensor:
    if not 0 <= compression_level <= 9:
        raise OpError(f"[encode_png] got {compression_level}; Compression level should be between 0 and 9")
    return _encoded("encode_png", data, format="PNG", compress_level=compression_level)


_library = Library("image", "DEF")
for _schema in (
    "read_file(str filename) -> Tensor",
    "write_file(str filename, Tensor data) -> ()",
    "decode_image(Tensor data, int mode, bool apply_exif_orientation=False) -> Tensor",
    "decode_jpeg(Tensor data, int mode, bool apply_exif_orientation=False) -> Tensor",
    "decode_png(Tensor data, int mode, bool apply_exif_orientation=False) -> Tensor",
    "decode_webp(Tensor encoded_data, int mode) -> Tensor",
    "decode_gif(Tensor encoded_data) -> Tensor",
    "encode_jpeg(Tensor data, int quality) -> Tensor",
    "encode_png(Tensor data, int compression_level) -> Tensor",
):
    _name = _library.define(_schema)[len("image::") :]
    _library.impl(_name, globals()[_name])
