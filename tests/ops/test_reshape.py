"""The reshape of channels-last images, and layers that need no node of the tape."""

import numpy as np
import pytest
import ranvier as rv


def images(shape, dtype, channels_last=False):
    x = np.random.default_rng(0).normal(size=shape).astype(dtype)
    if channels_last:
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
        x = np.moveaxis(x, -1, 1)
    return rv.from_numpy(x)


@pytest.mark.parametrize("bias", [True, False])
def test_a_bias_alone_has_a_gradient(bias):
    weight, b = rv.ones(2, 3), rv.zeros(2).requires_grad_(bias)
    y = rv.nn.functional.linear(rv.ones(4, 3), weight, b)
    assert y.requires_grad is bias
    if bias:
        y.sum().backward()
        assert b.grad.tolist() == [4.0, 4.0]


TARGETS = [
    (2, -1),
    (-1,),
    (2, 3, 20),
    (2, 12, 5),
    (6, 20),
    (6, -1),
    (2, 60),
    (120,),
    (2, 3, 4, 5),
    (3, 2, 20),
]
TARGETS += [(1, 2, 60), (2, 1, -1), (2, 3, 5, 4), (2, 3, 2, 2, 5), (24, 5)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.float16])
@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_reshape_of_channels_last_images(target, dtype):
    x = images((2, 3, 4, 5), np.float32, True).numpy() * 10
    x = rv.from_numpy(np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)).astype(dtype), -1, 1))
    expected = np.reshape(x.numpy(), target)
    y = x.reshape(target)
    np.testing.assert_array_equal(y.numpy(), expected)
    shares = np.may_share_memory(x.numpy(), expected)
    assert np.may_share_memory(x.numpy(), y.numpy()) == shares
    with rv.no_grad():
        y += 1
        assert bool((x.numpy().reshape(target) == expected).all()) == shares or not shares
    if dtype in (np.float32, np.float64):
        leaf = x.detach().clone().requires_grad_()
        leaf.reshape(target).mul(3).sum().backward()
        assert (leaf.grad.numpy() == 3).all()


def test_other_reshapes_of_channels_last_images():
    x = images((2, 3, 4, 5), np.float32, True)
    for wrong in ((7, -1), (2, 61), (-1, -1), (0,)):
        with pytest.raises((ValueError, RuntimeError), match="reshape"):
            x.reshape(wrong)
    for shape in ((0, 3, 4, 5), (2, 0, 4, 5), (1, 3, 4, 5), (2, 1, 4, 5), (2, 3, 1, 1), (1, 3, 1, 1)):
        x = images(shape, np.float32, True)
        whole = shape[0] * shape[1] * shape[2] * shape[3]
        for target in ((whole,), (shape[0], whole // max(shape[0], 1)), (1, whole)):
            np.testing.assert_array_equal(x.reshape(target).numpy(), x.numpy().reshape(target))
    swapped = np.moveaxis(np.arange(24, dtype=">f4").reshape(1, 4, 3, 2), -1, 1)
    assert rv.tensor(swapped).reshape(-1).tolist() == swapped.reshape(-1).tolist()


@pytest.mark.parametrize(
    ("dims", "start", "end"), [((2, 3, 4), 1, -1), ((2, 3, 4), 0, 1), ((2, 3), 1, 1), ((5,), 0, -1)]
)
def test_flatten_layer(dims, start, end):
    x = images(dims, np.float32)
    last = end % len(dims)
    expected = x.numpy().reshape(*dims[:start], -1, *dims[last + 1 :])
    assert rv.nn.Flatten(start, end)(x).tolist() == expected.tolist()


@pytest.mark.parametrize("dims", [(), (4,)])
def test_flatten_layer_of_too_few_dimensions(dims):
    with pytest.raises(ValueError, match=r"expected at least [12] dimensions"):
        rv.nn.Flatten()(rv.zeros(dims))
