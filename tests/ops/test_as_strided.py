"""as_strided beside NumPy's, its gradient beside that of the indices it picks."""

import numpy as np
import pytest
import ranvier as rv
from support.refused import refused

X = rv.arange(12).float().reshape(3, 4)


@pytest.mark.parametrize(
    ("x", "size", "stride", "offset"),
    [
        (X, (), (), None),
        (X, (2, 2), (1, 2), 3),
        (X, (3, 3), (4, 1), 1),
        (X, (5, 4), (1, 2), 0),
        (X.t(), (4, 3), (1, 4), None),
        (X[1:], (2,), (1,), None),
        (X[1:], (2,), (1,), 0),
        (X[:, 1::2], (0, 2), (1, 1), None),
        (rv.ones(1, 2, 3, 3).contiguous(memory_format=rv.channels_last), (4,), (2,), 1),
    ],
)
def test_it_is_numpys_view(x, size, stride, offset):
    y = x.as_strided(size, stride, offset)
    flat = rv.arange(12).float()._array if x._array.size <= 12 else np.ones(18, np.float32)
    at = x.storage_offset() if offset is None else offset
    expected = np.lib.stride_tricks.as_strided(flat[at:], size, [4 * s for s in stride])
    np.testing.assert_array_equal(y._array, expected)
    assert y.shape == tuple(size)


def test_a_part_of_a_tensor_that_is_a_part():
    x = rv.arange(12.0)[4:]
    assert rv.as_strided(x, (), ()).item() == 4  # from where x begins
    assert rv.as_strided(x, (2, 2), (1, 2)).tolist() == [[4, 6], [5, 7]]
    assert rv.as_strided(x[::2], (2,), (3,)).tolist() == [4, 7]  # x[::2] has gaps
    assert rv.as_strided(x, (2,), (1,), 0).tolist() == [0, 1]  # from where the memory begins
    x.requires_grad_()
    (gradient,) = rv.autograd.grad(rv.as_strided(x, (2, 2), (1, 0)).sum(), x)
    assert gradient.tolist() == [2, 2, 0, 0, 0, 0, 0, 0]


def test_it_shares_memory():
    x = rv.zeros(4)
    x.as_strided((2,), (2,), 1).fill_(1.0)
    assert x.tolist() == [0, 1, 0, 1]


def test_its_gradient_counts_how_often_an_element_is_picked():
    x = X.clone().requires_grad_()
    y = x.as_strided((5, 4), (1, 2), 0)
    (y * y).sum().backward()
    counts = np.bincount((np.arange(5)[:, None] + 2 * np.arange(4)).ravel(), minlength=12).reshape(3, 4)
    np.testing.assert_array_equal(x.grad._array, 2 * X._array * counts)
    assert rv.autograd.gradgradcheck(
        lambda x: x.as_strided((3, 2), (1, 2), 1) ** 2, X.double().requires_grad_()
    )
    base = x * 1
    refused(RuntimeError, "read-only memory", base.as_strided((2, 2), (1, 1)).add_, 1)


PLACES = np.arange(12).reshape(3, 4)
PARTS = {
    "all": lambda x: x,
    "rows": lambda x: x[1:],
    "columns": lambda x: x[:, 1:],
    "transposed": lambda x: x.T[1:],
    "steps": lambda x: x[::2],
    "one": lambda x: x[2, 3],
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize(("size", "stride", "offset"), [((2, 3), (4, 1), 0), ((3,), (2,), 1), ((), (), 0)])
def test_a_view_from_the_beginning_of_the_memory(part, size, stride, offset):
    """as_strided of a part, with an offset from where the memory of the whole begins: what it writes, and
    gradients before and after changes of the base and of the view."""
    of = PARTS[part]
    places = np.lib.stride_tricks.as_strided(PLACES.reshape(-1)[offset:], size, [8 * s for s in stride])
    inside = np.isin(places, of(PLACES))
    x = rv.tensor(PLACES.astype(float))
    of(x).as_strided(size, stride, offset).fill_(-1.0)
    np.testing.assert_array_equal(x.numpy(), np.where(np.isin(PLACES, places), -1, PLACES))

    def grown(change):  # the gradients of a base and a view after a change
        leaf = rv.tensor(PLACES.astype(float), requires_grad=True)
        base = leaf * 1
        view = of(base).as_strided(size, stride, offset)
        assert view.tolist() == places.tolist()
        change(base, view)
        view.sum().backward()
        return leaf.grad.numpy()

    def at(places, slope):
        return np.where(np.isin(PLACES, places), slope, 0)

    assert (grown(lambda base, view: None) == at(places[inside], 1)).all()  # what the part does not show: 0
    assert (grown(lambda base, view: base.mul_(3)) == at(places, 3)).all()  # now a view of the base
    assert (grown(lambda base, view: view.mul_(3)) == at(places, 3)).all()


def test_an_expanded_part():
    x = X.clone().requires_grad_()
    x[1:2].expand(3, 4).as_strided((2,), (1,), 3).sum().backward()
    assert x.grad.reshape(-1).tolist() == [0, 0, 0, 0, 1, *[0] * 7]


def test_forward_mode_of_what_a_view_does_not_show():
    """Reverse mode has no gradient there, as PyTorch; a tangent of 0 would be wrong."""

    def through(of):
        return lambda x: rv.func.jvp(lambda x: of(x).as_strided((2,), (1,), 1), (x,), (x,))[1]

    assert through(lambda x: x)(X).tolist() == [1, 2]
    assert through(lambda x: x * 1)(X).tolist() == [1, 2]
    assert through(lambda x: x)(X[0, 2:]).tolist() == [0, 2]  # of the rest of the memory nothing depends on x
    refused(NotImplementedError, "[jvp] got as_strided of a Tensor", through(lambda x: x[0, 2:]), X)


def test_wrong_calls():
    refused(ValueError, "[as_strided] got size (5,) and stride (3,) from 0", X.as_strided, (5,), (3,))
