"""torchvision's operators for image files, beside Pillow."""

import io
import struct
import zlib

import numpy as np
import pytest
import ranvier as rv
from ranvier.torch.operators import image_ops
from ranvier.torch.operators.torch_ops import ops
from support.refused import refused

Image = pytest.importorskip("PIL.Image")
MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}


def picture(rng, mode, size=(7, 5)):
    bands = len(Image.new(mode, (1, 1)).getbands())
    pixels = rng.integers(0, 256, (size[1], size[0], bands)).astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if bands == 1 else pixels, mode)


def encoded(image, **settings):
    file = io.BytesIO()
    image.save(file, **settings)
    return rv.from_numpy(np.frombuffer(file.getvalue(), np.uint8).copy())


def channels(image):
    pixels = np.asarray(image)
    return (pixels[..., None] if pixels.ndim == 2 else pixels).transpose(2, 0, 1)


@pytest.mark.parametrize("stored", MODES)
@pytest.mark.parametrize("wanted", [None, *MODES])
def test_png_in_every_mode(wanted, stored, rng):
    image = picture(rng, stored)
    data, channel_mode = encoded(image, format="PNG"), MODES.get(wanted, 0)
    found = ops.image.decode_png(data, channel_mode)
    np.testing.assert_array_equal(found.numpy(), channels(image.convert(wanted) if wanted else image))
    assert ops.image.decode_image(data, channel_mode).tolist() == found.tolist()


def test_png_of_sixteen_bits_one_bit_and_a_palette(rng):
    wide = rng.integers(0, 65536, (3, 4)).astype(np.uint16)
    data = encoded(Image.fromarray(wide), format="PNG")
    assert image_ops.decode_png(data, 0).tolist() == [wide.tolist()]
    assert image_ops.decode_png(data, 4)[2:].tolist() == [wide.tolist(), np.full_like(wide, 65535).tolist()]
    assert image_ops.decode_png(encoded(Image.new("1", (2, 1), 1), format="PNG"), 0).tolist() == [
        [[255, 255]]
    ]
    colours = picture(rng, "RGB").quantize(4)
    found = image_ops.decode_png(encoded(colours, format="PNG"), 3)
    np.testing.assert_array_equal(found.numpy(), channels(colours.convert("RGB")))


@pytest.mark.parametrize("stored", ["L", "RGB"])
def test_jpeg(stored, rng):
    data = encoded(picture(rng, stored, (20, 12)), format="JPEG")
    image = Image.open(io.BytesIO(data.numpy().tobytes()))
    np.testing.assert_array_equal(ops.image.decode_jpeg(data, 0).numpy(), channels(image))
    np.testing.assert_array_equal(ops.image.decode_jpeg(data, 3).numpy(), channels(image.convert("RGB")))
    gray = Image.open(io.BytesIO(data.numpy().tobytes()))
    gray.draft("L", gray.size)  # what is stored, not what colours give
    np.testing.assert_array_equal(ops.image.decode_jpeg(data, 1).numpy(), channels(gray.convert("L")))
    refused(RuntimeError, "mode is not supported for JPEG", image_ops.decode_jpeg, data, 4)


@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_orientation(kind, number, rng):
    exif = Image.Exif()
    exif[0x0112] = number
    data = encoded(picture(rng, "RGB"), format=kind, exif=exif.tobytes())
    plain = ops.image.decode_image(data, 3).numpy()
    found = ops.image.decode_image(data, 3, True).numpy()
    turned = plain.transpose(0, 2, 1) if number > 4 else plain
    flips = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}.get(number, ())
    np.testing.assert_array_equal(found, np.flip(turned, flips))


def test_gif_and_webp(rng):
    frames = [picture(rng, "L").convert("P") for _ in range(3)]
    one = encoded(frames[0], format="GIF")
    several = encoded(frames[0], format="GIF", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(image_ops.decode_gif(one).numpy(), channels(frames[0].convert("RGB")))
    assert image_ops.decode_image(several, 0).shape == (3, 3, 5, 7)
    image = picture(rng, "RGBA")
    data = encoded(image, format="WEBP", lossless=True, exact=True)
    np.testing.assert_array_equal(image_ops.decode_webp(data, 0).numpy(), channels(image))
    np.testing.assert_array_equal(image_ops.decode_webp(data, 3).numpy(), channels(image)[:3])


@pytest.mark.parametrize("count", [1, 3])
def test_written_files_are_read(count, rng, tmp_path):
    pixels = rv.from_numpy(rng.integers(0, 256, (count, 4, 6)).astype(np.uint8))
    path = str(tmp_path / "a.png")
    ops.image.write_file(path, ops.image.encode_png(pixels, 6))
    assert ops.image.decode_image(ops.image.read_file(path), 0).tolist() == pixels.tolist()
    image = Image.fromarray(pixels[0].numpy() if count == 1 else pixels.permute(1, 2, 0).contiguous().numpy())
    assert ops.image.encode_jpeg(pixels, 75).tolist() == encoded(image, format="JPEG", quality=75).tolist()


def _of_sixteen_bits():
    """A pixel of 3 channels of 16 bits."""
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(7))),
        (b"IEND", b""),
    )
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    return rv.tensor(list(b"\x89PNG\r\n\x1a\n" + b"".join(chunks)), dtype=rv.uint8)


def test_errors(tmp_path):
    data = encoded(Image.new("RGB", (3, 2)), format="PNG")
    refused(RuntimeError, "[read_file] ", image_ops.read_file, str(tmp_path / "no"))
    refused(RuntimeError, "expected the bytes of JPEG", image_ops.decode_jpeg, data, 0)
    refused(RuntimeError, "got bytes that cannot be read", image_ops.decode_png, data[:45], 0)
    refused(RuntimeError, "expected uint8 of one dimension", image_ops.decode_image, data.float(), 0)
    refused(RuntimeError, "colours of 16 bits", image_ops.decode_png, _of_sixteen_bits(), 0)
    for wrong in (rv.zeros(3, 2, 2), rv.zeros(5, 2, 2).byte(), rv.zeros(2, 2).byte()):
        refused(RuntimeError, "[encode_png] got ", image_ops.encode_png, wrong, 6)
    refused(RuntimeError, "between 0 and 9", image_ops.encode_png, rv.zeros(3, 2, 2).byte(), 10)
