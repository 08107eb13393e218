"""Eager calls that programs make most, as text: the same for ranvier and PyTorch.

`t` is the library, `F` its functional part, `D` its distributions. The other names are those of `operands`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

SIZES = {"1": (1, 1), "64": (1, 64), "64x64": (64, 64), "256x256": (256, 256)}

# by kind: the calls of the four sizes
CALLS: dict[str, tuple[str, ...]] = {
    "making": (
        "t.zeros(shape)",
        "t.ones(shape)",
        "t.full(shape, 0.5)",
        "t.empty(shape)",
        "t.zeros_like(x)",
        "t.arange(length)",
        "t.linspace(0, 1, length)",
        "t.rand(shape)",
        "t.randn(shape)",
        "t.randint(0, 10, shape)",
        "t.randperm(length)",
        "t.tensor(rows)",
        "t.as_tensor(array)",
        "t.from_numpy(array)",
    ),
    "views and copies": (
        "x.view(-1)",
        "x.reshape(-1)",
        "x.unsqueeze(0)",
        "x.squeeze()",
        "x.t()",
        "x.transpose(0, 1)",
        "x.permute(1, 0)",
        "x.expand(2, *shape)",
        "x.flatten()",
        "x.diagonal()",
        "x.chunk(2, 1)",
        "x.split(1)",
        "x.unbind(1)",
        "x.detach()",
        "x.numpy()",
        "x.clone()",
        "x.contiguous()",
        "x.to(t.float64)",
        "x.float()",
        "z.copy_(x)",
        "x.repeat(2, 1)",
        "x.roll(1, 0)",
        "x.tril()",
    ),
    "indices": (
        "x[0]",
        "x[:, 0]",
        "x[..., :-1]",
        "x[index]",
        "x[mask]",
        "x.gather(1, places)",
        "x.index_select(0, index)",
        "x.masked_fill(mask, 0.0)",
        "z.scatter_add(1, places, x)",
        "t.where(mask, x, y)",
        "z.__setitem__(0, 1.0)",
        "x[0, 0].item()",
        "F.one_hot(labels, 10)",
    ),
    "elementwise": (
        "x + y",
        "x * 2.0",
        "x / y",
        "x - 1",
        "1 - x",
        "-x",
        "x ** 2",
        "x % 0.3",
        "z.add_(1.0)",
        "z.mul_(0.999)",
        "z.lerp_(y, 0.01)",
        "x.exp()",
        "x.log()",
        "x.sqrt()",
        "x.abs()",
        "x.floor()",
        "x.clamp(0.2, 0.8)",
        "x.tanh()",
        "t.sigmoid(x)",
        "t.relu(x)",
        "F.softplus(x)",
        "t.min(x, y)",
        "x > y",
        "x == y",
        "~mask",
        "mask & mask",
        "t.isnan(x)",
    ),
    "reductions": (
        "x.sum()",
        "x.sum(-1)",
        "x.mean()",
        "x.mean(1, keepdim=True)",
        "x.max()",
        "x.max(1)",
        "x.argmax(1)",
        "x.std()",
        "x.var(0)",
        "x.norm()",
        "mask.any()",
        "mask.all()",
        "x.cumsum(1)",
        "x.logsumexp(1)",
        "x.sort(1)",
        "x.topk(1)",
        "labels.unique()",
        "t.searchsorted(ordered, x)",
        "t.allclose(x, x)",
    ),
    "joining": ("t.cat([x, y])", "t.cat([x, y], 1)", "t.stack([x, y])", "t.stack([x, y], 1)"),
    "products and layers": (
        "x @ w",
        "t.einsum('ij,kj->ik', x, y)",
        "t.cdist(x, y)",
        "F.linear(x, w, b)",
        "linear(x)",
        "F.softmax(x, -1)",
        "F.log_softmax(x, -1)",
        "F.layer_norm(x, (width,))",
        "F.dropout(x, 0.1)",
        "F.embedding(labels, w)",
        "F.mse_loss(x, y)",
        "F.smooth_l1_loss(x, y)",
        "F.cross_entropy(x, classes)",
        "F.binary_cross_entropy_with_logits(x, y)",
    ),
    "with gradients": (
        "g + y",
        "g * 2.0",
        "g.view(-1)",
        "g[0]",
        "g.detach()",
        "(g * y).sum().backward()",
        "(g.exp() + g.tanh()).mean().backward()",
        "F.mse_loss(g, y).backward()",
        "F.cross_entropy(g, classes).backward()",
        "t.cat([g, y]).sum().backward()",
        "g[index].sum().backward()",
        "F.softmax(g, -1).sum().backward()",
        "linear(g).sum().backward()",
        "t.autograd.grad((g * g).sum(), g)",
    ),
}

# calls of one size
WHOLE: dict[str, tuple[str, ...]] = {
    "networks, 4-64-64-2, 32 rows": (
        "no_grad(net, one)",
        "net(rows32)",
        "training_step(adam)",
        "training_step(sgd)",
        "adam.step()",
        "sgd.step()",
        "adam.zero_grad()",
        "t.nn.utils.clip_grad_norm_(net.parameters(), 1.0)",
        "list(net.parameters())",
        "net.state_dict()",
        "net.load_state_dict(state)",
        "net.train()",
        "polyak()",
        "next_batch()",
    ),
    "distributions": (
        "categorical(logits)",
        "normal(mean, scale)",
        "D.Normal(mean, scale)",
        "D.Normal(mean, scale).rsample()",
        "D.kl_divergence(D.Normal(mean, scale), D.Normal(0.0, 1.0)).sum()",
        "D.Bernoulli(logits=logits).sample()",
    ),
}

# random answers, and those whose memory holds anything
UNCOMPARED = {
    "t.empty(shape)",
    "t.rand(shape)",
    "t.randn(shape)",
    "t.randint(0, 10, shape)",
    "t.randperm(length)",
    "F.dropout(x, 0.1)",
    "z.add_(1.0)",
    "z.mul_(0.999)",
    "z.lerp_(y, 0.01)",
    "next_batch()",
    "categorical(logits)",
    "normal(mean, scale)",
    "D.Normal(mean, scale)",
    "D.Normal(mean, scale).rsample()",
    "D.Bernoulli(logits=logits).sample()",
    "training_step(adam)",
    "training_step(sgd)",
    "adam.step()",
    "sgd.step()",
    "polyak()",
    "net.train()",
    "adam.zero_grad()",
}


def operands(t: Any, shape: tuple[int, int]) -> dict[str, Any]:
    """The operands of calls of a size; numbers between .1 and .9."""
    rng = np.random.default_rng(0)
    height, width = shape
    array, other, weight = (
        rng.uniform(0.1, 0.9, size).astype(np.float32) for size in (shape, shape, (width, width))
    )
    x, y, w = (t.tensor(values) for values in (array, other, weight))
    linear = t.nn.Linear(width, width)
    with t.no_grad():
        linear.weight.copy_(w)
        linear.bias.copy_(w[0])
    return {
        "t": t,
        "F": t.nn.functional,
        "shape": shape,
        "width": width,
        "length": height * width,
        "array": array,
        "rows": array.tolist(),
        "x": x,
        "y": y,
        "w": w,
        "b": w[0].clone(),
        "z": y.clone(),
        "g": t.tensor(array, requires_grad=True),
        "mask": x > 0.5,
        "index": t.tensor(rng.permutation(height)),
        "places": t.tensor(rng.integers(0, width, shape)),
        "labels": t.tensor(rng.integers(0, min(width, 10), height)),
        "classes": t.tensor(rng.integers(0, width, height)),
        "ordered": t.linspace(0, 1, 64),
        "linear": linear,
    }


def whole_operands(t: Any) -> dict[str, Any]:
    """The operands of the calls in WHOLE."""
    rng = np.random.default_rng(0)
    functional = t.nn.functional
    nn = t.nn
    net, target = (
        nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
        for _ in range(2)
    )
    with t.no_grad():
        for parameter in (*net.parameters(), *target.parameters()):
            parameter.copy_(t.tensor(rng.normal(0, 0.3, tuple(parameter.shape)).astype(np.float32)))
    rows32 = t.tensor(rng.normal(size=(32, 4)).astype(np.float32))
    labels = t.tensor(rng.integers(0, 2, 32))
    functional.cross_entropy(net(rows32), labels).backward()
    adam = t.optim.Adam(net.parameters(), lr=1e-5)
    sgd = t.optim.SGD(net.parameters(), lr=1e-5, momentum=0.9)
    data = t.utils.data
    loader = data.DataLoader(data.TensorDataset(rows32.repeat(32, 1), labels.repeat(32)), batch_size=32)
    batches = iter(loader)
    distributions = t.distributions

    def no_grad(model: Any, one: Any) -> Any:
        with t.no_grad():
            return model(one)

    def training_step(optimizer: Any) -> Any:
        optimizer.zero_grad(set_to_none=False)
        loss = functional.cross_entropy(net(rows32), labels)
        loss.backward()
        optimizer.step()
        return loss

    def polyak() -> None:
        with t.no_grad():
            for theirs, ours in zip(target.parameters(), net.parameters(), strict=True):
                theirs.mul_(0.995).add_(ours, alpha=0.005)

    def next_batch() -> Any:
        nonlocal batches
        batch = next(batches, None)
        if batch is None:
            batches = iter(loader)
            batch = next(batches)
        return batch

    def categorical(logits: Any) -> Any:
        policy = distributions.Categorical(logits=logits)
        action = policy.sample()
        return policy.log_prob(action), policy.entropy()

    def normal(mean: Any, scale: Any) -> Any:
        policy = distributions.Normal(mean, scale)
        action = policy.sample()
        return policy.log_prob(action).sum(-1), policy.entropy().sum(-1)

    return {
        "t": t,
        "D": distributions,
        "net": net,
        "one": rows32[:1],
        "rows32": rows32,
        "adam": adam,
        "sgd": sgd,
        "state": {name: value.clone() for name, value in net.state_dict().items()},
        "no_grad": no_grad,
        "training_step": training_step,
        "polyak": polyak,
        "next_batch": next_batch,
        "categorical": categorical,
        "normal": normal,
        "logits": t.tensor([[0.1, 0.2, 0.3, 0.4]]),
        "mean": t.zeros(1, 4),
        "scale": t.ones(1, 4),
    }
