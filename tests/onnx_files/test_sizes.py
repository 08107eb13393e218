"""Files with a dynamic length, at lengths far from the example's: right, or refused with the reason.

Each form does something else from some length on, such as 40, that none of the recorded runs has.
"""

from __future__ import annotations

import json
import math
from math import sqrt

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn
from ranvier.onnx.sizes import greatest, lower_bound, size_of_axis, smallest, upper_bound

pytest.importorskip("onnx", reason="onnx is not installed")

import contextlib
import functools

from support.onnx_networks import drawn, session

LENGTHS = (1, 2, 13, 41, 97)
TABLE = rv.tensor(drawn(128, 4))


def length(x):
    return x.shape[1]


def positions(x):
    return rv.arange(x.shape[1])


def products(x):
    return x @ x.transpose(1, 2)


def grids(x):
    return rv.meshgrid(positions(x), positions(x), indexing="ij")


def relative_buckets(x):
    """Bias by buckets of distances: exact up to 8, then on a scale of logarithms up to 128."""
    distance = (positions(x)[None, :] - positions(x)[:, None]).abs()
    scaled = rv.log(distance.float().clamp(min=1) / 8) / math.log(128 / 8) * 8
    far = rv.minimum(8 + scaled.long(), rv.full_like(distance, 15))
    return products(x) + TABLE[rv.where(distance < 8, distance, far), 0]


def rotated(x):
    angle = positions(x).float()[:, None] / 10000 ** (rv.arange(0, 4, 2).float() / 4)
    a, b = x.chunk(2, -1)
    return rv.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


def in_blocks(x):
    padded = F.pad(x, (0, 0, 0, -length(x) % 40))
    return padded.reshape(2, -1, 40, 4).softmax(2).flatten(1, 2)[:, : length(x)]


def at_most_128(x):
    assert x.shape[1] <= 128, f"got {x.shape[1]} rows"
    return x + TABLE[: x.shape[1]]


def half_at_most_64(x):
    if length(x) / 2 > 64:
        raise ValueError("too long")
    return x * 2


FROM_POSITIONS = {
    "tril": lambda x: products(x).tril(30),
    "triu": lambda x: products(x).triu(-30),
    "tril of n": lambda x: products(x).tril(length(x) - 40),
    "band": lambda x: (rv.ones(length(x), length(x)).tril() * rv.ones(length(x), length(x)).triu(-39)) @ x,
    "window": lambda x: products(x).masked_fill((positions(x)[:, None] - positions(x)).abs() > 40, -1.0),
    "less": lambda x: x * (positions(x) < 40)[:, None],
    "clamp": lambda x: x + positions(x).clamp(max=40)[:, None],
    "quotient": lambda x: x + (positions(x) // 40)[:, None],
    "rest": lambda x: x + (positions(x) % 40)[:, None],
    "where": lambda x: x + rv.where(positions(x) < 40, 1.0, 2.0)[:, None],
    "bucketize": lambda x: x + rv.bucketize(positions(x), rv.tensor([40, 80]))[:, None],
    "isin": lambda x: x * rv.isin(positions(x), rv.tensor([2, 40, 60]))[:, None],
    "one_hot": lambda x: x + F.one_hot((positions(x) // 40).clamp(max=3), 4),
    "meshgrid": lambda x: (
        products(x) + rv.meshgrid(positions(x), positions(x), indexing="ij")[1].clamp(max=40)
    ),
    "linspace": lambda x: x * rv.linspace(0, 1, length(x))[:, None],
    "steps": lambda x: x[:, rv.arange(0, length(x), 40)],
    "backwards": lambda x: x[:, rv.arange(length(x) - 1, -1, -1)],
    "fractions": lambda x: x.sum(1) + rv.arange(0, length(x), 0.5).sum(),
    "eye": lambda x: rv.eye(length(x) + 40)[40:, : length(x)] @ x,
    "table": lambda x: x + TABLE[: min(length(x), 128)],
    "table, clamped": lambda x: x + F.embedding(positions(x).clamp(max=50), TABLE),
    "causal": lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    "causal mask": lambda x: products(x) + nn.Transformer.generate_square_subsequent_mask(length(x)),
    "slopes": lambda x: (products(x) + 0.25 * (positions(x) - positions(x)[:, None]).clamp(max=0)).softmax(
        -1
    ),
    "buckets of distances": relative_buckets,
    "rotated": rotated,
    "diagonal": lambda x: products(x).diagonal(1, 1, 2),
    "sort": lambda x: x.sort(1).values[:, :40],
}
FROM_SIZES = {
    "topk": lambda x: x.topk(min(40, length(x)), dim=1).values,
    "start": lambda x: x[:, max(0, length(x) - 40) :],
    "sign of a bound": lambda x: x[:, length(x) - 40 :].sum(1),
    "constant bounds": lambda x: (x[:, :40].sum(1), x[:, -40:].sum(1), x[:, 40:].sum(1), x[:, ::40].sum(1)),
    "places": lambda x: (x[:, length(x) // 2], x[:, length(x) - 1], x.select(1, length(x) // 40), x[:, -1]),
    "quotients": lambda x: x[:, : 1 + length(x) * 34 // 100],
    "n - n // 40": lambda x: x[:, : length(x) - length(x) // 40],
    "halves": lambda x: x.split([length(x) // 2, length(x) - length(x) // 2], 1)[1] * 2,
    "chunk": lambda x: rv.cat([part.cumsum(1) for part in x.chunk(3, 1)], 1),
    "tensor_split": lambda x: x.tensor_split(3, 1)[1] * 2,
    "roll": lambda x: (x.roll(40, 1) * 2, x.roll(length(x) // 3, 1)),
    "blocks": in_blocks,
    "pad": lambda x: F.pad(x, (0, 0, max(0, 40 - length(x)), 0)),
    "crop": lambda x: F.pad(x, (0, 0, 0, min(0, 40 - length(x)))),
    "pools": lambda x: F.max_pool1d(F.pad(x, (0, 0, 0, 64)).transpose(1, 2), 64, 64) * length(x),
    "its length": lambda x: x * F.max_pool1d(F.pad(x, (0, 0, 0, 64)).transpose(1, 2), 64, 64).shape[-1],
    "windows": lambda x: F.pad(x, (0, 0, 0, 64)).unfold(1, 64, 40).sum(-1),
    "interpolate": lambda x: F.interpolate(x.transpose(1, 2), size=min(length(x), 40)),
    "operand": lambda x: (x / length(x), length(x) - x, x * (length(x) % 40), x.clamp(max=length(x) / 80)),
    "alpha": lambda x: x.add(x.flip(1), alpha=length(x)) - x.sub(x.flip(1), alpha=1 / length(x)),
    "lerp": lambda x: rv.lerp(x, x.flip(1), 1 / length(x)),
    "power": lambda x: x / length(x) ** 0.5,
    "ceil": lambda x: x[:, : math.ceil(length(x) / 40)],
    "len and numel": lambda x: x * min(len(x[0]), 40) + min(x.numel(), 300) + max(x.size(1), 40),
    "shapes": lambda x: x * min(math.prod(x.shape), 500) + max(x.shape),
    "repeat": lambda x: x.mean(1, keepdim=True).repeat(1, length(x), 1) + x.repeat_interleave(2, 1)[:, ::2],
    "roots": lambda x: (x / math.sqrt(length(x)), x / np.sqrt(length(x)), x[:, : math.isqrt(length(x))]),
    "from math": lambda x: x / sqrt(length(x)),
    "logarithms": lambda x: x * math.log(length(x)) + math.log(length(x) + 1, 7) * np.log(length(x) / 3),
    "levels": lambda x: x * math.ceil(math.log2(length(x) + 31)),
    "other functions": lambda x: x * math.exp(-length(x) / 40) + math.sin(length(x)) * math.cos(length(x)),
    "min of fractions": lambda x: x / min(max(length(x) / 10, 1), 7.5) + abs(1.5 - length(x) / 40),
    "trunc": lambda x: x * math.trunc(length(x) / 4 - 9),
    "tens": lambda x: x * round(length(x), -1),
    "a guard of fractions": half_at_most_64,
    "beyond int64": lambda x: (x * length(x) ** 12 / 1e24, x * 1e22 < length(x) ** 12),
    "rest of a product": lambda x: x * ((length(x) * 1000003) ** 3 % 1009),
    "rolls": lambda x: (x.roll(1, 1), x.roll(-1, 1)),
    "1 // n": lambda x: x * (1 // length(x) * 5),
    "1 // i": lambda x: x * (rv.div(1, positions(x) + 1, rounding_mode="trunc") * 5)[:, None],
    "isinstance": lambda x: x * length(x) if isinstance(length(x), int) else x,
    "list of places": lambda x: x[:, [0, length(x) // 2, length(x) - 1]],
    "one over n": lambda x: x * math.floor(1 / (length(x) + 48) * (length(x) + 48)),  # 1 / 49 * 49 < 1
    "mean of nothing": lambda x: (x[:, 1:].mean(1), x[:, : length(x) // 2].mean(), x[:, 2:].std(1)),
    "bits": lambda x: x * (length(x) << 2) + (length(x) >> 3) + (length(x) & 7) + ~length(x),
    "nested list": lambda x: (rv.tensor([[length(x), 2], [1, 3]]), rv.tensor([length(x) / 2, 1.5])),
    "scattered": lambda x: rv.zeros_like(x).scatter(1, x.argsort(1), x),
    "summed at places": lambda x: rv.zeros(2, 3, 4).scatter_add(1, (x > 0).long(), x),
    "pairs of places": lambda x: x[rv.arange(2)[:, None], x[..., 0].argsort(1)],
    "one_hot of n": lambda x: F.one_hot(x[..., 0].argmax(1), length(x)),
    "padded by itself": lambda x: F.pad(x.transpose(1, 2), (1, length(x)), mode="replicate"),
    "padded by 1": lambda x: F.pad(x.transpose(1, 2), (1, 1), mode="replicate"),
    "cropped": lambda x: F.pad(x, (0, 0, 0, -1)).sum(1),
    "resized images": lambda x: F.interpolate(x[:, None], (length(x) // 2 + 1, 4), mode="bilinear"),
    "outer products": lambda x: rv.einsum("bnd,bne->bnde", x, x).cumsum(1),
    "three operands": lambda x: rv.einsum("bnd,bmd,bme->bne", x, x * 0.1, x),
    "2 n - 1 rows": lambda x: rv.einsum("bi,j->bij", x[..., 0], rv.arange(1 - length(x), length(x)).float()),
    "letters of numbers": lambda x: rv.einsum("bnd,bmd", x, x),
    "maxima at places": lambda x: rv.zeros(2, 3, 4).scatter_reduce(1, (x > 0).long(), x, "amax"),
    "products at places": lambda x: rv.ones(2, 3, 4).scatter_reduce(1, (x > 0).long(), x, "prod"),
    "sampled": lambda x: F.grid_sample(x[:, None], x[:, :, None, :2] * 0.5, align_corners=False),
    "sampled at the border": lambda x: F.grid_sample(
        x[:, None], x[:, None, :, :2] * 2, "nearest", "border", align_corners=True
    ),
    "norm of one value": lambda x: F.group_norm(x.transpose(1, 2), 4),
    "a guard": at_most_128,
    "a condition that holds": lambda x: x * 2 if length(x) + 40 > 40 and length(x) >= 1 else x,
}  # fmt: skip
WRITTEN = FROM_POSITIONS | FROM_SIZES


def exported(form, path=None):
    return rv.onnx.export(form, drawn(2, 6, 4), path, input_names=["x"], dynamic_axes={"x": {1: "n"}})


NOT_AGAIN = {"levels"}  # refused: a logarithm of base 2 asks whether n is a power of 2


@pytest.mark.parametrize("name", sorted(WRITTEN.keys() - NOT_AGAIN))
def test_written_again(name, tmp_path):
    """A file that is loaded and written again: its shapes are symbols, too."""
    form = WRITTEN[name]
    path = tmp_path / "m.onnx"
    exported(rv.onnx.load(exported(form)), path)
    compare(form, path)


def test_branch_of_a_loaded_file():
    """An If on a shape: its branch for the example is not written for all sizes."""
    onnx = pytest.importorskip("onnx")
    helper = onnx.helper
    numbers = onnx.numpy_helper
    info = helper.make_tensor_value_info

    def branch(name, op):
        node = helper.make_node(op, ["x"], [name])
        return helper.make_graph([node], name, [], [info(name, 1, None)])

    constants = [(np.int64([1]), "one"), (np.int64([40]), "limit")]
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "one"], ["length"]),
        helper.make_node("Greater", ["length", "limit"], ["is_long"]),
        helper.make_node("Squeeze", ["is_long"], ["condition"]),
        helper.make_node(
            "If", ["condition"], ["y"], then_branch=branch("a", "Neg"), else_branch=branch("b", "Exp")
        ),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", 1, [2, "n", 4])],
        [info("y", 1, None)],
        [numbers.from_array(array, name) for array, name in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    with pytest.raises(ValueError, match="the condition n > 40"):
        exported(rv.onnx.load(model))


@pytest.mark.parametrize("name", WRITTEN)
def test_far_lengths(name, tmp_path):
    form = WRITTEN[name]
    path = tmp_path / "m.onnx"
    exported(form, path)
    compare(form, path)


def compare(form, path, lengths=LENGTHS, inputs=None, rtol=1e-4):
    """The file at the lengths, or with the inputs, here and in onnxruntime."""
    runs = [rv.onnx.load(path)]
    with contextlib.suppress(ImportError):
        runs.append(session(path))
    for x in inputs or [drawn(2, n, 4, seed=n) for n in lengths]:
        wanted = form(rv.tensor(x))
        wanted = wanted if isinstance(wanted, tuple) else (wanted,)
        for run in runs:
            found = run(x)
            found = found if isinstance(found, (tuple, list)) else (found,)
            for y, z in zip(found, wanted, strict=True):
                y = y.numpy() if isinstance(y, rv.Tensor) else y
                assert (y.dtype, y.shape) == (z.numpy().dtype, z.shape)
                np.testing.assert_allclose(y, z.numpy(), rtol=rtol, atol=1e-4)


def caught(x):
    try:
        return x.reshape(2, 16, -1).sum(1)
    except RuntimeError:
        return x.flatten(1)


def kept(x, cache={}):  # noqa: B006
    return x * cache.setdefault(x.shape[1], 2.0)


def halved(x):
    while x.shape[1] > 30:
        x = x[:, ::2]
    return x


def unpacked(x):
    if length(x) > 4000:
        first, _ = x[:, :8000].split(4000, 1)
        return first[:, :1] * 2
    return x[:, :1]


def raised_for_a_number(x):
    if length(x) > 4000:
        if int(length(x)) < 4000:
            raise ValueError("too short")
        return x * 2
    return x


def raised_for_an_error(x):
    if length(x) > 4000:
        try:
            return x[:, 4000]
        except IndexError as error:
            raise ValueError("too short") from error
    return x[:, 0]


def looked_up(x):
    return x * {5000: 2.0}[length(x)] if length(x) > 4000 else x


HELD = {"arange": rv.arange}

REFUSED = {
    "a table of functions": (
        lambda x: x * HELD["arange"](length(x))[:, None],
        "arange from its module or tensor in place of a table",
    ),
    "unpacked": (unpacked, "the condition n > 4000"),
    "raised for a number": (raised_for_a_number, "the condition n > 4000"),
    "raised for an error": (raised_for_an_error, "the condition n > 4000"),
    "looked up": (looked_up, "the condition n > 4000"),
    "if": (lambda x: x * 2 if length(x) > 40 else x, "depends on the condition n > 40"),
    "rest": (lambda x: x * 2 if length(x) % 4 else x, r"the condition n - 4\*\(n // 4\) != 0"),
    "while": (halved, "the condition n > 30"),
    "caught": (caught, "catches an error of reshape"),
    "pieces": (lambda x: rv.cat([p.softmax(1) for p in x.split(40, 1)], 1), "split .* number of pieces"),
    "range": (lambda x: sum(x[:, i] for i in range(length(x))), "takes the size n .* plain number"),
    "iteration": (lambda x: sum(row.sum() for row in x[0]), "a loop over a tensor"),
    "unbind": (lambda x: rv.stack(x.unbind(1)[:40], 1), "unbind .* the number of slices"),
    "int": (lambda x: x[:, : int(length(x) * 0.34)], "takes the size .* plain number"),
    "float": (lambda x: x * float(length(x)), r"float\(\)"),
    "math": (lambda x: x / math.hypot(length(x), 3), "a function that takes a plain number"),
    "quotient of a fraction": (lambda x: x * (length(x) / 2 // 3), r"math.floor\(a / b\)"),
    "condition on a fraction": (lambda x: x * 2 if length(x) / 3 < 20.5 else x, "condition n / 3 < 20.5"),
    "digits": (lambda x: x * round(length(x) / 7, 1), "n / 7 .* plain number"),
    "text": (lambda x: x * len(f"{length(x)}"), "as text"),
    "text of a shape": (lambda x: x * len(f"{x.shape}"), "as text"),
    "text of a tensor": (lambda x: x * 2 if "..." in str(x) else x, "reads a value"),
    "text of positions": (lambda x: x * len(str(positions(x))), "reads a value"),
    "mask of bits": (lambda x: x * (length(x) & 5), "an operand of &"),
    "json": (lambda x: x * len(json.dumps(list(x.shape))), "takes no symbol .* JSON"),
    "type": (lambda x: x * 2 if type(length(x)) is int else x, r"isinstance\(n, int\)"),
    "key": (kept, "a key of a dict"),
    "more pieces": (lambda x: x.chunk(4, 1)[0] * 2, "chunk at .* gives 3 of 4 pieces"),
    "one length": (lambda x: x + TABLE[:6], "the model at .* fails for inputs of sizes .* broadcast"),
    "other operations": (lambda x: x.logcumsumexp(1), "from Getitem at .* on"),
    "bit_length": (lambda x: x * length(x).bit_length(), "bit_length"),
    "numpy": (lambda x: x + rv.tensor(np.arange(length(x)).clip(max=40))[:, None], "takes the size"),
    "tri": (lambda x: rv.tensor(np.tri(length(x), dtype=np.float32)) @ x, "plain number"),
    "shape of numpy": (lambda x: x + rv.tensor(np.ones(x.shape[1:], np.float32)), "NumPy"),
    "equal shapes": (lambda x: x if tuple(x.shape) == (2, 6, 4) else x * 2, "the condition n == 6"),
    "stride": (lambda x: x * x.stride(0), "stride .* a factor of a stride"),
    "squeeze": (lambda x: x[:, : max(length(x) // 40, 1)].squeeze(1), "squeeze .* the condition"),
    "no stand-in": (lambda x: x.unfold(1, length(x) // 2, 1), r"takes the size \(n // 2\)"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    form, reason = REFUSED[name]
    with pytest.raises(ValueError, match=reason) as error:
        exported(form)
    assert "test_sizes.py:" in str(error.value) or name == "type"
    assert "leave it out of dynamic_axes" in str(error.value) or "expected" in str(error.value)


class Holder(nn.Module):
    """Has functions in attributes."""

    def __init__(self):
        super().__init__()
        self.make, self.smallest, self.length = rv.arange, min, len
        self.pool = functools.partial(F.adaptive_avg_pool1d, output_size=3)

    def forward(self, x):
        n = self.smallest(self.length(x[0]), 40)
        return self.pool(x.transpose(1, 2)) * n, x * self.make(x.shape[1])[:, None]


def holding(make, reshape):
    return lambda x: reshape(x, (2, x.shape[1] * 4)) * make(x.shape[1] * 4)


HOLDING = {
    "attributes": Holder(),
    "variables": holding(rv.arange, rv.Tensor.reshape),
    "partial": holding(functools.partial(rv.arange, dtype=rv.float32), rv.reshape),
}


@pytest.mark.parametrize("name", HOLDING)
def test_functions_that_a_model_holds(name, tmp_path):
    form, path = HOLDING[name], tmp_path / "m.onnx"
    exported(form, path)
    compare(form, path)


def image(x):
    return x[:, :, :, None].expand(-1, -1, -1, 6).reshape(2, length(x), 2, 12).transpose(1, 2)


COMPOSED = {
    "pixel_shuffle": lambda x: F.pixel_shuffle(image(x).repeat(1, 2, 1, 1), 2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(F.pad(image(x), (0, 0, 0, length(x) % 2)), 2),
    "channel_shuffle": lambda x: F.channel_shuffle(image(x).repeat(1, 2, 1, 1), 2),
    "mean of all": lambda x: F.avg_pool2d(image(x), image(x).shape[2:]),
    "maximum of all": lambda x: F.max_pool1d(x.transpose(1, 2), length(x)),
    "means of 3": lambda x: F.adaptive_avg_pool1d(x.transpose(1, 2), 3),
    "means of half": lambda x: F.adaptive_avg_pool1d(x.transpose(1, 2), (length(x) + 1) // 2),
    "means of images": nn.AdaptiveAvgPool2d((7, 5)),
    "means of lines": lambda x: F.adaptive_avg_pool2d(image(x), (None, 5)),
    "maxima of 3": lambda x: F.adaptive_max_pool1d(x.transpose(1, 2), 3),
    "maxima of images": lambda x: nn.AdaptiveMaxPool2d((4, 2))(image(x)),
    "area": lambda x: F.interpolate(x.transpose(1, 2), size=4, mode="area"),
    "area of a scale": lambda x: F.interpolate(
        F.pad(x, (0, 0, 0, 3)).transpose(1, 2), scale_factor=0.3, mode="area"
    ),
    "layer_norm": lambda x: F.layer_norm(x, x.shape[1:]),
    "diff": lambda x: x.diff(dim=1, prepend=x[:, :1], append=x[:, -2:]),
    "tensor_split": lambda x: x.tensor_split((3, length(x) // 2), 1)[1] * 2,
}


@pytest.mark.parametrize("name", COMPOSED)
def test_composed(name, tmp_path):
    form, path = COMPOSED[name], tmp_path / "m.onnx"
    exported(form, path)
    compare(form, path)


RESIZED = {
    "to 4": lambda x: F.interpolate(x.transpose(1, 2), size=4),
    "to 10, exact": lambda x: F.interpolate(x.transpose(1, 2), size=10, mode="nearest-exact"),
    "to a third": lambda x: F.interpolate(x.transpose(1, 2), size=length(x) // 3 + 1),
    "0.3": lambda x: F.interpolate(F.pad(x, (0, 0, 0, 4)).transpose(1, 2), scale_factor=0.3),
    "1.25 of lines": lambda x: F.interpolate(x.transpose(1, 2), scale_factor=1.25, mode="linear"),
    "1.25 of images": lambda x: F.interpolate(x[:, None], scale_factor=1.25),
    "0.6, computed again": lambda x: F.interpolate(
        F.pad(x, (0, 0, 0, 4)).transpose(1, 2), scale_factor=0.6, recompute_scale_factor=True
    ),
}


@pytest.mark.parametrize("name", RESIZED)
def test_places_of_resize(name, tmp_path):
    """Lengths at which 2 / (4 / n) rounds to the element before, and at which a factor leaves them."""
    form, path = RESIZED[name], tmp_path / "m.onnx"
    exported(form, path)
    compare(form, path, (1, 2, 3, 14, 26, 28, 35, 36, 49, 65, 300))


def test_static_places_of_resize(tmp_path):
    path = tmp_path / "m.onnx"
    x = rv.arange(28.0).reshape(1, 1, 14, 2)
    rv.onnx.export(lambda x: F.interpolate(x, size=(4, 3)), x, path, input_names=["x"])
    compare(lambda x: F.interpolate(x, size=(4, 3)), path, inputs=[x.numpy()])


def test_bicubic_that_may_copy():
    with pytest.raises(ValueError, match="recompute_scale_factor"):
        rv.onnx.export(lambda x: F.interpolate(x, scale_factor=1.1, mode="bicubic"), drawn(1, 1, 6, 6))


def test_halves_that_hold_no_size(tmp_path):
    """n * n and 1e5 are no halves."""
    path = tmp_path / "m.onnx"
    form = lambda x: (x / (length(x) * length(x)) * 1000, x * 60 / 1e5 * 1000)  # noqa: E731
    rv.onnx.export(form, drawn(2, 6, 4).astype(np.float16), path, input_names=["x"], dynamic_axes={"x": [1]})
    halves = [drawn(2, n, 4, seed=n).astype(np.float16) for n in (1, 97, 300)]
    compare(form, path, inputs=halves, rtol=2**-9)  # two roundings


def test_lengths_of_one_kind(tmp_path):
    """Models that take even lengths alone, by an error of the library and one of their own."""

    def paired(x):
        return x.reshape(2, length(x) // 2, 2, 4).sum(2)

    def guarded(x):
        assert length(x) % 2 == 0
        return x * length(x)

    for form in (paired, guarded):
        path = tmp_path / "m.onnx"
        exported(form, path)
        for n in (2, 40, 96):
            x = drawn(2, n, 4, seed=n)
            np.testing.assert_allclose(rv.onnx.load(path)(x).numpy(), form(rv.tensor(x)).numpy(), atol=1e-5)


class Keeps(nn.Module):
    """Makes a table at its first call by `make`, which `call` uses."""

    def __init__(self, make, call):
        super().__init__()
        self.make = make
        self.call = call
        self.table = None

    def forward(self, x):
        if self.table is None:
            self.table = self.make(x)
        return self.call(self, x)


FIRST_CALLS = {
    "number": (length, lambda self, x: x / self.table),
    "table": (positions, lambda self, x: x + self.table.max()),
    "list": (lambda x: [length(x)], lambda self, x: x * self.table[0]),
}


@pytest.mark.parametrize("name", FIRST_CALLS)
def test_first_call(name):
    """Results that depend on the size of the first call have no file for all sizes."""
    with pytest.raises(ValueError, match="keeps 'table' of Keeps from its first call"):
        exported(Keeps(*FIRST_CALLS[name]))


def test_table_of_the_first_call(tmp_path):
    """A table of fixed size is in the file, and is not changed by the trials of the export."""
    model = Keeps(lambda x: rv.arange(4), lambda self, x: x * self.table)
    exported(model, tmp_path / "m.onnx")
    compare(lambda x: x * rv.arange(4), tmp_path / "m.onnx")
    assert model.table.tolist() == [0, 1, 2, 3]


def test_size_kept_in_a_module():
    """A size in an attribute of a module is a number after the export."""

    class Kept(nn.Module):
        def forward(self, x):
            self.sizes = {"n": x.shape[1]}
            return x * self.sizes["n"]

    model = Kept()
    exported(model)
    assert type(model.sizes["n"]) is int


def test_nothing_stays_replaced():
    before = (len, min, max, rv.arange, rv.Tensor.reshape, vars(rv.Tensor)["shape"])
    exported(lambda x: x + rv.arange(x.shape[1])[:, None])
    with pytest.raises(ValueError, match="takes the size n"):
        exported(lambda x: x * int(x.shape[1]))
    assert before == (len, min, max, rv.arange, rv.Tensor.reshape, vars(rv.Tensor)["shape"])
    assert type(rv.zeros(2, 3).shape[0]) is int


class Scope:
    """Notes what would be refused."""

    def condition(self, text, holds):
        raise LookupError(text)


def test_arithmetic():
    """One form for equal sizes, and bounds that decide."""
    n = size_of_axis(Scope(), "x", 1, 1, 7, "n")
    m = size_of_axis(Scope(), "x", 2, 1, 5, "m")
    assert (n + m) * 2 - 2 * m == 2 * n
    assert (4 * n + 3) // 4 == n
    assert (n * m) // m == n
    assert n - n == 0
    assert isinstance(n - n, int)
    assert n % 1 == 0
    assert (n % 4).hint == 3
    assert lower_bound(n % 4) >= 0
    assert upper_bound(n % 4) <= 3
    assert (-n // 4).hint == -2
    assert smallest(n, n + 1) == n
    assert greatest(n, n - 3, 1 - n) == n
    assert lower_bound(n - smallest(n, 40)) == 0
    assert upper_bound(smallest(n, 40)) == 40
    assert n - n // 40 > 0
    assert n >= 1
    assert not n < 1
    assert n != 0
    assert (n + 2 * m).key == "n + 2*m"
    for undecided in (lambda: n > 1, lambda: n == m, lambda: n - m < 0, lambda: bool(n - 1)):
        with pytest.raises(LookupError):
            undecided()


@pytest.mark.parametrize("seed", range(20))
def test_random_arithmetic(seed):
    """hint follows Python's arithmetic, and bounds hold, for random expressions."""
    rng = np.random.default_rng(seed)
    numbers = [int(k) for k in rng.integers(1, 50, 3)]
    sizes = [size_of_axis(Scope(), "x", i, 1, k, "abc"[i]) for i, k in enumerate(numbers)]
    for _ in range(30):
        i, j = rng.integers(0, len(sizes), 2)
        k = int(rng.integers(1, 9))
        op = rng.integers(0, 6)
        pairs = (
            (lambda a, b: a + b, numbers[j], sizes[j]), (lambda a, b: a - b, numbers[j], sizes[j]),
            (lambda a, b: a * b, k, k), (lambda a, b: a // b, k, k), (lambda a, b: a % b, k, k),
            (None, numbers[j], sizes[j]),
        )  # fmt: skip
        function, number, size = pairs[op]
        if function is None:
            numbers.append(min(numbers[i], number))
            sizes.append(smallest(sizes[i], size))
        else:
            numbers.append(function(numbers[i], number))
            sizes.append(function(sizes[i], size))
        found = getattr(sizes[-1], "hint", sizes[-1])
        assert found == numbers[-1]
        assert lower_bound(sizes[-1]) <= found <= upper_bound(sizes[-1])
