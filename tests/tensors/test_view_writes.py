"""A write through `view()` is never lost: it is one of the tensor itself, or an error."""

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn
from support.refused import refused

LOST = "what view() gave of a tensor that is not contiguous"
OF_RESULTS = pytest.mark.parametrize(
    "result", ["conv1d", "conv2d", "conv_transpose2d", "einsum", "pool", "relu"]
)


def made(name: str) -> rv.Tensor:
    """A result that is stored in another order than its dimensions have."""
    x = rv.arange(2 * 3 * 5 * 5, dtype=rv.float32).reshape(2, 3, 5, 5)
    images = F.conv2d(x, rv.ones(4, 3, 1, 1))
    results = {
        "conv1d": lambda: F.conv1d(x[..., 0], rv.ones(4, 3, 1)),
        "conv2d": lambda: images,
        "conv_transpose2d": lambda: F.conv_transpose2d(x, rv.ones(3, 4, 2, 2)),
        "einsum": lambda: rv.einsum("bij,bjk->bki", x[:, 0], x[:, 0]),
        "pool": lambda: F.max_pool2d(images, 2),
        "relu": lambda: images.relu(),
    }
    return results[name]()


@OF_RESULTS
def test_a_view_of_a_result_shares_its_memory(result):
    y = made(result)
    assert not y.is_contiguous()
    before = y.flatten().tolist()
    v = y.view(2, -1)
    assert v.flatten().tolist() == before
    v[0, :3] = -1.0
    assert y.flatten().tolist() == [-1.0] * 3 + before[3:]
    y[1].zero_()
    assert v[1].abs().sum() == 0
    assert y.is_contiguous()


@OF_RESULTS
def test_views_and_detached_tensors_from_before_share_it_too(result):
    y = made(result)
    plain = y.detach()
    turned = y.transpose(0, 1)
    first = y[1]
    values = y.flatten().clone()
    y.view(-1).mul_(2.0)
    for tensor in (y, plain, turned.transpose(0, 1)):
        assert rv.equal(tensor.flatten(), 2 * values)
    assert rv.equal(first.flatten(), 2 * values.view(2, -1)[1])


def test_gradients_pass_a_write_through_a_view():
    weight = rv.ones(4, 3, 1, 1, requires_grad=True)
    x = rv.arange(24.0).reshape(1, 3, 4, 2)
    y = F.conv2d(x, weight)
    y.view(4, -1)[0].mul_(5.0)
    y.sum().backward()
    expected = x.sum((0, 2, 3)) * rv.tensor([5.0, 1.0, 1.0, 1.0])[:, None]
    assert rv.equal(weight.grad[..., 0, 0], expected)


def test_what_a_function_has_saved_stays_as_it_was():
    weight = rv.ones(4, 3, 1, 1, requires_grad=True)
    y = F.conv2d(rv.ones(1, 3, 2, 2), weight).exp()
    v = y.view(-1)
    assert rv.equal(v, y.flatten())
    v.sum().backward()
    assert rv.allclose(weight.grad, 4 * rv.ones(4, 3, 1, 1) * rv.tensor(3.0).exp())


def turned() -> rv.Tensor:
    """A tensor that a program has transposed itself, whose base it still has."""
    base = rv.arange(6.0).reshape(2, 3)
    transposed = base.t()
    transposed.base = base
    return transposed


DOORS = {
    "zero_": lambda v: v.zero_(),
    "copy_": lambda v: v.copy_(rv.ones(6)),
    "setitem": lambda v: v.__setitem__(0, 1.0),
    "setitem of all": lambda v: v.__setitem__(slice(None), rv.ones(6)),
    "add_": lambda v: v.add_(1),
    "+=": lambda v: v.__iadd__(rv.ones(6)),
    "out": lambda v: rv.add(rv.ones(6), rv.ones(6), out=v),
    "normal_": lambda v: v.normal_(),
    "init": lambda v: nn.init.ones_(v),
    "relu": lambda v: F.relu(v, inplace=True),
    "silu": lambda v: F.silu(v, inplace=True),
    "dropout": lambda v: F.dropout(v, 0.5, True, True),
    "masked_fill_": lambda v: v.masked_fill_(v > 2, 0.0),
    "index_add_": lambda v: v.index_add_(0, rv.tensor([0]), rv.ones(1)),
    "a slice": lambda v: v[1:3].zero_(),
    "a view": lambda v: v.view(2, 3).zero_(),
    "detach": lambda v: v.detach().zero_(),
    "data": lambda v: v.data.zero_(),
    "from_numpy": lambda v: rv.from_numpy(v.numpy()).zero_(),
    "another dtype": lambda v: v.view(rv.int32).zero_(),
}


@pytest.mark.parametrize("door", DOORS)
def test_a_copy_that_a_view_had_to_be_refuses_writes(door):
    v = turned().view(-1)
    refused(ValueError, LOST, DOORS[door], v)
    refused(
        ValueError, "reshape() for a copy that can be changed, or contiguous() before view()", DOORS[door], v
    )
    assert v.tolist() == [0, 3, 1, 4, 2, 5]


def test_numpy_and_dlpack_cannot_write_it():
    v = turned().view(-1)
    with pytest.raises(ValueError, match="read-only"):
        v.numpy()[0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        np.from_dlpack(v)[0] = 1.0


def test_an_optimizer_cannot_write_it():
    parameter = nn.Parameter(turned().view(-1))
    parameter.grad = rv.ones(6)
    refused(ValueError, "read-only", rv.optim.SGD([parameter], 0.1).step)


def test_on_the_tape_it_is_read_and_refuses_writes():
    x = rv.arange(6.0).reshape(2, 3).requires_grad_()
    base = x * 1.0
    v = base.t().view(-1)
    refused(ValueError, LOST, v.mul_, 2.0)
    refused(ValueError, LOST, v.zero_)
    (v * rv.arange(6.0)).sum().backward()
    assert x.grad.tolist() == [[0, 2, 4], [1, 3, 5]]


def test_a_detached_turned_tensor_does_not_turn_what_it_is_of():
    base = rv.arange(6.0).reshape(2, 3)
    detached = base.t().detach()
    refused(ValueError, LOST, detached.view(-1).zero_)
    assert base.is_contiguous()


@pytest.mark.parametrize("how", ["reshape", "contiguous", "clone", "flatten"])
def test_the_remedies_give_what_can_be_written(how):
    x = turned()
    y = {
        "reshape": lambda: x.reshape(-1),
        "contiguous": lambda: x.contiguous().view(-1),
        "clone": lambda: x.view(-1).clone(),
        "flatten": lambda: x.flatten(),
    }[how]()
    y.zero_()
    assert x.base.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_memory_that_numpy_has_stays_where_it_is():
    y = made("conv2d")
    array = y.numpy()
    v = y.view(2, -1)
    refused(ValueError, LOST, v.zero_)
    y.zero_()
    assert not array.any()


@pytest.mark.parametrize("dims", [(0, 1), (1, 0)])
def test_slices_under_vmap(dims):
    x = rv.arange(12.0).reshape(2, 2, 3)
    given = x.transpose(*dims)

    def write(part):
        part.view(-1)[2:4].mul_(10.0)
        return part.sum()

    if dims == (0, 1):
        refused(ValueError, LOST, rv.vmap(write), given)
    else:
        rv.vmap(write)(x)
        assert x.flatten().tolist() == [0, 1, 20, 30, 4, 5, 6, 7, 80, 90, 10, 11]


def test_bytes_that_are_no_bools():
    given = rv.tensor([0, 1, 2], dtype=rv.uint8)
    refused(
        ValueError, "[zero_] got what view(bool) gave of bytes other than 0 and 1", given.view(rv.bool).zero_
    )
    bits = rv.tensor([0, 1, 1], dtype=rv.uint8)
    bits.view(rv.bool).zero_()
    assert bits.tolist() == [0, 0, 0]


def test_windows_that_do_not_overlap_are_written():
    x = rv.arange(3.0)
    x.unfold(0, 3, 1)[:, 0] = 5.0
    assert x.tolist() == [5, 1, 2]
    x.unfold(0, 2, 1)[1].mul_(10.0)  # one window of several
    assert x.tolist() == [5, 10, 20]
    x.unfold(0, 1, 2).add_(1.0)
    assert x.tolist() == [6, 10, 21]


def test_windows_that_overlap_are_refused():
    windows = rv.arange(4.0).unfold(0, 2, 1)
    expected = "with several elements at one place in memory"
    refused(RuntimeError, expected, windows.copy_, rv.ones(3, 2))
    refused(RuntimeError, expected, windows.mul_, 2.0)
    refused(RuntimeError, expected, windows.__setitem__, slice(None), rv.ones(3, 2))


@pytest.mark.parametrize("way", ["detach", "data", "as_strided"])
def test_detached_windows_that_overlap_are_refused_too(way):
    x = rv.arange(4.0)
    windows = x.as_strided((3, 2), (1, 1)) if way == "as_strided" else x.unfold(0, 2, 1)
    windows = windows.data if way == "data" else windows.detach()
    expected = "with several elements at one place in memory"
    refused(RuntimeError, expected, windows.copy_, rv.ones(3, 2))
    refused(RuntimeError, expected, windows.add_, 1.0)
    refused(RuntimeError, expected, windows.exp_)
    assert x.tolist() == [0, 1, 2, 3]
    windows.fill_(5.0)  # one number for all
    windows[1].copy_(rv.tensor([6.0, 7.0]))
    assert x.tolist() == [5, 6, 7, 5]


def test_places_of_an_expanded_tensor_are_written_once_by_an_index():
    x = rv.arange(3.0)
    wide, values = x.expand(2, 3), rv.arange(6.0).view(2, 3)
    expected = "with several elements at one place in memory"
    refused(RuntimeError, expected, wide.__setitem__, [0, 1], values)
    refused(RuntimeError, expected, wide.__setitem__, values > 1, values[values > 1])
    refused(RuntimeError, expected, wide.index_copy_, 0, rv.tensor([0, 1]), values)
    assert x.tolist() == [0, 1, 2]
    wide[[1]] = values[1:]
    assert x.tolist() == [3, 4, 5]
    wide[:, [0, 2]] = 8.0  # one number for all
    assert x.tolist() == [8, 4, 8]


def test_gradients_of_a_window_that_is_written():
    x = rv.arange(4.0).requires_grad_()
    y = x * 1.0
    y.unfold(0, 2, 1)[1].mul_(10.0)
    y.sum().backward()
    assert x.grad.tolist() == [1, 10, 10, 1]


def test_captured_steps_write_through_views():
    weight = rv.ones(4, 3, 2, 2)

    def step(x):
        y = F.conv2d(x, weight)
        y.view(2, -1)[:, :5].zero_()
        return y, y.sum((1, 2, 3))

    compiled = rv.compile(step)
    for seed in range(12):
        x = rv.randn(2, 3, 4, 4, generator=rv.Generator().manual_seed(seed))
        for a, b in zip(step(x), compiled(x), strict=True):
            assert rv.equal(a, b)


def test_a_captured_step_that_reads_a_view_of_its_argument():
    def step(x):
        return x.view(2, -1) * 2.0, x + 1.0

    compiled = rv.compile(step)
    for _ in range(40):
        x = made("conv2d")
        same = made("conv2d")
        for a, b in zip(step(x), compiled(same), strict=True):
            assert rv.equal(a, b)
    assert len(compiled.programs) == 1


def test_a_captured_step_that_writes_to_its_argument():
    def step(x):
        x.view(2, -1)[:, :3].zero_()
        return x.sum()

    compiled = rv.compile(step)
    pairs = [(made("conv2d"), made("conv2d")) for _ in range(12)]
    with pytest.warns(UserWarning, match="changes memory of one of its arguments"):
        sums = [(step(x), compiled(same)) for x, same in pairs]
    assert all(a == b for a, b in sums)
    assert all(rv.equal(x, same) for x, same in pairs)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: x.swapaxes_(0, 1),
        lambda x: x.transpose_(0, 1),
        lambda x: x.t_(),
        lambda x: x.unsqueeze_(0),
    ],
)
def test_a_view_follows_a_tensor_that_gets_another_shape(change):
    x = rv.arange(6.0).reshape(2, 3).clone()
    row = x[0]
    change(x)
    row.fill_(9.0)
    assert sorted(x.flatten().tolist()) == [3.0, 4.0, 5.0, 9.0, 9.0, 9.0]
