"""Physics-informed networks: the equations of Helmholtz, of heat and of Burgers."""

import argparse
from itertools import pairwise
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import ranvier as rv
from ranvier import nn, optim

PI = np.pi


def network() -> nn.Module:
    rv.manual_seed(0)
    layers = [m for i, o in pairwise([2, 32, 32, 32, 1]) for m in (nn.Linear(i, o), nn.Tanh())]
    return nn.Sequential(*layers[:-1])


def helmholtz(net, x):
    """lap u + u = f on a square, u = 0 on its sides: the solution is sin(pi x) sin(pi y)."""
    u, _, lap = rv.func.laplacian(lambda x: (1.0 - x**2).prod(-1, keepdim=True) * net(x))(x)
    exact = (PI * x).sin().prod(-1, keepdim=True)
    return u, lap + u - (1.0 - 2.0 * PI**2) * exact


def heat(net, x):
    """u_t = u_xx / 10 with u(0, x) = sin(pi x): the solution is exp(-pi^2 t / 10) sin(pi x)."""
    solution = lambda x: (PI * x[:, 1:]).sin() + x[:, :1] * (1.0 - x[:, 1:] ** 2) * net(x)  # noqa: E731
    u, (u_t, _), u_xx = rv.func.laplacian(solution, (0.0, 1.0))(x)
    return u, u_t - 0.1 * u_xx


def burgers(net, x):
    """u_t + u u_x = nu u_xx with u(0, x) = -sin(pi x): a shock grows at x = 0, where residuals weigh less."""
    solution = lambda x: -(PI * x[:, 1:]).sin() + x[:, :1] * (1.0 - x[:, 1:] ** 2) * net(x)  # noqa: E731
    u, (u_t, u_x), u_xx = rv.func.laplacian(solution, (0.0, 1.0))(x)
    return u, (u_t + u * u_x - 0.01 / PI * u_xx) / (1.0 + 0.1 * u_x.abs())


def random_points(rng, count: int, low, has_shock: bool) -> np.ndarray:
    points = rng.uniform(low, 1, (count, 2)).astype(np.float32)
    if has_shock:  # half of them near it
        points[::2, 1] = rng.laplace(0, 0.1, count // 2).clip(-1, 1)
    return points


def make_steep(net) -> None:
    """Steep slopes in many places."""
    for layer in net[::2]:
        nn.init.kaiming_uniform_(layer.weight, nonlinearity="linear")
        nn.init.uniform_(layer.bias, -1.0, 1.0)
    with rv.no_grad():
        net[0].weight *= 3.0


def fitted(equation, low, steps: int, has_shock: bool) -> nn.Module:
    """A network with small residuals: by Adam at random points; then, for a shock, by L-BFGS at fixed ones,
    half of them where the residual is large."""
    net, rng = network(), np.random.default_rng(0)
    if has_shock:
        make_steep(net)
    optimizer = optim.Adam(net.parameters(), lr=5e-3)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    @rv.compile
    def gradient(x):
        loss = (equation(net, x)[1] ** 2).mean()
        net.zero_grad()
        loss.backward()
        return loss

    for _ in range(steps):
        gradient(rv.tensor(random_points(rng, 512, low, has_shock)))
        optimizer.step()
        schedule.step()
    settings = {"max_iter": 1500, "tolerance_change": 1e-14, "line_search_fn": "strong_wolfe"}
    for _ in range(2 if has_shock else 0):
        x = random_points(rng, 8192, low, has_shock)
        size = equation(net, rv.tensor(x))[1].detach().abs().numpy()[:, 0].astype(np.float64)
        chosen = rng.choice(8192, 1024, replace=False, p=size / size.sum())
        x = rv.tensor(np.concatenate([x[chosen], random_points(rng, 1024, low, has_shock)]))
        optim.LBFGS(net.parameters(), **settings).step(lambda x=x: gradient(x))
    return net


def burgers_solution(t, x):
    """The solution by Cole and Hopf: a quotient of two integrals, by Gauss-Hermite quadrature."""
    z, w = np.polynomial.hermite.hermgauss(200)
    nu = 0.01 / PI
    y = x[..., None] - z * np.sqrt(4 * nu * np.maximum(t, 1e-9))[..., None]
    log_f = -np.cos(PI * y) / (2 * PI * nu)
    f = w * np.exp(log_f - log_f.max(-1, keepdims=True))
    return -(np.sin(PI * y) * f).sum(-1) / f.sum(-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder for the picture")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    cases = {
        "Helmholtz": (helmholtz, (-1, -1), lambda x, y: np.sin(PI * x) * np.sin(PI * y)),
        "heat": (heat, (0, -1), lambda t, x: np.exp(-(PI**2) * t / 10) * np.sin(PI * x)),
        "Burgers": (burgers, (0, -1), burgers_solution),
    }
    plt.style.use("tableau-colorblind10")
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")
    for panel, (name, (equation, low, solution)) in zip(panels, cases.items(), strict=True):
        net = fitted(equation, low, 3000 if equation is burgers else 1500, equation is burgers)
        axes = [np.linspace(begin, 1, 101) for begin in low]
        first, second = np.meshgrid(*axes, indexing="ij")
        points = rv.tensor(np.stack([first, second], -1).reshape(-1, 2).astype(np.float32))
        with rv.no_grad():
            u = equation(net, points)[0].numpy().reshape(101, 101)
        exact = solution(first, second)
        error = np.linalg.norm(u - exact) / np.linalg.norm(exact)
        print(f"{name:<10} relative error {error:.1e}")
        picture = panel.pcolormesh(*axes, u.T, cmap="RdBu", shading="nearest")
        panel.set(
            title=f"{name}: error {error:.1e}", xlabel="x" if low[0] else "t", ylabel="y" if low[0] else "x"
        )
        figure.colorbar(picture, ax=panel)
    figure.savefig(out / "43_physics.png", dpi=110)


if __name__ == "__main__":
    main()
