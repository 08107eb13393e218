"""torchvision's compiled operators for image files, `torch.ops.image`, which use Pillow here.

`torch.ops.load_library` imports this file, whose end registers the operators. Files are tensors of uint8, and
images tensors (channels, height, width). Damaged bytes raise OpError, which is a RuntimeError.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier as rv
from ranvier import Tensor
from ranvier.data.datasets.images import require_pixels
from ranvier.serialization.files import replace
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import Array
from ranvier.tensors.reading import open_file, shortened
from ranvier.tensors.sanitize import printable
from ranvier.torch.operators.library import Library

if TYPE_CHECKING:
    from PIL.Image import Image

# A mode is a number of torchvision's ImageReadMode: UNCHANGED keeps the channels of the file, the others are
# these modes of Pillow (L is gray, A is transparency).
_UNCHANGED = 0
_PILLOW_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
# format -> the modes that it can be read in
_READABLE = {"JPEG": (0, 1, 3), "PNG": (0, 1, 2, 3, 4), "WEBP": (0, 3, 4), "GIF": (0, 3)}


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


def _bytes(name: str, data: Tensor) -> Array:
    """The bytes of a file that an operator was given. Raises OpError for other tensors."""
    if data.dtype != rv.uint8 or data.ndim != 1 or not data.numel():
        raise OpError(
            f"[{name}] got {data.dtype} of shape {data.shape}; expected uint8 of one dimension, not empty"
        )
    return data.numpy()


# In a PNG, the bits of a sample and the type of its colours (0: gray) are these bytes of the file.
_PNG_BIT_DEPTH = 24
_PNG_COLOUR_TYPE = 25


def _open(name: str, data: Tensor, formats: tuple[str, ...]) -> Image:
    """Pillow's image for the bytes of a file of one of the formats; its pixels are not read yet."""
    import PIL.Image

    content = _bytes(name, data).tobytes()
    with _damage(name, f"the bytes of {' or '.join(formats)}"):
        image = PIL.Image.open(io.BytesIO(content), formats=formats)
    if image.format == "PNG" and content[_PNG_BIT_DEPTH] == 16 and content[_PNG_COLOUR_TYPE]:
        raise OpError(
            f"[{name}] got a PNG of colours of 16 bits; expected 8, or gray: Pillow reads no others"
        )
    return image


def _decode(
    name: str,
    data: Tensor,
    mode: int = _UNCHANGED,
    orient: bool = False,
    formats: tuple[str, ...] = tuple(_READABLE),
) -> Tensor:
    """The pixels (channels, height, width) in a mode. Raises OpError for bytes that are no image.

    orient: turn the image as its EXIF data say.
    formats: those that the operator name reads.
    """
    import PIL.ImageOps

    image: Image = _open(name, data, formats)
    file_format = str(image.format)
    if mode not in _READABLE[file_format]:
        raise OpError(
            f"[{name}] got mode {mode}; The provided mode is not supported for {image.format} files"
        )
    file_bytes = data.numel()
    if file_format == "GIF":
        return _decode_frames(name, image, file_bytes)
    _require_pixels(name, image.size, file_bytes)
    pillow_mode = _PILLOW_MODES.get(mode)
    if file_format == "JPEG" and pillow_mode == "L":
        image.draft("L", image.size)  # the brightness that is stored
    with _damage(name):
        image.load()
    if orient:
        image = PIL.ImageOps.exif_transpose(image)
    if image.mode == "1":
        image = image.convert("L")
    if image.mode.startswith("I"):  # gray of 16 bits
        pixels = _stack_channels(np.asarray(image).astype(np.uint16), mode)
    else:
        if pillow_mode is not None and image.mode != pillow_mode:
            if image.mode == "P":
                image = image.convert("RGBA")  # the colours of the palette
            image = image.convert(pillow_mode)
        pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    return rv.from_numpy(np.array(pixels)).permute(2, 0, 1)


def _stack_channels(gray: Array, mode: int) -> Array:
    """Pixels (height, width, channels) in a mode, of gray ones of 16 bits; transparency is the maximum."""
    pillow_mode = _PILLOW_MODES.get(mode, "L")
    if pillow_mode.startswith("RGB"):
        channels = [gray, gray, gray]
    else:
        channels = [gray]
    if pillow_mode.endswith("A"):
        channels.append(np.full_like(gray, np.iinfo(np.uint16).max))
    return np.stack(channels, -1)


def _decode_frames(name: str, image: Any, file_bytes: int) -> Tensor:
    """The images of a GIF as they are shown: (n, 3, height, width), or (3, height, width) of one."""
    _require_pixels(name, image.size, file_bytes)  # before a frame is looked for
    with _damage(name):
        count = image.n_frames
    _require_pixels(name, image.size, file_bytes, count)
    width, height = image.size
    frames = np.empty((count, height, width, 3), np.uint8)
    for number in range(count):
        with _damage(name):
            image.seek(number)
            frames[number] = np.asarray(image.convert("RGB"))
    images = rv.from_numpy(frames).permute(0, 3, 1, 2)
    if count == 1:
        return images[0]
    return images


def _require_pixels(name: str, size: tuple[int, int], file_bytes: int, frames: int = 1) -> None:
    """Raise OpError for far more pixels than a file of so many bytes holds."""
    try:
        require_pixels(size, file_bytes, frames)
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
    return _decode("decode_image", data, mode, apply_exif_orientation)


def decode_jpeg(data: Tensor, mode: int, apply_exif_orientation: bool = False) -> Tensor:
    return _decode("decode_jpeg", data, mode, apply_exif_orientation, formats=("JPEG",))


def decode_png(data: Tensor, mode: int, apply_exif_orientation: bool = False) -> Tensor:
    return _decode("decode_png", data, mode, apply_exif_orientation, formats=("PNG",))


def decode_webp(encoded_data: Tensor, mode: int) -> Tensor:
    return _decode("decode_webp", encoded_data, mode, formats=("WEBP",))


def decode_gif(encoded_data: Tensor) -> Tensor:
    return _decode("decode_gif", encoded_data, formats=("GIF",))


def _encode(name: str, data: Tensor, **settings: Any) -> Tensor:
    """The bytes of an image file of a tensor (c, h, w), as a tensor. settings: those of Pillow's `save`."""
    import PIL.Image

    if data.dtype != rv.uint8:
        raise DtypeError(f"[{name}] got {data.dtype}; Input tensor dtype should be uint8")
    if data.ndim != 3:
        raise OpError(f"[{name}] got shape {data.shape}; Input data should be a 3-dimensional tensor")
    if data.shape[0] not in (1, 3):
        raise OpError(f"[{name}] got {data.shape[0]}; The number of channels should be 1 or 3")
    pixels = np.ascontiguousarray(data.permute(1, 2, 0).numpy())
    if pixels.shape[2] == 1:
        pixels = pixels[..., 0]  # Pillow's gray images have two dimensions
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, **settings)
    return rv.from_numpy(np.frombuffer(file.getvalue(), np.uint8).copy())


def encode_jpeg(data: Tensor, quality: int) -> Tensor:
    return _encode("encode_jpeg", data, format="JPEG", quality=quality)


def encode_png(data: Tensor, compression_level: int) -> Tensor:
    if not 0 <= compression_level <= 9:
        raise OpError(f"[encode_png] got {compression_level}; Compression level should be between 0 and 9")
    return _encode("encode_png", data, format="PNG", compress_level=compression_level)


_KERNELS: dict[str, Callable[..., Any]] = {  # schema -> the function of the operator
    "read_file(str filename) -> Tensor": read_file,
    "write_file(str filename, Tensor data) -> ()": write_file,
    "decode_image(Tensor data, int mode, bool apply_exif_orientation=False) -> Tensor": decode_image,
    "decode_jpeg(Tensor data, int mode, bool apply_exif_orientation=False) -> Tensor": decode_jpeg,
    "decode_png(Tensor data, int mode, bool apply_exif_orientation=False) -> Tensor": decode_png,
    "decode_webp(Tensor encoded_data, int mode) -> Tensor": decode_webp,
    "decode_gif(Tensor encoded_data) -> Tensor": decode_gif,
    "encode_jpeg(Tensor data, int quality) -> Tensor": encode_jpeg,
    "encode_png(Tensor data, int compression_level) -> Tensor": encode_png,
}
_library = Library("image", "DEF")
for _schema, _kernel in _KERNELS.items():
    _library.impl(_library.define(_schema), _kernel)
