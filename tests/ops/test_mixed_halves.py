"""float32 beside half floats, and ops that move half floats."""

import numpy as np
import pytest
import ranvier as rv

F = rv.nn.functional
BESIDE = {  # what float32 may stand beside halves: the function, shapes of the halves, of float32
    "layer_norm": (lambda x, w, b: F.layer_norm(x, (4,), w, b), [(2, 3, 4)], [(4,), (4,)]),
    "layer_norm, a weight": (lambda x, w: F.layer_norm(x, (4,), w), [(2, 3, 4)], [(4,)]),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b), [(2, 4, 3)], [(4,), (4,)]),
    "instance_norm": (lambda x, w, b: F.instance_norm(x, None, None, w, b), [(2, 4, 3)], [(4,), (4,)]),
    "batch_norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, True), [(2, 4, 3)], [(4,), (4,)]),
    "statistics": (
        lambda x, w, b: F.batch_norm(x, rv.zeros(4), rv.ones(4), w, b), [(2, 4, 3)], [(4,), (4,)],
    ),
    "rms_norm": (lambda x, w: F.rms_norm(x, (4,), w), [(2, 3, 4)], [(4,)]),
    "attention": (F.scaled_dot_product_attention, [(2, 3, 4)] * 3, [(3, 3)]),
    "packed attention": (
        lambda x, m: rv.nn.MultiheadAttention(4, 2, dtype=x.dtype)(x, x, x, None, False, m)[0],
        [(3, 2, 4)], [(3, 3)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16])
@pytest.mark.parametrize("name", BESIDE)
def test_float32_beside_halves(name, dtype):
    """The result has the dtype of the halves; each gradient that of its tensor."""
    function, *shapes = BESIDE[name]
    rng = np.random.default_rng(0)
    x, own = ([rv.tensor(rng.normal(size=s).astype(np.float32)) for s in part] for part in shapes)
    halves = [y.to(dtype).requires_grad_() for y in x]
    singles = [y.clone().requires_grad_() for y in own]
    exact = [y.clone().requires_grad_() for y in (*(y.float().detach() for y in halves), *own)]
    rv.manual_seed(0)
    y = function(*halves, *singles)
    y.sum().backward()
    assert y.dtype == dtype
    assert [a.grad.dtype for a in (*halves, *singles)] == [a.dtype for a in (*halves, *singles)]
    if name == "packed attention":  # of several ops, each rounds
        return
    limit = 2 * rv.finfo(dtype).eps if name == "attention" else 0  # whose products may add in another order
    z = function(*exact)
    z.backward(rv.ones(*z.shape))
    pairs = [(y, z), *((a.grad, b.grad) for a, b in zip((*halves, *singles), exact, strict=True))]
    for a, b in pairs:
        np.testing.assert_allclose(a.tolist(), b.to(a.dtype).tolist(), limit, limit * b.abs().max().item())


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16])
@pytest.mark.parametrize("loss", [F.soft_margin_loss, F.hinge_embedding_loss])
def test_losses_beside_targets_of_float32(loss, dtype):
    """They have the dtype of x, and are rounded once."""
    x = rv.tensor([0.3, -0.7, 1.2]).to(dtype).requires_grad_()
    z, target = x.detach().float().requires_grad_(), rv.tensor([1.0, -1.0, 1.0])
    y, exact = loss(x, target, reduction="none"), loss(z, target, reduction="none")
    y.sum().backward(), exact.sum().backward()
    assert y.dtype == x.grad.dtype == dtype
    assert y.tolist() == exact.to(dtype).tolist()
    assert x.grad.tolist() == z.grad.to(dtype).tolist()
    with rv.autocast("cpu"):
        assert loss(x, target).dtype == loss(z, target.to(dtype)).dtype == rv.float32


@pytest.mark.parametrize(
    ("dtype", "large"), [(rv.float16, 65520.0), (rv.bfloat16, 3.4e38), (rv.float32, 1e39)]
)
def test_numbers_that_a_dtype_cannot_hold(dtype, large):
    """They fill no tensor, as in PyTorch."""
    x, mask, at = rv.zeros(2, dtype=dtype), rv.tensor([True, False]), rv.tensor([0])
    for fill in (
        lambda number: rv.full((2,), number, dtype=dtype), lambda number: rv.full_like(x, number),
        lambda number: x.masked_fill(mask, number), lambda number: x.masked_fill_(mask, number),
        x.fill_, lambda number: x.index_fill(0, at, number),
    ):  # fmt: skip
        for number in (large, -large):
            with pytest.raises(RuntimeError, match="expected a number that"):
                fill(number)
        assert fill(rv.finfo(dtype).max)[0] == rv.finfo(dtype).max
        assert fill(-np.inf)[0] == -np.inf
    with pytest.raises(RuntimeError, match="expected a number that"):
        x.fill_(10**40)


MOVERS = {
    "cat": lambda x: rv.cat([x, x[:1], x], 0),
    "cat along columns": lambda x: rv.cat([x, x[:, :3]], 1),
    "copies of views": lambda x: x.mT.contiguous(),
    "embedding": lambda x: rv.nn.functional.embedding(rv.tensor([[4, 0], [1, 1]]), x),
    "expand": lambda x: x[:, None].expand(5, 3, 7).reshape(15, 7),
    "flip": lambda x: x.flip(0, 1),
    "gather": lambda x: x.gather(1, rv.tensor([[3, 3], [0, 6], [1, 2]])),
    "index_copy_": lambda x: x.clone().index_copy_(1, rv.tensor([5, 0]), x[:, 2:4].clone()),
    "index by a mask": lambda x: x[x > 0],
    "index_select": lambda x: x.index_select(1, rv.tensor([6, 0, 6])),
    "masked_select": lambda x: x.masked_select(x > 0),
    "one column": lambda x: x[:, 0][rv.tensor([4, 0, 2])],
    "repeat": lambda x: x.repeat(2, 3),
    "repeat_interleave": lambda x: x.repeat_interleave(3, 0),
    "roll": lambda x: x.roll((1, 2), (0, 1)),
    "rows": lambda x: x[rv.tensor([4, 0, -1])],
    "rows of 6 bytes": lambda x: x[:, :3].contiguous()[rv.tensor([4, 0, -1])],
    "rows of 24 bytes": lambda x: rv.cat([x, x[:, :5]], 1)[rv.tensor([4, 0, -1])],
    "scatter": lambda x: x.scatter(0, rv.tensor([[4, 0, 1]]), x[:1]),
    "setitem": lambda x: _set(x),
    "stack": lambda x: rv.stack([x, x], 1),
    "tril": rv.tril,
    "triu": rv.triu,
}


def _set(x):
    y = x.clone()
    y[:, rv.tensor([1, 5])] = x[:, :2]
    y[1:3] = x[:2]
    return y


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16])
@pytest.mark.parametrize("name", MOVERS)
def test_what_moves_halves_keeps_their_bits(name, dtype):
    """Also in a compiled step, and of subnormal numbers."""
    numbers = rv.randn(5, 7).to(dtype)
    numbers[0] = rv.arange(7).to(rv.int16).view(dtype)
    move, bits = MOVERS[name], lambda x: x.contiguous().view(rv.int16).tolist()
    exact = move(numbers.float())
    found = move(numbers)
    assert found.dtype == dtype
    assert bits(found) == bits(exact.to(dtype))
    if "mask" not in name:
        fast = rv.compile(move)
        assert all(bits(fast(numbers)) == bits(found) for _ in range(4))
