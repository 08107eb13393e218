"""Training steps of many networks at once: ``python -m benchmarks.training.many_networks [-k small]``.

Each member has its own batch of 32 and plain SGD. ranvier: `rv.func.stack` and a compiled step, with one
optimizer for all ("joint") and with one for each ("split"). JAX: jit of vmap. PyTorch: baddbmm, for images
convolutions with a group for each member. One process for each library, in turns; the time is the shortest of
a turn, its median over the turns, in us a member. All begin with the same weights, and their losses after
some steps are compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers.turns import InTurns, answer, arguments, medians

Array = np.ndarray[Any, Any]
BATCH, RATE, CHECKED = 32, 0.05, 5
# members, shape of a sample, units of the layers (images: LeNet), activation
CASES: dict[str, tuple[int, tuple[int, ...], tuple[int, ...], str]] = {
    "20-32-2": (100, (20,), (20, 32, 2), "relu"),
    "784-64-10": (64, (784,), (784, 64, 10), "relu"),
    "4-16-16-1": (256, (4,), (4, 16, 16, 1), "tanh"),
    "lenet": (32, (1, 28, 28), (400, 120, 84, 10), "relu"),
}
FILTERS = [(6, 1, 5, 5), (16, 6, 5, 5)]
LIBRARIES = ("joint", "split", "jax", "torch")


def data(case: str) -> tuple[list[Array], Array, Array]:
    """Weights and biases of all members, (members, outputs, inputs) and (members, outputs); x; y."""
    members, shape, units, _ = CASES[case]
    rng = np.random.default_rng(0)
    shapes: list[tuple[int, ...]] = FILTERS if case == "lenet" else []
    shapes = [*shapes, *[(b, a) for a, b in itertools.pairwise(units)]]
    weights = []
    for s in shapes:
        scale = np.sqrt(2 / np.prod(s[1:]))
        weights += [rng.standard_normal((members, *s)) * scale, np.zeros((members, s[0]))]
    x = rng.standard_normal((members, BATCH, *shape)).astype(np.float32)
    labels = rng.integers(0, units[-1], (members, BATCH))
    y = labels if units[-1] > 1 else rng.standard_normal((members, BATCH, 1)).astype(np.float32)
    return [w.astype(np.float32) for w in weights], x, y


def ranvier_step(case: str, split: bool) -> Callable[[], Any]:
    import ranvier as rv
    from ranvier import nn

    members, _, units, activation = CASES[case]
    weights, x, y = data(case)
    kind = nn.ReLU if activation == "relu" else nn.Tanh

    def network(i: int) -> nn.Module:
        layers: list[nn.Module] = []
        if case == "lenet":
            layers = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)]
            layers += [nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
        for a, b in itertools.pairwise(units):
            layers += [nn.Linear(a, b), kind()]
        model = nn.Sequential(*layers[:-1])
        with rv.no_grad():
            for p, w in zip(model.parameters(), weights, strict=True):
                p.copy_(w[i])
        return model

    many = rv.func.stack([network(i) for i in range(members)], split=split)
    optimizers = [rv.optim.SGD(m.parameters(), lr=RATE) for m in (many.members if split else [many])]
    loss = nn.functional.mse_loss if units[-1] == 1 else nn.functional.cross_entropy

    @rv.compile
    def step(x: Any, y: Any) -> Any:
        for optimizer in optimizers:
            optimizer.zero_grad()
        losses = rv.vmap(loss)(many(x), y)
        losses.sum().backward()
        for optimizer in optimizers:
            optimizer.step()
        return losses

    inputs = rv.tensor(x), rv.tensor(y)
    return lambda: step(*inputs)


def jax_step(case: str) -> Callable[[], Any]:
    import jax
    import jax.numpy as jnp

    _, _, units, activation = CASES[case]
    weights, x, y = data(case)
    function = jax.nn.relu if activation == "relu" else jnp.tanh

    def logits(p: Any, x: Any) -> Any:
        if case == "lenet":
            for i, pad in enumerate(("SAME", "VALID")):
                x = jax.lax.conv_general_dilated(x, p[2 * i], (1, 1), pad) + p[2 * i + 1][:, None, None]
                x = jax.lax.reduce_window(
                    jax.nn.relu(x), -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID"
                )
            x, p = x.reshape(len(x), -1), p[4:]
        for i in range(0, len(p), 2):
            x = x @ p[i].T + p[i + 1]
            x = function(x) if i + 2 < len(p) else x
        return x

    def loss(p: Any, x: Any, y: Any) -> Any:
        z = logits(p, x)
        if units[-1] == 1:
            return ((z - y) ** 2).mean()
        return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1).mean()

    def one(p: Any, x: Any, y: Any) -> Any:
        value, gradient = jax.value_and_grad(loss)(p, x, y)
        return [w - RATE * g for w, g in zip(p, gradient, strict=True)], value

    step = jax.jit(jax.vmap(one), donate_argnums=0)
    state, inputs = [jnp.asarray(w) for w in weights], (jnp.asarray(x), jnp.asarray(y))

    def run() -> Any:
        nonlocal state
        state, losses = step(state, *inputs)
        return losses.block_until_ready()

    return run


def torch_step(case: str) -> Callable[[], Any]:
    import torch
    from torch.nn import functional as F

    members, _, units, activation = CASES[case]
    arrays, x, y = data(case)
    weights = [torch.from_numpy(w).requires_grad_() for w in arrays]
    inputs, targets = torch.from_numpy(x), torch.from_numpy(y)
    function = torch.relu if activation == "relu" else torch.tanh

    def run() -> Any:
        z, p = inputs, weights
        if case == "lenet":
            z = z.transpose(0, 1).reshape(BATCH, members, 28, 28)
            for i, pad in enumerate((2, 0)):
                z = F.conv2d(z, p[2 * i].flatten(0, 1), p[2 * i + 1].flatten(), padding=pad, groups=members)
                z = F.max_pool2d(F.relu(z), 2)
            z, p = z.reshape(BATCH, members, -1).transpose(0, 1), p[4:]
        for i in range(0, len(p), 2):
            z = torch.baddbmm(p[i + 1][:, None], z, p[i].transpose(1, 2))
            z = function(z) if i + 2 < len(p) else z
        if units[-1] == 1:
            losses = ((z - targets) ** 2).mean((1, 2))
        else:
            losses = (
                F.cross_entropy(z.flatten(0, 1), targets.flatten(), reduction="none")
                .view(members, -1)
                .mean(1)
            )
        gradients = torch.autograd.grad(losses.sum(), weights)
        with torch.no_grad():
            torch._foreach_add_(weights, gradients, alpha=-RATE)
        return losses.detach()

    return run


def work(library: str) -> None:
    makers = {"jax": jax_step, "torch": torch_step}
    make = makers.get(library, lambda case: ranvier_step(case, library == "split"))
    answer(make, CHECKED, lambda case: CASES[case][0])


def main() -> None:
    settings = arguments(__doc__, LIBRARIES, 2.0)
    if settings.worker:
        return work(settings.worker)
    print(f"| networks, batch 32 | threads | {' | '.join(settings.libraries)} |")
    print("|---|" + "---|" * (len(settings.libraries) + 1))
    for threads in settings.threads:
        module = "benchmarks.training.many_networks"
        processes = [InTurns(module, name, threads) for name in settings.libraries]
        for case in (name for name in CASES if settings.part in name):
            row = " | ".join(f"{1e6 * t:.2f}" for t in medians(processes, case, settings, rtol=2e-4))
            print(f"| {CASES[case][0]} x {case} | {threads} | {row} |", flush=True)
        for process in processes:
            process.close()


if __name__ == "__main__":
    main()
