"""Ops in a small training step: a replay has the bits of the eager step, or CaptureError names the line."""

import numpy as np
import pytest
import ranvier as rv
from compile.beside import same
from compile.test_every_layer import given, judged, maker, rows
from ranvier import distributions as D
from ranvier import nn
from ranvier.nn import functional as F


def attention(x):
    q, k, v = x.reshape(2, 6, 2).chunk(3, dim=1)
    scores = q @ k.transpose(-1, -2) / 2**0.5
    hidden = rv.triu(rv.ones(2, 2), 1) > 0
    return rv.softmax(scores.masked_fill(hidden, float("-inf")), -1) @ v


OPS = {
    "cat": lambda x: rv.cat([x, x * 2], 1),
    "stack": lambda x: rv.stack([x, -x], 1),
    "split": lambda x: x.split(2, 1)[1] * x.split(2, 1)[0],
    "chunk": lambda x: x.chunk(2)[1].exp(),
    "unbind": lambda x: x.unbind(0)[1] * x[0],
    "pad": lambda x: rv.pad(x, (1, 2), value=0.5),
    "slice": lambda x: x[1:, ::2],
    "one element": lambda x: x[1, 2] * x,
    "rows by a list": lambda x: x[[0, 2, 2]],
    "elements by lists": lambda x: x[[0, 1], [1, 1]],
    "where": lambda x: rv.where(x > 0, x, 0.1 * x),
    "where numbers": lambda x: rv.where(x > 0, x, 0.5) + rv.where(x > 0, 1.0, x),
    "masked_fill": lambda x: x.masked_fill(x < 0, 0.25),
    "float mask": lambda x: x * (x > 0).float(),
    "clamp": lambda x: x.clamp(-1, 1),
    "maximum": lambda x: rv.maximum(x, -x),
    "max": lambda x: x.max() * x,
    "max along": lambda x: x.max(1).values,
    "min along": lambda x: x.min(dim=0).values,
    "amax": lambda x: x.amax((0, 1)) * x,
    "argmax": lambda x: x.gather(1, x.argmax(1, keepdim=True)),
    "mean": lambda x: x - x.mean(1, keepdim=True),
    "var": lambda x: x / (x.var(1, keepdim=True) + 1).sqrt(),
    "std": lambda x: x.std(),
    "norm": lambda x: x / x.norm(dim=1, keepdim=True),
    "norm 1": lambda x: x.norm(1, dim=1),
    "norm inf": lambda x: x.norm(float("inf")),
    "norm 3": lambda x: x.norm(3, dim=1),
    "softmax": lambda x: rv.softmax(x, 1),
    "logsumexp": lambda x: rv.logsumexp(x, 1),
    "attention": attention,
    "einsum": lambda x: rv.einsum("ij,kj->ik", x, x) / 20,
    "matmul": lambda x: x @ x.T / 20,
    "bmm": lambda x: x.reshape(2, 2, 6) @ x.reshape(2, 6, 2),
    "cumsum": lambda x: x.cumsum(1),
    "cumprod": lambda x: x.cumprod(1),
    "prod": lambda x: x.prod(1),
    "sort": lambda x: x.sort(1).values * rv.arange(6),
    "topk": lambda x: x.topk(2, 1).values,
    "median": lambda x: x.median(1).values,
    "kthvalue": lambda x: x.kthvalue(2, 1).values,
    "tril": lambda x: x.tril(),
    "triu": lambda x: x.triu(1),
    "diagonal": lambda x: x.diagonal(),
    "flip": lambda x: x.flip(1) * rv.linspace(0, 1, 6),
    "roll": lambda x: x.roll(2, 1) * x,
    "repeat": lambda x: x.repeat(2, 1) * 2,
    "repeat_interleave": lambda x: x.repeat_interleave(2, dim=0),
    "expand": lambda x: x[:1].expand(3, 6) * 2,
    "permute": lambda x: x.T.reshape(3, 8),
    "unsqueeze": lambda x: x.unsqueeze(1).squeeze(1),
    "power": lambda x: (x.abs() ** 1.5 + x**2 + x**3) / 20,
    "number first": lambda x: 1 - x + 1 / (x * x + 1) + 2 ** (x * 0.1),
    "numpy number": lambda x: x * np.float32(0.5) + np.float64(1.5),
    "functions": lambda x: x.exp().log1p() + x.sin() * x.cos() + x.abs().sqrt(),
    "sum of several": lambda x: (x * x).sum() + x.abs().mean(),
    "clone": lambda x: x.clone() + x.contiguous(),
    "double": lambda x: x.double().float() * 2,
    "to and fro": lambda x: (x.double() * 3).sum().float() * x,
    "new_zeros": lambda x: x + rv.zeros(4, 6) + rv.ones_like(x) + rv.full((6,), 0.5),
    "eye": lambda x: x[:, :4] @ rv.eye(4),
    "state in place": lambda x: rv.zeros(4, 6).add_(x).mul_(2),
    "setitem": lambda x: put(x),
    "setitem onto itself": lambda x: put_onto_itself(x),
    "changed after its last use": lambda x: changed_afterwards(x),
    "setitem by a mask": lambda x: put_at_mask(x),
    "data": lambda x: x * x.data,
    "isfinite": lambda x: x * rv.isfinite(x).float(),
    "detach": lambda x: x * x.detach(),
    "noise": lambda x: x + 0.1 * rv.randn(4, 6) + rv.rand_like(x),
    "scatter": lambda x: rv.scatter(x, 1, x.argmax(1, keepdim=True), 1.0),
    "scatter_add": lambda x: rv.scatter_add(x, 1, x.argmin(1, keepdim=True), x[:, :1]),
    "cosine": lambda x: nn.functional.cosine_similarity(x, x.roll(1, 0)),
    "interpolate": lambda x: nn.functional.interpolate(
        x.reshape(1, 1, 4, 6), scale_factor=2, mode="bilinear"
    ),
    "unfold by views": lambda x: rv.stack([x[:, i : i + 3] for i in range(4)], 1),
    "dropout": lambda x: nn.functional.dropout(x, 0.5),
    "atan2": lambda x: rv.atan2(x, 2.0),
    "addmm": lambda x: rv.addmm(x, x, rv.eye(6)),
    "kron": lambda x: rv.kron(x, x),
    "lerp": lambda x: rv.lerp(x, 1.0, 0.3),
    "logaddexp": lambda x: rv.logaddexp(x, 0.0),
    "rsqrt": lambda x: rv.rsqrt(x * x),
    "sinh": lambda x: x.sinh(),
    "flatten": lambda x: nn.Flatten()(x.reshape(1, 2, 3, 4).to(memory_format=rv.channels_last)),
    "qr": lambda x: sum(part.sum() for part in rv.linalg.qr(x)),
    "svd": lambda x: sum((part**2 + part).sum() for part in rv.linalg.svd(x[:3, :3])),
    "eigh": lambda x: rv.linalg.eigh(x @ x.T)[1].square().cumsum(1).sum(),
    "pinv": lambda x: rv.linalg.pinv(x[:, :4] + 3 * rv.eye(4)),
    "two dropouts": lambda x: nn.functional.dropout(nn.functional.dropout(x, 0.2), 0.3),
}


def put(x):
    y = rv.zeros(4, 6)
    y[1:3, 2] = x[0, :2]
    y[0] = 0.5
    y[:, 0] = x.mean(1)
    return y * x


def put_onto_itself(x):
    y = x.detach().clone()
    y[1:] = y[:3]
    y[:, 2] = y[:, 2]
    y.copy_(y.flip(0))
    return x * y


def changed_afterwards(x):
    y = x.detach() * 2
    z = x * y.tanh()
    y.mul_(0.3)
    return z


def put_at_mask(x):
    y = x.detach().clone()
    y[y < 0] = 0.5
    return x * y


def labelled(rng):
    return [rng.uniform(-2, 2, (4, 6)), rng.integers(0, 6, 4)]


WITH_LABELS = {
    "ctc_loss": lambda x, y: F.ctc_loss(x[:, None].log_softmax(2), y[None, :2] % 5 + 1, (4,), (2,)),
    "index by a tensor": lambda x, y: x[:, y],
    "index by two tensors": lambda x, y: x[rv.arange(4), y] + x[y - 4 * (y > 3), y - 6],
    "index by a list and a tensor": lambda x, y: x[[0, 1, 2, 3], y],
    "gather": lambda x, y: x.gather(1, y.reshape(4, 1)),
    "take_along_dim": lambda x, y: rv.take_along_dim(x, y.reshape(4, 1), 1),
    "index_select": lambda x, y: rv.index_select(x, 1, y),
    "a small integer": lambda x, y: x * y.int().float().mean(),
    "index_add": lambda x, y: rv.index_add(x, 1, y, x[:, :4]),
    "float labels": lambda x, y: nn.functional.mse_loss(x.sum(1), y),
    "smoothed": lambda x, y: nn.functional.cross_entropy(x, y, label_smoothing=0.1),
    "weighted": lambda x, y: nn.functional.cross_entropy(x, y, weight=[1.0, 2.0, 3.0, 1.0, 1.0, 2.0]),
    "one_hot": lambda x, y: nn.functional.cross_entropy(x, nn.functional.one_hot(y, 6).float()),
    "right ones": lambda x, y: nn.functional.cross_entropy(x, y) * (x.argmax(1) == y).float().mean(),
    "count of right ones": lambda x, y: nn.functional.cross_entropy(x, y) * (x.argmax(1) == y).sum(),
    "mask of labels": lambda x, y: x.masked_fill((y > 2).reshape(4, 1), 0.0),
    "mask of both": lambda x, y: x * ((x > 0) & (y > 2).reshape(4, 1)).float(),
    "nll": lambda x, y: nn.functional.nll_loss(x, y),  # of log_softmax: test_fusions.py
    "embedding": lambda x, y: nn.functional.embedding(y, x.T),
}


@pytest.mark.parametrize("name", [*OPS, *WITH_LABELS])
def test_ops(name):
    op = {**OPS, **WITH_LABELS}[name]
    judged(lambda: op, labelled if name in WITH_LABELS else rows)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32"])
def test_labels_of_any_integer_dtype(dtype):
    judged(nn.CrossEntropyLoss, lambda rng: [(x := labelled(rng))[0], x[1].astype(dtype)])


NO = {"validate_args": False}
OF_THREE = D.Categorical(logits=rv.tensor([0.5, -1.0, 2.0]))
DISTRIBUTIONS = {  # that draw, or whose parameters are not checked
    "Normal": lambda x, y: D.Normal(x, F.softplus(x) + 0.1, **NO).log_prob(0.5 * x),
    "Uniform": lambda x, y: D.Uniform(x - 2, x + 2, **NO).rsample() * x,
    "samples": lambda x, y: D.Normal(x, F.softplus(x) + 0.1, **NO).rsample() * x,
    "entropy, lazily": lambda x, y: OF_THREE.log_prob(rv.tensor([1])) * x + OF_THREE.entropy(),
    "divergence": lambda x, y: D.kl_divergence(D.Normal(x, 1.0, **NO), D.Normal(2 * x, 2.0, **NO)),
    "Categorical": lambda x, y: D.Categorical(logits=x, **NO).log_prob(y),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions(name):
    judged(lambda: DISTRIBUTIONS[name], labelled, lambda p: rv.optim.SGD(p, lr=1e-4))


REFUSED = {
    "a mask picks": lambda x, y: x[x > 0].sum(),
    "masked_select": lambda x, y: rv.masked_select(x, x > 0),
    "nonzero": lambda x, y: x * len(rv.nonzero(x > 0)),
    "where alone": lambda x, y: x * len(rv.where(x > 0)[0]),
    "one number as an index": lambda x, y: x[y[0]],
    "classes not given": lambda x, y: x * nn.functional.one_hot(y).float()[:, :1],
    "a value": lambda x, y: x * x.detach().sum().item(),
    "a condition": lambda x, y: x if x.detach().sum() > 0 else -x,
    "numpy()": lambda x, y: x * x.detach().numpy().mean(),
    "a metric": lambda x, y: x * rv.metrics.accuracy_score(y, y),
    "isnan": lambda x, y: x if rv.isnan(x).any() else -x,
    "multinomial": lambda x, y: rv.multinomial(rv.exp(x.detach()), 2) * x[:, :2],
    "quantile": lambda x, y: rv.quantile(x, 0.3),
    "unique": lambda x, y: rv.unique(x.detach()).sum() * x,
    "a new seed": lambda x, y: [rv.manual_seed(1), x][1],
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_line(name):
    with pytest.raises(rv.CaptureError, match=r"test_every_op\.py:\d+"):
        same(maker(lambda: REFUSED[name]), given(labelled))
