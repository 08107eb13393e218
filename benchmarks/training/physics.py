"""Physics-informed networks beside JAX and PyTorch: the time of a step, and the time to an error of 1e-3.

    python -m benchmarks.training.physics [--seconds 60] [--rounds 3]

One thread. Each library runs in a process of its own, in turn: the same network (2-32-32-32-1, tanh),
first weights, points, Adam and schedule; ours by rv.func.laplacian and rv.compile, JAX by jit of forward over
forward or forward over reverse, PyTorch by autograd.grad with create_graph. The error is relative, in the L2
norm; it is measured outside of the time, which is that of the processor. Each round has its own seed.

Helmholtz: lap u + u = f on a square, by Adam. Burgers with nu = 0.01 / pi: by Adam, then by L-BFGS with a
search for the strong Wolfe conditions, on 2,048 fixed points, half of them chosen by the residual; they are
chosen again after 2,000 iterations. Half of the other points are near the shock, and the residual is divided
by 1 + |u_x| / 10, so that the shock does not outweigh the rest. L-BFGS: rv.optim.LBFGS, torch.optim.LBFGS,
and for JAX SciPy's L-BFGS-B of the gradient by jit.
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
STEPS = {"helmholtz": 20_000, "burgers": 3_000}  # steps of Adam
FIXED, ITERATIONS, HISTORY, CHECKED = 2048, 2000, 100, 250  # points and settings of L-BFGS; of both: a check


def starting_weights(problem, seed):
    """For Burgers the first layer is steep, and places of slopes are spread: the solution has a shock."""
    rng, layers, steep = np.random.default_rng(seed), [], problem == "burgers"
    for i, o in pairwise(SIZES):
        w = rng.uniform(-1, 1, (o, i)).astype("f") * np.sqrt(3 / i).astype("f")
        b = rng.uniform(-1, 1, o) if steep and o > 1 else np.zeros(o)
        layers.append((w * np.float32(3 if steep and i == 2 else 1), b.astype("f")))
    return layers


def random_points(problem, rng, count):
    if problem == "helmholtz":
        return rng.uniform(-1, 1, (count, 2)).astype("f")
    near = rng.laplace(0, 0.1, count // 2).clip(-1, 1)  # points near the shock
    x = np.concatenate([near, rng.uniform(-1, 1, count - count // 2)])
    return np.stack([rng.uniform(0, 1, count), x], 1).astype("f")


def chosen_points(problem, rng, residual_at):
    """Half by the residual there, half not."""
    candidates, half = random_points(problem, rng, 4 * FIXED), FIXED // 2
    size = np.abs(residual_at(candidates)).astype("d")
    by_residual = candidates[rng.choice(len(candidates), half, replace=False, p=size / size.sum())]
    return np.concatenate([by_residual, random_points(problem, rng, half)])


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
    """The residual of the equation; x, du: columns, lap: the sum of second derivatives, of Burgers u_xx."""
    if problem == "helmholtz":
        return lap + u - (1 - 2 * PI**2) * sin(PI * x[0]) * sin(PI * x[1])
    return (du[0] + u * du[1] - NU * lap) / (1 + 0.1 * abs(du[1]))


def ansatz(problem, sin, x, net):
    """A function with the right values on the boundary."""
    if problem == "helmholtz":
        return (1 - x[0] ** 2) * (1 - x[1] ** 2) * net
    return -sin(PI * x[1]) + x[0] * (1 - x[1] ** 2) * net


def network(library, problem, seed):
    """The network of ranvier or PyTorch, whose names are the same."""
    layers = []
    for w, b in starting_weights(problem, seed):
        layers += [library.nn.Linear(w.shape[1], w.shape[0]), library.nn.Tanh()]
        layers[-2].load_state_dict({"weight": library.tensor(w), "bias": library.tensor(b)})
    return library.nn.Sequential(*layers[:-1])


class Ours:
    def __init__(self, problem, seed):
        import ranvier as rv

        rv.set_num_threads(1)
        net = self.net = network(rv, problem, seed)
        optimizer = rv.optim.Adam(net.parameters(), lr=5e-3)
        schedule = rv.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS[problem])
        u_of = lambda x: ansatz(problem, rv.sin, x.unbind(1), net(x)[:, 0])  # noqa: E731
        derivatives = rv.func.laplacian(u_of, None if problem == "helmholtz" else (0.0, 1.0))
        residual_at = lambda x: residual(problem, rv.sin, x.unbind(1), *derivatives(x))  # noqa: E731

        @rv.compile
        def update(x):
            loss = (residual_at(x) ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        @rv.compile
        def gradient(x):
            loss = (residual_at(x) ** 2).mean()
            net.zero_grad()
            loss.backward()
            return loss

        self.library, self.update, self.gradient, self.schedule = rv, update, gradient, schedule
        self.u_of, self.residual_at = u_of, residual_at

    def step(self, x):
        self.update(self.library.tensor(x))
        self.schedule.step()

    def refine(self, x, is_done):
        x = self.library.tensor(x)
        optimizer = self.library.optim.LBFGS(self.net.parameters(), **LBFGS)
        run_lbfgs(optimizer, lambda: self.gradient(x), is_done)

    def predict(self, x):
        with self.library.no_grad():
            return self.u_of(self.library.tensor(x)).numpy()

    def residuals(self, x):
        return self.residual_at(self.library.tensor(x)).detach().numpy()


LBFGS = {
    "max_iter": CHECKED,
    "max_eval": 5 * CHECKED,
    "history_size": HISTORY,
    "tolerance_grad": 0.0,
    "tolerance_change": 1e-14,
    "line_search_fn": "strong_wolfe",
}


def run_lbfgs(optimizer, closure, is_done):
    """ITERATIONS at most; fewer if a search has ended without progress."""
    calls = [0]

    def counted():
        calls[0] += 1
        return closure()

    for _ in range(ITERATIONS // CHECKED):
        before = calls[0]
        optimizer.step(counted)
        if is_done(calls[0] - before) or calls[0] - before < CHECKED:
            return


class Torch:
    def __init__(self, problem, seed):
        import torch

        torch.set_num_threads(1)
        self.net, self.library, self.problem = network(torch, problem, seed), torch, problem
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=5e-3)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, STEPS[problem])

    def u_of(self, x):
        return ansatz(self.problem, self.library.sin, x.unbind(1), self.net(x)[:, 0])

    def residual_at(self, x):
        grad = self.library.autograd.grad
        x = self.library.tensor(x, requires_grad=True)
        u = self.u_of(x)
        (du,) = grad(u.sum(), x, create_graph=True)
        variables = (0, 1) if self.problem == "helmholtz" else (1,)
        lap = sum(grad(du[:, i].sum(), x, create_graph=True)[0][:, i] for i in variables)
        return residual(self.problem, self.library.sin, x.unbind(1), u, du.unbind(1), lap)

    def gradient(self, x):
        loss = (self.residual_at(x) ** 2).mean()
        self.net.zero_grad()
        loss.backward()
        return loss

    def step(self, x):
        self.gradient(x)
        self.optimizer.step()
        self.schedule.step()

    def refine(self, x, is_done):
        optimizer = self.library.optim.LBFGS(self.net.parameters(), **LBFGS)
        run_lbfgs(optimizer, lambda: self.gradient(x), is_done)

    def predict(self, x):
        with self.library.no_grad():
            return self.u_of(self.library.tensor(x)).numpy()

    def residuals(self, x):
        return self.residual_at(x).detach().numpy()


class Jax:
    def __init__(self, problem, seed, over="forward"):
        import jax
        import jax.numpy as jnp
        from jax.flatten_util import ravel_pytree

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
            lr = 5e-3 * (1 + jnp.cos(PI * n / STEPS[problem])) / 2
            m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, slopes)
            v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, slopes)
            one, two = 1 - 0.9 ** (n + 1), 1 - 0.999 ** (n + 1)
            moved = lambda w, m, v: w - lr * (m / one) / (jnp.sqrt(v / two) + 1e-8)  # noqa: E731
            return jax.tree.map(moved, weights, m, v), m, v, n + 1

        weights = [(jnp.asarray(w), jnp.asarray(b)) for w, b in starting_weights(problem, seed)]
        zeros = jax.tree.map(jnp.zeros_like, weights)
        self.state, self.update = [weights, zeros, zeros, jnp.float32(0)], update
        _, self.tree_of = ravel_pytree(weights)
        self.flat_of = lambda weights: np.asarray(ravel_pytree(weights)[0], "d")
        self.gradient = jax.jit(jax.value_and_grad(lambda flat, x: loss(self.tree_of(flat), x)))
        self.values = jax.jit(jax.vmap(u_of, (None, 0)))
        self.all_residuals = jax.jit(jax.vmap(at_point, (None, 0)))

    def step(self, x):
        self.state[:] = self.update(*self.state, x)
        self.state[3].block_until_ready()

    def refine(self, x, is_done):
        from scipy.optimize import minimize

        count = [0, 0]  # calls, iterations

        def of(flat):
            count[0] += 1
            value, slope = self.gradient(flat.astype("f"), x)
            return float(value), np.asarray(slope, "d")

        def callback(intermediate_result):
            count[1] += 1
            if count[1] % CHECKED == 0:
                self.state[0] = self.tree_of(intermediate_result.x.astype("f"))
                if is_done(count[0]):
                    raise StopIteration
                count[0] = 0

        options = {"maxcor": HISTORY, "maxiter": ITERATIONS, "maxfun": 5 * ITERATIONS, "ftol": 0, "gtol": 0}
        start = self.flat_of(self.state[0])
        end = minimize(of, start, jac=True, method="L-BFGS-B", options=options, callback=callback)
        self.state[0] = self.tree_of(end.x.astype("f"))
        is_done(count[0])

    def predict(self, x):
        return np.asarray(self.values(self.state[0], x))

    def residuals(self, x):
        return np.asarray(self.all_residuals(self.state[0], x))


class JaxReverse(Jax):
    def __init__(self, problem, seed):
        super().__init__(problem, seed, "reverse")


LIBRARIES = {"ours": Ours, "jax": Jax, "jax_reverse": JaxReverse, "torch": Torch}


def run(library, problem, seconds, seed):
    """Trains until the error is below 1e-3 or the time is over."""
    points, exact = solution_of(problem)
    points = points.astype("f")
    model, rng = LIBRARIES[library](problem, seed), np.random.default_rng(seed)
    times, spent, evaluations, error, start = [], 0.0, 0, float("inf"), 0.0

    def is_done(calls):
        """Stops the time for a check of the error; calls: of the gradient since the last one."""
        nonlocal spent, evaluations, error, start
        spent, evaluations = spent + time.process_time() - start, evaluations + calls
        error = float(np.linalg.norm(model.predict(points) - exact) / np.linalg.norm(exact))
        start = time.process_time()
        return error < 1e-3 or spent > seconds

    done = False
    while len(times) < STEPS[problem] and not done:
        x = random_points(problem, rng, POINTS)
        start, before = time.process_time(), time.perf_counter()
        model.step(x)
        times.append(time.perf_counter() - before)
        if len(times) % CHECKED and len(times) < STEPS[problem]:
            spent += time.process_time() - start
        else:
            done = is_done(CHECKED)
    start = time.process_time()
    while problem == "burgers" and not done:
        model.refine(chosen_points(problem, rng, model.residuals), is_done)
        done = is_done(0)
    return {
        "step_ms": float(np.min(times[20:])) * 1e3,
        "evaluations": evaluations,
        "seconds": spent,
        "error": error,
    }


def measured(library, problem, seconds, seed):
    """The result of `run`, in a process with one thread, of the Python that has the library."""
    threads = {"OMP_NUM_THREADS": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    peer = os.environ.get(f"RANVIER_PEER_{library.split('_')[0].upper()}", sys.executable)
    command = [peer, str(Path(__file__).resolve()), "--one", library, "--problem", problem]
    command += ["--seconds", str(seconds), "--seed", str(seed)]
    done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{problem:<10} {library:<12} {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--problem", choices=[*STEPS], action="append")
    parser.add_argument("--library", choices=[*LIBRARIES], action="append")
    parser.add_argument("--one", choices=[*LIBRARIES], help="run one library in this process")
    given = parser.parse_args()
    problems = given.problem or [*STEPS]
    if given.one:
        print(json.dumps(run(given.one, problems[0], given.seconds, given.seed)))
        return
    for problem in problems:
        for seed in range(given.seed, given.seed + given.rounds):
            for library in given.library or LIBRARIES:
                try:
                    r = measured(library, problem, given.seconds, seed)
                except RuntimeError as error:
                    print(error)
                    continue
                reached = f"{r['seconds']:.2f} s" if r["error"] < 1e-3 else f"not in {r['seconds']:.0f} s"
                print(
                    f"{problem:<10} {library:<12} seed {seed}: step {r['step_ms']:.2f} ms, 1e-3 {reached} "
                    f"({r['evaluations']} gradients, error {r['error']:.1e})",
                    flush=True,
                )


if __name__ == "__main__":
    main()
