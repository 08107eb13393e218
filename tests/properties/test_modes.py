"""Dtypes in a block of autocast, and with another default dtype: those of PyTorch.

In a block of autocast ops compute in the block's dtype, in float32, or as outside: PyTorch's lists. With
another default dtype, results have the dtypes that PyTorch's have then, and new layers have it.
"""

import contextlib

import ranvier as rv
from ranvier.nn.arguments import arguments_of

from properties.every import every_op, has_halves, weights_for
from properties.test_pytorch import answer, is_compared, is_function

LEAVES_OUT = {
    "matrix_power pad local_response_norm LocalResponseNorm einsum inner": "by mode",
}


def dtypes(ys):
    return [y.dtype for y in ys]


@every_op(LEAVES_OUT, only=has_halves)
def test_autocast(sample):
    for dtype in (rv.float32, rv.float64, rv.bfloat16):
        outside = dtypes(sample.tensors(dtype)())
        with rv.autocast("cpu"):
            inside = dtypes(sample.tensors(dtype)())
        listed = {rv.float32, rv.bfloat16}
        wanted = {"lower": rv.bfloat16, "float32": rv.float32}.get(sample.op.autocast)
        assert inside == [wanted if wanted and y in listed else y for y in outside], str(dtype)


@every_op(
    {"det logdet slogdet linalg_pinv linalg_matrix_norm": "not listed"}, only=lambda op: not has_halves(op)
)
def test_autocast_without_halves(sample):
    """Ops without halves compute in float32 there."""
    outside = [rv.float32 if y.is_floating_point() else y.dtype for y in sample.tensors(rv.float32)()]
    with rv.autocast("cpu"):
        assert dtypes(sample.tensors(rv.bfloat16)()) == outside


def gradients(call, of_leaf, block):
    """The results of the call on float32 leaves, and the gradients, as bits."""
    leaves = [x.detach().requires_grad_() for x in call.leaves]
    with block:
        ys = [y for y in call.with_leaves(*map(of_leaf, leaves)) if y.requires_grad]
    slopes = rv.autograd.grad(ys, leaves, [weights_for(y, 1) for y in ys])
    return [(x.dtype, x.float().numpy(force=True).tobytes()) for x in (*ys, *slopes)]


OF_SEVERAL = """
    inner einsum cov cov_weighted corrcoef scaled_dot_product_attention Conv2d MultiheadAttention
"""


@every_op({OF_SEVERAL: "of several ops, by mode"}, only=lambda op: op.autocast == "lower")
def test_autocast_gradients(sample):
    """They are those of explicit casts."""
    call = sample.tensors(rv.float32)
    for dtype in (rv.bfloat16, rv.float16):
        found = gradients(call, lambda x: x, rv.autocast("cpu", dtype))
        casts = gradients(call, lambda x, dtype=dtype: x.to(dtype), rv.autocast("cpu", enabled=False))
        assert found == casts


NO_INTEGERS = {"hypot logaddexp nextafter": "PyTorch has none of integers"}
OTHER_LAYERS = {"Sequential Transformer": "are made of layers"}


@contextlib.contextmanager
def float64_is_default(*libraries):
    for library in libraries:
        library.set_default_dtype(library.float64)
    try:
        yield
    finally:
        for library in libraries:
            library.set_default_dtype(library.float32)


def names_of_dtypes(tensors):
    return [str(x.dtype) for x in tensors]


@every_op(NO_INTEGERS, only=is_function, of=is_compared)
def test_default_dtype(sample, torch):
    with float64_is_default(rv, torch):
        call = sample.tensors(rv.float32)
        try:
            theirs, _ = answer(torch, call)
        except NotImplementedError:
            return  # PyTorch has no such op of bools
        assert names_of_dtypes(call()) == names_of_dtypes(theirs)


@every_op(OTHER_LAYERS, only=lambda op: op.name[0].isupper(), of=lambda sample: sample.is_layer)
def test_default_dtype_of_layers(sample):
    layer = sample.args[0]
    settings = arguments_of(layer)
    with float64_is_default(rv):
        made = type(layer)(**settings).state_dict()
    widened = [rv.float64 if x.is_floating_point() else x.dtype for x in layer.state_dict().values()]
    assert [x.dtype for x in made.values()] == widened
