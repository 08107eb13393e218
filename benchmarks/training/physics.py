"""Physics-informed steps beside JAX and PyTorch: the time of a step, and the time to an error of 1e-3.

    python -m benchmarks.training.physics [--seconds 60] [--rounds 3]

One thread. Each library runs in a process of its own, in turn: the same network (2-32-32-32-1, tanh), points,
Adam and schedule; ours by rv.func.laplacian and rv.compile, JAX by jit of forward over forward or forward
over reverse, PyTorch by autograd.grad with create_graph. Helmholtz: lap u + u = f on a square; Burgers with
nu = 0.01 / pi. The solution is checked each 250 steps, outside of the measured time.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

PI, NU, SIZES, POINTS = np.pi, 0.01 / np.pi, (2, 32, 32, 32, 1), 1024
STEPS = {"helmholtz": 20_000, "burgers": 60_000}


def starting_weights():
    rng = np.random.default_rng(0)
    return [
        (rng.uniform(-1, 1, (o, i)).astype("f") * np.sqrt(3 / i).astype("f"), np.zeros(o, "f"))
        for i, o in pairwise(SIZES)
    ]


def solution_of(problem):
    """(points, solution there)."""
    low = -1 if problem == "helmholtz" else 0
    a, b = np.meshgrid(np.linspace(low, 1, 65), np.linspace(-1, 1, 129), indexing="ij")
    points = np.stack([a, b], -1).reshape(-1, 2)
    if problem == "helmholtz":
        return points, np.sin(PI * points).prod(-1)
    z, w = np.polynomial.hermite.hermgauss(200)  # Cole and Hopf
    y = points[:, 1:] - z * np.sqrt(4 * NU * np.maximum(points[:, :1], 1e-9))
    log_f = -np.cos(PI * y) / (2 * PI * NU)
    f = w * np.exp(log_f - log_f.max(-1, keepdims=True))
    return points, -(np.sin(PI * y) * f).sum(-1) / f.sum(-1)


def residual(problem, sin, x, u, du, lap):
    """Of the equation; x, du: columns, lap: the sum of second derivatives, of Burgers u_xx."""
    if problem == "helmholtz":
        return lap + u - (1 - 2 * PI**2) * sin(PI * x[0]) * sin(PI * x[1])
    return du[0] + u * du[1] - NU * lap


def ansatz(problem, sin, x, net):
    """A function with the right values on the boundary."""
    if problem == "helmholtz":
        return (1 - x[0] ** 2) * (1 - x[1] ** 2) * net
    return -sin(PI * x[1]) + x[0] * (1 - x[1] ** 2) * net


def ours(problem, total):
    import ranvier as rv

    rv.set_num_threads(1)
    layers = []
    for w, b in starting_weights():
        layers += [rv.nn.Linear(w.shape[1], w.shape[0]), rv.nn.Tanh()]
        layers[-2].load_state_dict({"weight": rv.tensor(w), "bias": rv.tensor(b)})
    net = rv.nn.Sequential(*layers[:-1])
    optimizer = rv.optim.Adam(net.parameters(), lr=5e-3)
    schedule = rv.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    u_of = lambda x: ansatz(problem, rv.sin, x.unbind(1), net(x)[:, 0])  # noqa: E731
    derivatives = rv.func.laplacian(u_of, None if problem == "helmholtz" else (0.0, 1.0))

    @rv.compile
    def update(x):
        loss = (residual(problem, rv.sin, x.unbind(1), *derivatives(x)) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def step(x):
        update(rv.tensor(x))
        schedule.step()

    def predict(x):
        with rv.no_grad():
            return u_of(rv.tensor(x)).numpy()

    return step, predict


def torch(problem, total):
    import torch

    torch.set_num_threads(1)
    layers = []
    for w, b in starting_weights():
        layers += [torch.nn.Linear(w.shape[1], w.shape[0]), torch.nn.Tanh()]
        layers[-2].load_state_dict({"weight": torch.tensor(w), "bias": torch.tensor(b)})
    net = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, total)
    u_of = lambda x: ansatz(problem, torch.sin, x.unbind(1), net(x)[:, 0])  # noqa: E731

    def step(x):
        x = torch.tensor(x, requires_grad=True)
        u = u_of(x)
        (du,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        variables = (0, 1) if problem == "helmholtz" else (1,)
        lap = sum(torch.autograd.grad(du[:, i].sum(), x, create_graph=True)[0][:, i] for i in variables)
        loss = (residual(problem, torch.sin, x.unbind(1), u, du.unbind(1), lap) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    def predict(x):
        with torch.no_grad():
            return u_of(torch.tensor(x)).numpy()

    return step, predict


def jax(problem, total, over="forward"):
    import jax
    import jax.numpy as jnp

    def network(weights, x):
        for i, (w, b) in enumerate(weights):
            x = w @ x + b
            x = jnp.tanh(x) if i + 1 < len(weights) else x
        return x[0]

    u_of = lambda weights, x: ansatz(problem, jnp.sin, x, network(weights, x))  # noqa: E731
    variables = (0, 1) if problem == "helmholtz" else (1,)

    def at_point(weights, x):
        u = lambda x: u_of(weights, x)  # noqa: E731
        unit = jnp.eye(2)
        if over == "forward":
            slope = lambda x, i: jax.jvp(u, (x,), (unit[i],))[1]  # noqa: E731
            du = [slope(x, 0), slope(x, 1)]
            lap = sum(jax.jvp(lambda x, i=i: slope(x, i), (x,), (unit[i],))[1] for i in variables)
        else:
            du = jax.grad(u)(x)
            lap = sum(jax.jvp(jax.grad(u), (x,), (unit[i],))[1][i] for i in variables)
        return residual(problem, jnp.sin, x, u(x), du, lap)

    loss = lambda weights, x: (jax.vmap(lambda x: at_point(weights, x))(x) ** 2).mean()  # noqa: E731

    @jax.jit
    def update(weights, m, v, n, x):
        slopes = jax.grad(loss)(weights, x)
        lr = 5e-3 * (1 + jnp.cos(PI * n / total)) / 2
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, slopes)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, slopes)
        one, two = 1 - 0.9 ** (n + 1), 1 - 0.999 ** (n + 1)
        moved = lambda w, m, v: w - lr * (m / one) / (jnp.sqrt(v / two) + 1e-8)  # noqa: E731
        return jax.tree.map(moved, weights, m, v), m, v, n + 1

    weights = [(jnp.asarray(w), jnp.asarray(b)) for w, b in starting_weights()]
    zeros = jax.tree.map(jnp.zeros_like, weights)
    state = [weights, zeros, zeros, jnp.float32(0)]
    values = jax.jit(jax.vmap(u_of, (None, 0)))

    def step(x):
        state[:] = update(*state, x)
        state[3].block_until_ready()

    return step, lambda x: np.asarray(values(state[0], x))


def jax_reverse(problem, total):
    return jax(problem, total, "reverse")


LIBRARIES = {"ours": ours, "jax": jax, "jax_reverse": jax_reverse, "torch": torch}


def run(library, problem, seconds):
    """Trains until the error is below 1e-3 or the time is over."""
    total = STEPS[problem]
    step, predict = LIBRARIES[library](problem, total)
    points, exact = solution_of(problem)
    low = np.array([-1 if problem == "helmholtz" else 0, -1])
    rng, times, reached, error = np.random.default_rng(0), [], None, float("inf")
    while len(times) < total and sum(times) < seconds and reached is None:
        x = (low + (1 - low) * rng.uniform(size=(POINTS, 2))).astype(np.float32)
        start = time.perf_counter()
        step(x)
        times.append(time.perf_counter() - start)
        if len(times) % 250 == 0:
            error = float(np.linalg.norm(predict(points.astype("f")) - exact) / np.linalg.norm(exact))
            reached = sum(times) if error < 1e-3 else None
    best = float(np.min(times[20:]))
    return {
        "step_ms": best * 1e3,
        "steps": len(times),
        "seconds": sum(times),
        "reached": reached,
        "error": error,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--problem", choices=[*STEPS], action="append")
    parser.add_argument("--one", choices=[*LIBRARIES], help="run one library in this process")
    given = parser.parse_args()
    problems = given.problem or [*STEPS]
    if given.one:
        print(json.dumps(run(given.one, problems[0], given.seconds)))
        return
    threads = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    for problem in problems:
        for _ in range(given.rounds):
            for library in LIBRARIES:
                peer = os.environ.get(f"RANVIER_PEER_{library.split('_')[0].upper()}", sys.executable)
                command = [peer, str(Path(__file__).resolve()), "--one", library, "--problem", problem]
                command += ["--seconds", str(given.seconds)]
                done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True)
                if done.returncode:
                    print(f"{problem:<10} {library:<12} {done.stderr.strip().splitlines()[-1:]}")
                    continue
                r = json.loads(done.stdout.splitlines()[-1])
                reached = f"{r['reached']:.2f} s" if r["reached"] else f"not in {r['seconds']:.0f} s"
                print(
                    f"{problem:<10} {library:<12} step {r['step_ms']:.2f} ms, 1e-3 {reached} "
                    f"({r['steps']} steps, error {r['error']:.1e})",
                    flush=True,
                )


if __name__ == "__main__":
    main()
