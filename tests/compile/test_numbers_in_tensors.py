"""Numbers that are Tensors of one element, in place of each number of each op: changed, then as eager."""

import math
import operator

import numpy as np
import pytest
import ranvier as rv
from compile.beside import outcome
from ranvier import nn, ops
from ranvier.compile import cache
from ranvier.nn import functional as F
from support.calls import OPS
from support.grouped import grouped

pytestmark = pytest.mark.filterwarnings("ignore")  # such steps run eagerly
ARRAYS = {
    "x": (4, 6), "y": (6,), "s": (2, 4, 12), "im": (2, 2, 8, 8), "im4": (1, 4, 4, 4), "m": (6, 6),
    "mm": (2, 6, 6), "k1": (3, 4, 2), "k2": (2, 2, 3, 3), "kt": (4, 2, 3),
}  # fmt: skip
WORDS = {
    "i": rv.tensor([0, 2, 1]), "ii": rv.tensor([[0, 1, 2, 3, 2, 1], [3, 2, 1, 0, 1, 2]]),
    "t": rv.tensor([0, 3, 2, 1]), "rv": rv, "F": F, "math": math, "operator": operator,
}  # fmt: skip
# The numbers before and after, and calls that are made with both.
ROWS = """
1 0 | F.softmax(x, n); x.cumsum(n); x.cummax(n)[0]; x.sum(n); x.sum((n,)); x.sum([n]); x.amin((n,))
1 0 | x.norm(dim=n); rv.var_mean(x, n)[0]; x.argmax(n); x.median(n)[0]; x.mode(n)[0]; x.count_nonzero(n)
1 0 | (x > 0).all(n); x.sort(n)[0]; x.argsort(n); x.topk(2, n)[0]; x.quantile(0.3, n); rv.aminmax(x, dim=n)[0]
1 0 | x.renorm(2, n, 1); rv.cat([x, x], n); rv.stack([x, x], n); x.unbind(n)[0]; x.chunk(2, n)[0]
1 0 | x.split(2, n)[0]; x.diff(dim=n); x.flip(n); x.flip([n]); rv.flip(x, (n,)); x.roll(1, n)
1 0 | rv.roll(x, (1,), (n,)); x[:1].squeeze(n); x * x.size(n); x.index_select(n, i); x.gather(n, ii)
1 0 | x.scatter(n, ii, 1.0); x.index_fill(n, i, 2.0); x.unfold(n, 2, 1)
0 2 | s.transpose(n, 1); s.movedim(n, 1); s.permute(n, 1, 2 - n); s.permute((n, 1, 2 - n)); s.flatten(0, n)
1 2 | x.roll(n, 1); x.roll((n,), 1); x.roll([n, 1], [0, 1]); x.tril(n); x.triu(n); x.diagonal(n); x.diag(n)
1 2 | rv.diag_embed(x, n); x.rot90(n); x.narrow(1, n, 2); x.narrow(1, 1, n); x.select(1, n); x.topk(n)[0]
1 2 | x.kthvalue(n)[0]; x.unfold(1, n, 1); x.unfold(1, 1, n); x.repeat(n, 1); x.tile((n, 1)); x.diff(n)
1 2 | x.repeat_interleave(n); rv.combinations(y, n); m.matrix_power(n); rv.tensordot(m, m, n)
1 2 | x.round(decimals=n)
2 3 | x[:, :3].expand(n, 4, 3); rv.broadcast_to(x, (n, 4, 6)); x.view(n, -1); x.reshape((n, -1))
2 3 | x.chunk(n, 1)[0]; x.unflatten(1, (n, -1)); x.split(n, 1)[0]; x.split([n, 6 - n], 1)[1]
2 3 | rv.tensor_split(x, (n,), 1)[0]
1 2 | x[n]; x[n:]; x[:n]; x[::n]; x[:, n]; x[n, 1:]; x[..., n]; x[n, None]; x[n, n]; x[[n, 0]]; x[[0, 1], n]
1 2 | x[i, n]; put(x, n); put(x, (n, 0)); put(x, slice(n)); put(x, (i, n)); put(x, [n, 0]); x.take(n)
2 3 | rv.zeros(n); rv.zeros((n, 2)); rv.full((n,), 1.0); rv.full((2,), n); rv.arange(n); rv.arange(0, 9, n)
2 3 | rv.linspace(0, n, 3); rv.linspace(0, 1, n); rv.logspace(0, 1, n); rv.eye(3, n); rv.randn(n)
2 3 | rv.rand((n, 2)); rv.randint(n, (5,)); rv.randint(0, 9, (n,)); rv.randperm(n); x.new_zeros(n)
2 3 | x.new_full((2,), n); rv.ones(n); rv.full_like(x, n); rv.tensor([n, 2]); rv.tensor(n); rv.as_tensor([n])
2 3 | rv.Tensor([n, 2]); rv.tril_indices(n, 3)
.5 .25 | F.dropout(x, n); F.alpha_dropout(x, n, True); F.dropout2d(im, n); F.gumbel_softmax(x, n); F.elu(x, n)
.5 .25 | F.leaky_relu(x, n); F.softplus(x, n); F.hardtanh(x, -n, n); F.threshold(x, 0.1, n)
.5 .25 | F.rrelu(x, 0.1, n, True); F.smooth_l1_loss(x, -x, beta=n); F.huber_loss(x, -x, delta=n)
.5 .25 | F.cross_entropy(x, t, label_smoothing=n); F.triplet_margin_loss(x, -x, x * 2, margin=n)
.5 .25 | F.gaussian_nll_loss(x, -x, x * 0, eps=n); x.clamp(-n, n); F.normalize(x, eps=20 * n)
.5 .25 | F.layer_norm(x, (6,), eps=n); F.group_norm(s, 2, eps=n); F.pad(x, (1, 1), value=n)
.5 .25 | F.batch_norm(x, None, None, training=True, eps=n); F.scaled_dot_product_attention(s, s, s, scale=n)
.5 .25 | F.interpolate(s, scale_factor=4 * n); F.interpolate(im, scale_factor=(4 * n, 2.0)); x.add(x, alpha=n)
.5 .25 | x.clone().add_(x, alpha=n); rv.baddbmm(mm, mm, mm, alpha=n); rv.addcmul(x, x, x, value=n)
.5 .25 | rv.lerp(x, -x, n); x.masked_fill(x > 0, n); x.clone().fill_(n); rv.where(x > 0, n, x)
.5 .25 | rv.quantile(x, n); x.norm(4 * n); rv.cdist(x, -x, p=4 * n); rv.isclose(x, x + 0.3, 0, n)
.5 .25 | x.bernoulli(n); x.clone().uniform_(0, n); x.clone().normal_(n, 1.0); x.clone().exponential_(n)
.5 .25 | rv.normal(0.0, n, (3,)); rv.histc(x, 4, -n, n)
1 2 | F.one_hot(t, n + 4); F.pixel_shuffle(im4, n); F.unfold(im, (n, 2)); F.pad(x, (n, 1)); F.pad(x, [0, n])
1 2 | F.max_pool1d(s, n); F.max_pool1d(s, 2, dilation=n); F.avg_pool1d(s, 2, n); F.max_pool2d(im, (n, 2))
1 2 | F.glu(s, n); F.avg_pool2d(im, 2, divisor_override=n); F.adaptive_avg_pool1d(s, n)
1 2 | F.adaptive_max_pool2d(im, (2, n)); F.conv1d(s, k1, stride=n); F.conv2d(im, k2, padding=(0, n))
1 2 | F.conv2d(im, k2, dilation=n); F.group_norm(s, n); F.conv_transpose1d(s, kt, stride=3, output_padding=n)
1 2 | F.interpolate(im, (n, 3)); F.nll_loss(x, t, ignore_index=n); x.std(correction=n); rv.linalg.norm(x, n)
1 2 | rv.linalg.vector_norm(x, dim=n - 1); rv.multinomial(x.abs(), n); x * range(9)[n]; x * [1.0, 2.0, 3.0][n]
1 2 | sum([x for _ in range(n)]); x * int(n); x * float(n); x * n.tolist(); x if n > 1 else -x
1 2 | x * {1: 2.0, 2: 3.0}[int(n)]; x * math.sqrt(n); x * operator.index(n); x * float(f"{n:d}")
1 2 | x * max(1.5, n); x * (3 in n.reshape(1) + 1); x * math.floor(n); x * complex(n).real
1 2 | x * any([n - 1, 0]); x * "abc".find("abc"[n]); x * len(bytes(n)); x * n.numpy(); x * n ** 2; x ** n
1 2 | x * -n; x * (n > 1); t << n
"""
CALLS = [
    (call.strip(), *map(eval, row.partition(" | ")[0].split()))
    for row in ROWS.strip().splitlines()
    for call in row.partition(" | ")[2].split(";")
]


def put(x, key):
    x = x.clone()
    x[key] = 9.0
    return x


def seeded(step, *args):
    rv.manual_seed(1)
    return outcome(step, *args)


def judged(step, n, before, after):
    """Whether the step shows another result after the change; a replay has to show it, too."""
    expected = [seeded(step, n.fill_(number)) for number in (before, after)]
    cache._unpaid.clear()  # of functions of the same code
    n.fill_(before)
    fast = rv.compile(step)
    assert [seeded(fast, n) for _ in range(4)] == 4 * expected[:1]
    assert seeded(fast, n.fill_(after)) == expected[1]
    return expected[0] != expected[1]


def words():
    rv.manual_seed(0)
    return {**WORDS, "put": put, **{name: rv.randn(shape) * 2 for name, shape in ARRAYS.items()}}


@pytest.mark.parametrize("several", [False, True])
@grouped(("call", "before", "after"), CALLS)
def test_as_eager(call, before, after, several):
    """several: the Tensor has a dimension, of length 1; not all take that."""
    n = rv.tensor([before] if several else before)
    step = eval(f"lambda _: {call}", {**words(), "n": n})
    assert judged(step, n, before, after) or several


class Numbered(nn.Module):
    """A module whose forward pass is a call."""

    def __init__(self, call, n):
        super().__init__()
        self.linear, self.n = nn.Linear(6, 6), n
        type(self).forward = eval(f"lambda self, x: [n := self.n, self.linear(x), {call}][2]", words())


@pytest.mark.usefixtures("replayed_soon")
@grouped(("call", "before", "after"), [row for row in CALLS if "x" in row[0] and "for" not in row[0]][::4])
def test_as_eager_where_a_module_is_replayed(call, before, after):
    n, x = rv.tensor(before), words()["x"]
    model = type("Numbered", (Numbered,), {})(call, n)
    with rv.no_grad():
        for _ in range(24):
            seeded(model, x)
        n.fill_(after)
        assert seeded(model, x) == seeded(model.forward, x)


def numbers_in(value, put=lambda n: n):
    """(the number, a function that gives the value with another one in its place) of each in a value."""
    if type(value) in (int, float):
        yield value, put
    elif isinstance(value, tuple):
        for i, part in enumerate(value):
            yield from numbers_in(part, lambda n, i=i: put((*value[:i], n, *value[i + 1 :])))


def tensors(x):
    if isinstance(x, (list, tuple)):
        return type(x)(map(tensors, x))
    return rv.tensor(x) if isinstance(x, np.ndarray) else x


def step_of(op, given):
    args = [given.pop(at) for at in sorted(key for key in given if isinstance(key, int))]
    return lambda _: op(*args, **given)


@pytest.mark.parametrize("name", OPS)
def test_each_number_of_each_op(name):
    args, settings = OPS[name]
    given = dict(enumerate(args)) | settings
    for key, value in given.items():
        for number, put_in in numbers_in(value):
            n = rv.tensor(number)
            step = step_of(getattr(ops, name), {k: tensors(v) for k, v in (given | {key: put_in(n)}).items()})
            for other in (number + 1, number - 1, 0):
                judged(step, n, number, other)
