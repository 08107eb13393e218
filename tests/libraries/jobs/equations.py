"""Differential equations, solved by networks or in them."""

import os

import numpy as np
import torch
from common import fill, normal, step
from torch import from_numpy, nn


def deepxde():
    """A network learns Burgers' equation in one dimension. Twenty steps of Adam, five of L-BFGS."""
    os.environ["DDE_BACKEND"] = "pytorch"
    import deepxde

    def equation(x, y):
        """The residual."""
        slope_x, slope_t = deepxde.grad.jacobian(y, x, i=0, j=0), deepxde.grad.jacobian(y, x, i=0, j=1)
        return slope_t + y * slope_x - 0.01 / np.pi * deepxde.grad.hessian(y, x, i=0, j=0)

    space = deepxde.geometry.GeometryXTime(
        deepxde.geometry.Interval(-1, 1), deepxde.geometry.TimeDomain(0, 0.99)
    )
    border = deepxde.icbc.DirichletBC(space, lambda x: 0, lambda _, on: on)
    first = deepxde.icbc.IC(space, lambda x: -np.sin(np.pi * x[:, 0:1]), lambda _, on: on)
    data = deepxde.data.TimePDE(space, equation, [border, first], 400, 40, 40, train_distribution="uniform")
    network = fill(deepxde.nn.FNN([2, 20, 20, 20, 1], "tanh", "Glorot normal"))
    model = deepxde.Model(data, network)
    model.compile("adam", lr=1e-3, verbose=0)
    model.train(iterations=20, display_every=5, verbose=0)
    deepxde.optimizers.set_LBFGS_options(maxiter=5)
    deepxde.optimizers.config.LBFGS_options["iter_per_step"] = 5
    model.compile("L-BFGS", verbose=0)
    history, _ = model.train(display_every=5, verbose=0)
    return {"losses": history.loss_train, "predictions": model.predict(space.uniform_points(9))}


def neurodiffeq():
    """Differential equations are solved by networks. Ten epochs of an oscillator and of Laplace's
    equation."""
    from neurodiffeq import diff
    from neurodiffeq.conditions import IVP, DirichletBVP2D
    from neurodiffeq.generators import Generator1D, Generator2D
    from neurodiffeq.networks import FCNN
    from neurodiffeq.solvers import Solver1D, Solver2D

    line, plane = fill(FCNN(1, 1, hidden_units=(16, 16))), fill(FCNN(2, 1, hidden_units=(16, 16)))
    kinds = "train_generator", "valid_generator"
    points = {kind: Generator1D(32, 0.0, 3.0, method="equally-spaced") for kind in kinds}
    first = Solver1D(lambda u, t: [diff(u, t, order=2) + u], [IVP(0.0, 0.0, 1.0)], nets=[line], **points)
    first.fit(10)

    def laplace(u, x, y):
        return [diff(u, x, order=2) + diff(u, y, order=2)]

    zero = torch.zeros_like
    edges = DirichletBVP2D(0.0, lambda y: torch.sin(torch.pi * y), 1.0, zero, 0.0, zero, 1.0, zero)
    grid = {kind: Generator2D((8, 8), (0, 0), (1, 1), "equally-spaced") for kind in kinds}
    second = Solver2D(laplace, [edges], (0, 0), (1, 1), nets=[plane], **grid)
    second.fit(10)
    answer = {"line": first.metrics_history["train_loss"], "plane": second.metrics_history["train_loss"]}
    return answer | {"given": first.get_solution()(torch.linspace(0, 3, 7)), "weights": plane.NN[0].weight}


def torchcde():
    """A controlled equation is trained through its solver. Four steps of Adam with each interpolation."""
    import torchcde

    class Field(nn.Module):
        """The vector field."""

        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 24), nn.Tanh())

        def forward(self, t, z):
            """A matrix for each state."""
            return self.layers(z).view(*z.shape, 3)

    x, start = from_numpy(normal(8, 10, 3)).cumsum(1), from_numpy(normal(8, 8, seed=1))
    answer = {}
    for name in (
        "hermite_cubic_coefficients_with_backward_differences",
        "natural_cubic_coeffs",
        "linear_interpolation_coeffs",
    ):
        kind = torchcde.LinearInterpolation if "linear" in name else torchcde.CubicSpline
        path, field = kind(getattr(torchcde, name)(x)), fill(Field())
        optimizer, losses = torch.optim.Adam(field.parameters(), lr=1e-2), []
        for adjoint in (False, True, False, True):
            given = torchcde.cdeint(
                path, field, start, path.interval, adjoint=adjoint, method="rk4", options={"step_size": 0.5}
            )
            losses.append(step(optimizer, (given[:, -1] ** 2).mean()))
        answer[name] = losses
    path = torchcde.CubicSpline(torchcde.natural_cubic_coeffs(x))
    return answer | {"logsignature": path.derivative(torch.tensor(2.5))}


def torchdiffeq():
    """A neural equation is trained through fixed steps, chosen steps and the adjoint. Ten steps of Adam
    with each solver."""
    from torchdiffeq import odeint, odeint_adjoint

    class Slope(nn.Module):
        """dy/dt."""

        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2))

        def forward(self, t, y):
            """The slope at y."""
            return self.net(y**3)

    start, target = from_numpy(normal(64, 2)), from_numpy(normal(10, 64, 2, seed=1))
    times, answer = torch.linspace(0.0, 1.0, 10), {}
    for name, solve, options in (
        ("rk4", odeint, {"method": "rk4"}),
        ("dopri5", odeint, {"method": "dopri5", "rtol": 1e-3, "atol": 1e-4}),
        ("adjoint", odeint_adjoint, {"method": "rk4"}),
    ):
        slope = fill(Slope())
        optimizer = torch.optim.Adam(slope.parameters(), lr=1e-2)
        losses = answer[name] = []
        for _ in range(10):
            path = solve(slope, start, times, **options)
            losses.append(step(optimizer, (path - target).abs().mean()))
    return answer


def torchsde():
    """A stochastic equation is trained through its solver and the adjoint, on a given path. Five steps of
    Adam with each way to the gradient."""
    import torchsde

    class Equation(nn.Module):
        """Drift and diffusion."""

        noise_type, sde_type = "diagonal", "stratonovich"

        def __init__(self):
            super().__init__()
            self.drift = nn.Sequential(nn.Linear(3, 32), nn.Tanh(), nn.Linear(32, 3))
            self.diffusion = nn.Sequential(nn.Linear(3, 3), nn.Sigmoid())

        def f(self, t, y):
            """The drift."""
            return self.drift(y)

        def g(self, t, y):
            """The diffusion."""
            return self.diffusion(y)

    class Path:
        """A Brownian path of 21 points that NumPy drew."""

        def __init__(self):
            steps = normal(20, 64, 3, seed=2, scale=0.05**0.5)
            self.points = torch.cat([torch.zeros(1, 64, 3), from_numpy(steps).cumsum(0)])
            self.shape, self.dtype, self.device = torch.Size((64, 3)), torch.float32, torch.device("cpu")
            self.levy_area_approximation = "none"

        def __call__(self, ta, tb=None, return_U=False, return_A=False):
            """The difference of the points at two times."""
            return self.points[round(float(tb) * 20)] - self.points[round(float(ta) * 20)]

    start, times = from_numpy(normal(64, 3)), torch.linspace(0.0, 1.0, 6)
    answer = {}
    for name, solve in (("forward", torchsde.sdeint), ("adjoint", torchsde.sdeint_adjoint)):
        equation = fill(Equation())
        optimizer = torch.optim.Adam(equation.parameters(), lr=1e-2)
        losses = answer[name] = []
        for _ in range(5):
            path = solve(equation, start, times, bm=Path(), method="midpoint", dt=0.05)
            losses.append(step(optimizer, (path[-1] ** 2).mean()))
    return answer
