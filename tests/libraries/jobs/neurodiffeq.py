"""neurodiffeq: differential equations are solved by networks."""

import torch
from neurodiffeq import diff
from neurodiffeq.conditions import IVP, DirichletBVP2D
from neurodiffeq.generators import Generator1D, Generator2D
from neurodiffeq.networks import FCNN
from neurodiffeq.solvers import Solver1D, Solver2D
from weights import fill


def job():
    """Ten epochs of an oscillator and of Laplace's equation."""
    line, plane = fill(FCNN(1, 1, hidden_units=(16, 16))), fill(FCNN(2, 1, hidden_units=(16, 16)))
    points = {
        kind: Generator1D(32, 0.0, 3.0, method="equally-spaced")
        for kind in ("train_generator", "valid_generator")
    }
    first = Solver1D(lambda u, t: [diff(u, t, order=2) + u], [IVP(0.0, 0.0, 1.0)], nets=[line], **points)
    first.fit(10)
    edges = DirichletBVP2D(
        0.0,
        lambda y: torch.sin(torch.pi * y),
        1.0,
        lambda y: 0 * y,
        0.0,
        lambda x: 0 * x,
        1.0,
        lambda x: 0 * x,
    )
    grid = {
        kind: Generator2D((8, 8), (0, 0), (1, 1), "equally-spaced")
        for kind in ("train_generator", "valid_generator")
    }
    second = Solver2D(
        lambda u, x, y: [diff(u, x, order=2) + diff(u, y, order=2)],
        [edges],
        (0, 0),
        (1, 1),
        nets=[plane],
        **grid,
    )
    second.fit(10)
    answer = {"line": first.metrics_history["train_loss"], "plane": second.metrics_history["train_loss"]}
    return answer | {"given": first.get_solution()(torch.linspace(0, 3, 7)), "weights": plane.NN[0].weight}
