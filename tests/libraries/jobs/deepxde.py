"""DeepXDE: a network learns Burgers' equation in one dimension."""

import os

os.environ["DDE_BACKEND"] = "pytorch"

import deepxde
import numpy as np
from weights import fill


def equation(x, y):
    """The residual."""
    slope_x, slope_t = deepxde.grad.jacobian(y, x, i=0, j=0), deepxde.grad.jacobian(y, x, i=0, j=1)
    return slope_t + y * slope_x - 0.01 / np.pi * deepxde.grad.hessian(y, x, i=0, j=0)


def job():
    """Twenty steps of Adam, five of L-BFGS."""
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
