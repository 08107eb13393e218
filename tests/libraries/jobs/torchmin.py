"""pytorch-minimize: the least of a function by gradients, products with the Hessian, and Hessians."""

import torch
from torchmin import least_squares, minimize
from weights import uniform

_METHODS = "bfgs l-bfgs cg newton-cg newton-exact trust-ncg trust-exact"


def job():
    """Where each method ends; a curve that is fitted."""

    def bowl(x):
        return ((x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    start = torch.tensor([-0.5, 1.0, 0.5], dtype=torch.float64)
    answer = {name: minimize(bowl, start, method=name, tol=1e-9).x for name in _METHODS.split()}
    times = torch.from_numpy(uniform(12)).double()
    values = 2 * torch.exp(-3 * times)
    fitted = least_squares(lambda p: p[0] * torch.exp(-p[1] * times) - values, torch.ones(2).double())
    return answer | {"fitted": fitted.x}
