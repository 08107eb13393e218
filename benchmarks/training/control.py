"""PPO on CartPole beside PyTorch, JAX and NumPy: ``python -m benchmarks.training.control``.

update: us a minibatch of 64, of two networks 4-64-64 with tanh, all 160 minibatches of an update in one call
(JAX: one lax.scan; PyTorch: a loop). policy: us of the probabilities for one observation. cartpole: seconds
until the mean return is 475, of the program examples/45_ppo.py with its CartPole, whose agent is ours or
PyTorch's. One process for each library, in turns, on one thread; the times of update and policy are the
shortest. The environment needs all libraries.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.turns import InTurns

LIBRARIES = ("ranvier", "torch", "jax", "numpy")
SAMPLES, MINIBATCHES, BATCH = 1024, 160, 64


def ppo() -> Any:
    """examples/45_ppo.py as a module."""
    path = Path(__file__).parents[2] / "examples" / "45_ppo.py"
    spec = importlib.util.spec_from_file_location("ppo", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def data() -> tuple[list[Any], Any]:
    rng = np.random.default_rng(0)
    x, (old, *more) = rng.standard_normal((SAMPLES, 4)), rng.standard_normal((4, SAMPLES))
    arrays = [x, rng.integers(0, 2, SAMPLES), -0.7 + 0.1 * old, *more]
    order = np.concatenate([rng.permutation(SAMPLES) for _ in range(10)]).reshape(-1, BATCH)
    return [a if a.dtype == int else a.astype(np.float32) for a in arrays], order


class TorchAgent:
    """The agent of the example, in PyTorch."""

    def __init__(self, seed: int, p: Any) -> None:
        import torch
        from torch import nn

        torch.set_num_threads(1)
        torch.manual_seed(seed)
        self.torch, self.p = torch, p

        def network(outputs: int, gain: float) -> Any:
            layers = [nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, outputs)]
            for layer, size in zip(layers[::2], (2**0.5, 2**0.5, gain), strict=True):
                nn.init.orthogonal_(layer.weight, size)
                nn.init.zeros_(layer.bias)
            return nn.Sequential(*layers)

        self.actor, self.critic = network(2, 0.01), network(1, 1.0)
        self.parameters = [*self.actor.parameters(), *self.critic.parameters()]
        self.optimizer = torch.optim.Adam(self.parameters, lr=p.RATE, eps=1e-5, foreach=True)

    def right(self, x: Any) -> Any:
        with self.torch.no_grad():
            return self.torch.softmax(self.actor(self.torch.from_numpy(x)), 1).numpy()[:, 1]

    def judge(self, x: Any, actions: Any) -> list[Any]:
        t = self.torch
        with t.no_grad():
            log = t.log_softmax(self.actor(t.from_numpy(x[: len(actions)])), 1)
            chosen = log.gather(1, t.from_numpy(actions)[:, None])[:, 0]
            return [chosen.numpy(), self.critic(t.from_numpy(x))[:, 0].numpy()]

    def learn(self, arrays: Any, order: Any, rate: float) -> None:
        t, p = self.torch, self.p
        self.optimizer.param_groups[0]["lr"] = rate
        tensors = [t.from_numpy(a) for a in arrays]
        for rows in t.from_numpy(order):
            x, actions, old, advantage, returns, old_values = [a[rows] for a in tensors]
            log, values = t.log_softmax(self.actor(x), 1), self.critic(x)[:, 0]
            ratio = (log.gather(1, actions[:, None])[:, 0] - old).exp()
            a = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            policy = -t.minimum(a * ratio, a * ratio.clamp(1 - p.CLIP, 1 + p.CLIP)).mean()
            near = old_values + (values - old_values).clamp(-p.CLIP, p.CLIP)
            value = 0.5 * t.maximum((values - returns) ** 2, (near - returns) ** 2).mean()
            entropy = -(log.exp() * log).sum(1).mean()
            self.optimizer.zero_grad()
            (policy + p.VALUE * value - p.ENTROPY * entropy).backward()
            t.nn.utils.clip_grad_norm_(self.parameters, p.NORM)
            self.optimizer.step()


def jax_update(p: Any) -> Any:
    import jax
    import jax.numpy as jnp

    arrays, order = data()
    rng = np.random.default_rng(0)
    sizes = [(4, 64), (64, 64), (64, 2), (4, 64), (64, 64), (64, 1)]
    weights = [(rng.standard_normal(s).astype(np.float32) / s[0] ** 0.5, np.zeros(s[1], "f")) for s in sizes]

    def network(layers: Any, x: Any) -> Any:
        for w, b in layers[:2]:
            x = jnp.tanh(x @ w + b)
        return x @ layers[2][0] + layers[2][1]

    def loss(w: Any, x: Any, actions: Any, old: Any, advantage: Any, returns: Any, old_values: Any) -> Any:
        log, values = jax.nn.log_softmax(network(w[:3], x)), network(w[3:], x)[:, 0]
        ratio = jnp.exp(jnp.take_along_axis(log, actions[:, None], 1)[:, 0] - old)
        a = (advantage - advantage.mean()) / (advantage.std(ddof=1) + 1e-8)
        policy = -jnp.minimum(a * ratio, a * jnp.clip(ratio, 1 - p.CLIP, 1 + p.CLIP)).mean()
        near = old_values + jnp.clip(values - old_values, -p.CLIP, p.CLIP)
        value = 0.5 * jnp.maximum((values - returns) ** 2, (near - returns) ** 2).mean()
        return policy + p.VALUE * value + p.ENTROPY * (jnp.exp(log) * log).sum(1).mean()

    def step(state: Any, rows: Any) -> Any:
        w, m, v, t = state
        g = jax.grad(loss)(w, *[a[rows] for a in tensors])
        norm = jnp.sqrt(sum((x**2).sum() for x in jax.tree.leaves(g)))
        g = jax.tree.map(lambda x: x * jnp.minimum(1.0, p.NORM / (norm + 1e-6)), g)
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        one, two = 1 - 0.9 ** (t + 1), 1 - 0.999 ** (t + 1)
        w = jax.tree.map(lambda w, m, v: w - p.RATE * m / one / (jnp.sqrt(v / two) + 1e-5), w, m, v)
        return (w, m, v, t + 1), None

    tensors = [jnp.asarray(a) for a in arrays]
    zeros = jax.tree.map(np.zeros_like, weights)
    state = jax.tree.map(jnp.asarray, (weights, zeros, zeros, np.float32(0)))
    scan = jax.jit(lambda state, order: jax.lax.scan(step, state, order)[0], donate_argnums=0)

    def run() -> None:
        nonlocal state
        state = jax.block_until_ready(scan(state, order))

    return run


def numpy_policy() -> Any:
    rng = np.random.default_rng(0)
    a, b, c = (rng.standard_normal(s).astype(np.float32) / 8 for s in ((4, 64), (64, 64), (64, 2)))
    d, e, f = (np.zeros(n, np.float32) for n in (64, 64, 2))

    def right(x: Any) -> Any:
        scores = np.exp(np.tanh(np.tanh(x @ a + d) @ b + e) @ c + f)
        return scores[:, 1] / scores.sum(1)

    return right


def work(library: str) -> None:
    """Answers ("update" or "policy", seconds) by us, ("cartpole", seed) by seconds, steps and mean."""
    p = ppo()
    make = {"ranvier": p.Agent, "torch": lambda seed: TorchAgent(seed, p)}.get(library)
    if library == "ranvier":
        p.rv.set_num_threads(1)
    agent, (arrays, order), x = make(0) if make else None, data(), np.zeros((1, 4), np.float32)
    updates = {"jax": jax_update, "numpy": lambda p: None}
    update = updates[library](p) if agent is None else lambda: agent.learn(arrays, order, p.RATE)
    policy = None if library == "jax" else numpy_policy() if agent is None else agent.right
    for line in sys.stdin:
        what, number = json.loads(line)
        if what == "cartpole":
            start = time.perf_counter()
            curve = p.train(make(number), p.CartPole(p.ENVIRONMENTS, number), number) if make else [[0, 0]]
            answer = [time.perf_counter() - start, *map(float, curve[-1])]
        else:
            run, calls, per = (update, 1, MINIBATCHES) if what == "update" else (policy, 200, 200)
            answer, end = float("inf"), time.perf_counter() + number
            while run and time.perf_counter() < end:
                start = time.perf_counter()
                for _ in range(calls):
                    run() if what == "update" else run(x)
                answer = min(answer, 1e6 * (time.perf_counter() - start) / per)
        print(json.dumps(answer), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn")
    parser.add_argument("--seeds", type=int, default=3)
    settings = parser.parse_args()
    if settings.worker:
        return work(settings.worker)
    processes = {name: InTurns("benchmarks.training.control", name, 1) for name in LIBRARIES}
    for what, names in (("update", LIBRARIES[:3]), ("policy", ("ranvier", "torch", "numpy"))):
        rounds = [
            [processes[n].ask(what, settings.seconds) for n in names] for _ in range(settings.rounds + 1)
        ]
        best = [min(column) for column in zip(*rounds[1:], strict=True)]  # the first compiles
        print(what, ", ".join(f"{n} {t:.2f} us" for n, t in zip(names, best, strict=True)), flush=True)
    ratios = []
    for seed in range(settings.seeds):
        ours, theirs = (processes[n].ask("cartpole", seed) for n in LIBRARIES[:2])
        ratios.append(theirs[0] / theirs[1] * ours[1] / ours[0])
        for name, (seconds, steps, mean) in (("ranvier", ours), ("torch", theirs)):
            print(
                f"cartpole, seed {seed}, {name}: {seconds:.2f} s, {steps:.0f} steps, mean return {mean:.0f}"
            )
        print(
            f"torch / ranvier: {theirs[0] / ours[0]:.1f}, for the same number of steps {ratios[-1]:.1f}",
            flush=True,
        )
    if ratios:
        print(f"torch / ranvier for the same number of steps, median: {statistics.median(ratios):.1f}")
    for process in processes.values():
        process.close()


if __name__ == "__main__":
    main()
