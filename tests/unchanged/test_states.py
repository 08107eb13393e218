"""States by names, products by groups, sparse tensors, hooks of all optimizers; files of images."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.optim.hooks import of_all
from ranvier.torch import bases, files, pictures, states
from ranvier.torch.matrices import grouped_mm
from ranvier.torch.operators import ops
from ranvier.torch.positions import sparse_coo_tensor
from support.refused import refused

Image = pytest.importorskip("PIL.Image")


def trained():
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    model[0].bias.requires_grad = False
    groups = [{"params": [model[0].weight]}, {"params": [*model[2].parameters()], "lr": 0.1}]
    optimizer = rv.optim.AdamW(groups)
    model(rv.randn(4, 2)).sum().backward()
    optimizer.step()
    return model, optimizer


def test_states_go_to_another_model_and_optimizer():
    model, optimizer = trained()
    weights, state = states.get_state_dict(nn.DataParallel(model), optimizer)
    assert [group["params"] for group in state["param_groups"]] == [["0.weight"], ["2.weight", "2.bias"]]
    other = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    last = rv.optim.AdamW([*other[2].parameters()], lr=9)
    states.set_state_dict(other, last, model_state_dict=weights, optim_state_dict=state)
    assert all(rv.equal(a, b) for a, b in zip(other.state_dict().values(), weights.values(), strict=True))
    assert rv.equal(last.state[other[2].bias]["exp_avg"], optimizer.state[model[2].bias]["exp_avg"])
    assert last.param_groups[0]["lr"] == 0.1


def test_parts_of_a_state_and_what_is_refused():
    model, optimizer = trained()
    assert [*states.get_model_state_dict(model, submodules={model[2]})] == ["2.weight", "2.bias"]
    ignoring = states.StateDictOptions(ignore_frozen_params=True)
    assert "0.bias" not in states.get_model_state_dict(model, options=ignoring)
    refused(TypeError, "got a state of type list", states.set_model_state_dict, model, [])
    flat = {"options": states.StateDictOptions(flatten_optimizer_state_dict=True)}
    refused(NotImplementedError, "expected False", states.get_state_dict, model, optimizer, **flat)
    lacking = {"state": {}, "param_groups": []}
    refused(ValueError, "got no group with", states.set_optimizer_state_dict, model, optimizer, lacking)


@pytest.mark.parametrize(
    ("a", "b", "ends"),
    [((6, 4), (3, 4, 5), (2, 2, 5)), ((3, 2, 4), (4, 6), (2, 5, 6)), ((2, 6), (6, 5), (1, 6))],
)
def test_products_by_groups(a, b, ends):
    rng = np.random.default_rng(0)
    x, w = (rv.from_numpy(rng.standard_normal(shape)).requires_grad_() for shape in (a, b))
    y = grouped_mm(x, w, offs=rv.tensor(ends, dtype=rv.int32))
    right, begin = np.zeros(y.shape), 0
    for g, end in enumerate(ends):
        part, m, k = slice(begin, end), x.detach().numpy(), w.detach().numpy()
        if len(a) == len(b):
            right[g] = m[:, part] @ k[part]
        elif len(b) == 3:
            right[part] = m[part] @ k[g]
        else:
            right[:, part] = m[g] @ k[:, part]
        begin = end
    np.testing.assert_allclose(y.detach().numpy(), right, rtol=1e-12)
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    refused(RuntimeError, "which rises", grouped_mm, x, w, offs=rv.tensor([3, 1, 2], dtype=rv.int32))


def test_a_sparse_tensor_keeps_the_places_it_was_given():
    values = rv.tensor([0.0, 2.0, 0.0], requires_grad=True)
    x = sparse_coo_tensor([[0, 1, 1], [1, 0, 1]], values, (2, 2)).coalesce()
    assert (x._nnz(), x.values().tolist(), x.indices().tolist()) == (3, [0, 2, 0], [[0, 1, 1], [1, 0, 1]])
    (x.values() * rv.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert values.grad.tolist() == [1, 2, 3]
    rows = sparse_coo_tensor([[0, 2]], [[0.0, 0.0], [1.0, 0.0]], (3, 2))
    assert (rows._nnz(), rows.sparse_dim(), rows.dense_dim(), rows.values().shape) == (2, 1, 1, (2, 2))


def test_attributes_of_layers():
    rnn, x = nn.LSTM(3, 4, 2, bidirectional=True, proj_size=2), rv.zeros(5, 6, 3)
    assert (rnn.get_expected_hidden_size(x, None), rnn.get_expected_cell_size(x, [3])) == (
        (4, 6, 2),
        (4, 3, 4),
    )
    rnn.check_input(x, None)
    refused(RuntimeError, "Expected hidden size", rnn.check_hidden_size, x, (1, 2, 3))
    assert rnn.permute_hidden(x, rv.tensor([1, 0, 2, 3, 4, 5]))[0, 0].tolist() == [0, 0, 0]
    attention, mask = nn.MultiheadAttention(8, 2), rv.zeros(6, 6)
    merged, kind = attention.merge_masks(mask, rv.ones(5, 6), rv.zeros(5, 6, 8))
    assert (merged.shape, kind, merged[0, 0, 0, 0].item()) == ((5, 2, 6, 6), 2, 1.0)
    assert attention.merge_masks(None, mask, x)[1] == 1
    assert attention._qkv_same_embed_dim != nn.MultiheadAttention(8, 2, kdim=3)._qkv_same_embed_dim
    layer = nn.TransformerEncoderLayer(8, 2, activation="gelu")
    encoder = nn.TransformerEncoder(layer, 1, mask_check=False)
    assert (layer.activation_relu_or_gelu, encoder.mask_check, encoder.use_nested_tensor) == (2, False, False)
    assert nn.Conv2d(1, 1, 3).output_padding == (0, 0)


def test_hooks_of_all_optimizers_also_of_those_that_come_later():
    p, log = nn.Parameter(rv.ones(1)), []
    first = rv.optim.SGD([p], lr=0.1)
    hooks = [
        of_all(kind, lambda *given, kind=kind: log.append(kind)) for kind in ("before step", "after step")
    ]
    first.register_step_pre_hook(lambda *given: log.append("own"))
    try:
        first.step()
        rv.optim.SGD([p], lr=0.1).step()
    finally:
        for hook in hooks:
            hook.remove()
    first.step()
    assert log == ["before step", "own", "after step", "before step", "after step", "own"]


def test_names_of_a_file_that_are_not_safe():
    stream = io.BytesIO()
    files.save({"w": rv.ones(1), "a": np.float64(1), "own": states.StateDictOptions()}, stream)
    assert files.get_unsafe_globals_in_checkpoint(stream) == ["ranvier.torch.states.StateDictOptions"]
    refused(
        ValueError, "expected one of torch.save", files.get_unsafe_globals_in_checkpoint, io.BytesIO(b"x")
    )
    state = {"module.weight": 1, "bias": 2}
    bases.consume_prefix_in_state_dict_if_present(state, "module.")
    assert state == {"bias": 2, "weight": 1}


# torchvision's operators for image files, beside Pillow.


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
    found = ops.image.decode_png(encoded(image, format="PNG"), MODES.get(wanted, 0))
    np.testing.assert_array_equal(found.numpy(), channels(image.convert(wanted) if wanted else image))
    np.testing.assert_array_equal(
        ops.image.decode_image(encoded(image, format="PNG"), MODES.get(wanted, 0)).numpy(), found.numpy()
    )


def test_png_of_sixteen_bits_one_bit_and_a_palette(rng):
    wide = rng.integers(0, 65536, (3, 4)).astype(np.uint16)
    data = encoded(Image.fromarray(wide), format="PNG")
    assert pictures.decode_png(data, 0).tolist() == [wide.tolist()]
    assert pictures.decode_png(data, 4)[2:].tolist() == [wide.tolist(), np.full_like(wide, 65535).tolist()]
    assert pictures.decode_png(encoded(Image.new("1", (2, 1), 1), format="PNG"), 0).tolist() == [[[255, 255]]]
    colours = picture(rng, "RGB").quantize(4)
    found = pictures.decode_png(encoded(colours, format="PNG"), 3)
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
    refused(RuntimeError, "mode is not supported for JPEG", pictures.decode_jpeg, data, 4)


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
    one, several = (
        encoded(frames[0], format="GIF"),
        encoded(frames[0], format="GIF", save_all=True, append_images=frames[1:]),
    )
    np.testing.assert_array_equal(pictures.decode_gif(one).numpy(), channels(frames[0].convert("RGB")))
    assert pictures.decode_image(several, 0).shape == (3, 3, 5, 7)
    image = picture(rng, "RGBA")
    data = encoded(image, format="WEBP", lossless=True, exact=True)
    np.testing.assert_array_equal(pictures.decode_webp(data, 0).numpy(), channels(image))
    np.testing.assert_array_equal(pictures.decode_webp(data, 3).numpy(), channels(image)[:3])


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
    refused(RuntimeError, "[read_file] ", pictures.read_file, str(tmp_path / "no"))
    refused(RuntimeError, "expected the bytes of JPEG", pictures.decode_jpeg, data, 0)
    refused(RuntimeError, "got damaged bytes", pictures.decode_png, data[:45], 0)
    refused(RuntimeError, "expected uint8 of one dimension", pictures.decode_image, data.float(), 0)
    refused(RuntimeError, "colours of 16 bits", pictures.decode_png, _of_sixteen_bits(), 0)
    for wrong in (rv.zeros(3, 2, 2), rv.zeros(5, 2, 2).byte(), rv.zeros(2, 2).byte()):
        refused(RuntimeError, "[encode_png] got ", pictures.encode_png, wrong, 6)
    refused(RuntimeError, "between 0 and 9", pictures.encode_png, rv.zeros(3, 2, 2).byte(), 10)
