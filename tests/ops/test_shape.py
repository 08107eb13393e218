"""Views and parts: what they share, and the order of their memory."""

import numpy as np
import pytest
import ranvier as rv
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
