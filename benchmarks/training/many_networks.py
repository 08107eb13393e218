"""Training steps of many networks at once: ``python -m benchmarks.training.many_networks [-k small]``.

Each member has its own batch of 32 and plain SGD. ranvier: `rv.func.stack` and a compiled step, with one
optimizer for all ("joint") and with one for each ("split"). JAX: jit of vmap. PyTorch: baddbmm, for images
convolutions with a group for each member. One process for each library, in turns; the time is the shortest of
a turn, its median over the turns, in us a member. All begin with the same weights, and their losses after
some steps are compared.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.peers.turns import InTurns

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
    """Answers questions, (case, seconds): the losses after some steps, and the shortest time of one."""
    steps: dict[str, Callable[[], Any]] = {}
    for line in sys.stdin:
        case, seconds = json.loads(line)
        losses = None
        if case not in steps:
            make = {"jax": jax_step, "torch": torch_step}.get(library)
            steps[case] = make(case) if make else ranvier_step(case, library == "split")
            for _ in range(CHECKED):
                losses = np.asarray(steps[case]()).tolist()
        best, end = float("inf"), time.perf_counter() + seconds
        while time.perf_counter() < end:
            start = time.perf_counter()
            steps[case]()
            best = min(best, time.perf_counter() - start)
        print(json.dumps([losses, best]), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("-k", dest="part", default="", help="only cases whose name has this in it")
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn")
    settings = parser.parse_args()
    if settings.worker:
        return work(settings.worker)
    print("| networks, batch 32 | threads | joint | split | JAX vmap | PyTorch baddbmm | best peer / ours |")
    print("|---|---|---|---|---|---|---|")
    for threads in settings.threads:
        processes = [InTurns("benchmarks.training.many_networks", name, threads) for name in LIBRARIES]
        for case in (name for name in CASES if settings.part in name):
            members, times = CASES[case][0], []
            first = [process.ask(case, settings.seconds) for process in processes]  # records and compiles
            for losses, _ in first[1:]:
                np.testing.assert_allclose(losses, first[0][0], rtol=2e-4)
            for _ in range(settings.rounds):
                times.append(
                    [1e6 * process.ask(case, settings.seconds)[1] / members for process in processes]
                )
            ours, split, *peers = (statistics.median(column) for column in zip(*times, strict=True))
            ratio = min(peers) / min(ours, split)
            row = " | ".join(f"{t:.2f}" for t in (ours, split, *peers))
            print(f"| {members} x {case} | {threads} | {row} | {ratio:.2f} |", flush=True)
        for process in processes:
            process.close()


if __name__ == "__main__":
    main()
