"""Views and parts of tensors: what they share with the whole, the order of their memory, images with channels
last; beside NumPy's views and values by hand.
"""

import itertools

import numpy as np
import pytest
import ranvier as rv
from support.layouts import in_layout
from support.refused import refused


def test_methods():
    x = rv.arange(6).reshape(2, 3)
    assert x.view(3, 2).tolist() == [[0, 1], [2, 3], [4, 5]]
    assert x.T.shape == x.t().shape == (3, 2)
    assert x.view(-1).shape == (6,)
    assert x.expand(4, 2, 3).shape == (4, 2, 3)
    assert [row.tolist() for row in x] == [[0, 1, 2], [3, 4, 5]]
    _, b = x
    assert b[2].item() == 5


def test_views_see_changes():
    x = rv.zeros(2, 3)
    x[0].fill_(1)
    x.t()[2, 1] = 5
    x.view(-1)[3] += 2
    assert x.tolist() == [[1, 1, 1], [2, 0, 5]]
    w = rv.ones(2, 2, requires_grad=True)
    y = (w * 1)[0] * x[0, :2]
    x.zero_()
    refused(RuntimeError, "modified by an inplace operation", y.sum().backward)


def test_flatten_of_channels_last_is_in_logical_order():
    x = rv.from_numpy(np.arange(24.0).reshape(1, 3, 4, 2).transpose(0, 3, 1, 2))
    assert x.flatten(1).tolist() == [x.numpy().ravel().tolist()]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64"])
def test_other_shapes_of_channels_last_are_views_where_memory_allows(dtype):
    same = [lambda x: x.squeeze(), lambda x: x.view_as(x), lambda x: x.reshape(2, 3, 4, -1)]
    other = [lambda x: x.unsqueeze(2), lambda x: x.flatten(2), lambda x: x.reshape(-1, 1, 3, 2, 2, 5)]
    for change in [*same, *other, lambda x: x.unflatten(0, (1, 2))]:
        x = rv.zeros(2, 4, 5, 3, dtype=dtype).permute(0, 3, 1, 2)
        change(x).add_(1)
        assert (x.numpy() == 1).all()
    for change in (lambda x: x.flatten(1), lambda x: x.reshape(3, 40), lambda x: x.reshape(2, 5, 12)):
        change(x).zero_()
        assert (x.numpy() == 1).all()
        assert change(x).shape == np.reshape(x.numpy(), change(x).shape).shape


def test_ravel_of_a_vector_is_a_view_of_it():
    x = rv.ones(3, requires_grad=True)
    assert x.ravel() is not x
    with rv.no_grad():
        assert not x.ravel().requires_grad


def test_results_are_in_c_order_where_the_order_is_open():
    """Dimensions of size 1, or repeated: so a view of the result is one, as in PyTorch."""
    x = rv.ones(2, 1, 1, 3)
    assert rv.cat([x, x], 1).is_contiguous()
    assert rv.stack([rv.ones(2, 3, 1)] * 2, -1).is_contiguous()
    assert rv.arange(3.0).expand(2, 3).relu().is_contiguous()


def test_parts_by_tensors():
    x = rv.arange(5)
    assert [y.tolist() for y in x.split(rv.tensor(3))] == [[0, 1, 2], [3, 4]]
    assert [y.tolist() for y in x.chunk(rv.tensor(2))] == [[0, 1, 2], [3, 4]]
    refused(TypeError, "[tensor_split] got indices 1.5; expected a whole", rv.tensor_split, x, [1.5, 3])
    assert [part.shape for part in rv.tensor_split(x, [])] == [x.shape]
    for named in ({"indices": [1]}, {"sections": 2}, {"indices_or_sections": 2}):
        assert [y.tolist() for y in rv.tensor_split(rv.arange(2), **named)] == [[0], [1]]
    refused(TypeError, "[tensor_split] got 2 arguments; expected one", rv.tensor_split, x, 2, indices=[1])


def channels_last_images(*shape, dtype="float32"):
    x = 10 * np.random.default_rng(0).normal(size=shape)
    return rv.from_numpy(in_layout(x.astype(dtype), "channels_last"))


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
    """NumPy's elements; a view where NumPy's reshape is one, else a copy; and its gradient."""
    x = channels_last_images(2, 3, 4, 5, dtype=dtype)
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
    x = channels_last_images(2, 3, 4, 5)
    for wrong in ((7, -1), (2, 61), (-1, -1), (0,)):
        refused((ValueError, RuntimeError), "reshape", x.reshape, wrong)
    for shape in ((0, 3, 4, 5), (2, 0, 4, 5), (1, 3, 4, 5), (2, 1, 4, 5), (2, 3, 1, 1), (1, 3, 1, 1)):
        x = channels_last_images(*shape)
        whole = shape[0] * shape[1] * shape[2] * shape[3]
        for target in ((whole,), (shape[0], whole // max(shape[0], 1)), (1, whole)):
            np.testing.assert_array_equal(x.reshape(target).numpy(), x.numpy().reshape(target))
    swapped = np.moveaxis(np.arange(24, dtype=">f4").reshape(1, 4, 3, 2), -1, 1)
    assert rv.tensor(swapped).reshape(-1).tolist() == swapped.reshape(-1).tolist()


@pytest.mark.parametrize("dims", [(), (4,)])
def test_flatten_layer_of_too_few_dimensions(dims):
    with pytest.raises(ValueError, match=r"expected at least [12] dimensions"):
        rv.nn.Flatten()(rv.zeros(dims))


def test_parts_see_changes():
    x = rv.zeros(2, 2)
    x.diagonal().fill_(1)
    x.select(0, 1)[0] = 5
    x.narrow(1, 1, 1).add_(1)
    assert x.tolist() == [[1, 1], [5, 2]]


def test_parts_of_nothing():
    x = rv.zeros(0, 3)
    assert [part.shape for part in x.chunk(2)] == [(0, 3), (0, 3)]
    assert [part.shape for part in x.split(2)] == [(0, 3)]
    assert x.unbind(0) == ()
    assert x.roll(1, 0).shape == x.repeat(2, 1).shape == (0, 3)


def test_backward_runs_again_as_nothing_is_saved_of_x():
    x = rv.ones(2, 2, requires_grad=True)
    y = x.tril()
    y.sum().backward()
    y.sum().backward()
    assert x.grad.tolist() == [[2, 0], [2, 2]]


def test_one_hot_finds_the_number_of_classes():
    assert rv.ops.one_hot(np.array([0, 3])).shape == (2, 4)


def test_broadcast_to_takes_the_sizes_one_by_one():
    x = rv.arange(3.0)
    for sizes in ((2, 3), ((2, 3),), ([2, 3],), (rv.Size([2, 3]),), (2, -1)):
        assert x.broadcast_to(*sizes).shape == (2, 3)
    assert rv.broadcast_to(x, size=(1, 3)).shape == (1, 3)
    refused(ValueError, "[broadcast_to] got shape (2, 4)", x.broadcast_to, 2, 4)


@pytest.mark.parametrize("n", range(6))
@pytest.mark.parametrize("r", range(1, 7))
def test_combinations_of_few(n, r):
    x = rv.arange(n) * 10
    for repeated, choose in (
        (False, itertools.combinations),
        (True, itertools.combinations_with_replacement),
    ):
        y = rv.combinations(x, r, repeated)
        assert y.tolist() == [list(row) for row in choose(x.tolist(), r)]
        assert y.shape[1] == r


def test_too_many_combinations():
    with pytest.raises(ValueError, match=r"\[combinations\] got .* more than 2\*\*40 combinations"):
        rv.combinations(rv.zeros(2000), 10)


def test_triangles_of_indices():
    for rows, columns, offset in itertools.product((0, 1, 3, 40), (0, 1, 3, 40), (-50, -1, 0, 2, 50)):
        for f, reference in ((rv.tril_indices, np.tril_indices), (rv.triu_indices, np.triu_indices)):
            np.testing.assert_array_equal(f(rows, columns, offset).numpy(), reference(rows, offset, columns))
