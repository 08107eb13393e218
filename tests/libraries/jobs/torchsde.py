"""torchsde: a stochastic equation is trained through its solver and the adjoint, on a given path."""

import torch
import torchsde
from torch import nn
from weights import fill, normal


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
        self.points = torch.cat([torch.zeros(1, 64, 3), torch.from_numpy(steps).cumsum(0)])
        self.shape, self.dtype, self.device = torch.Size((64, 3)), torch.float32, torch.device("cpu")
        self.levy_area_approximation = "none"

    def __call__(self, ta, tb=None, return_U=False, return_A=False):
        """The difference of the points at two times."""
        return self.points[round(float(tb) * 20)] - self.points[round(float(ta) * 20)]


def job():
    """Five steps of Adam with each way to the gradient."""
    start, times = torch.from_numpy(normal(64, 3)), torch.linspace(0.0, 1.0, 6)
    answer = {}
    for name, solve in (("forward", torchsde.sdeint), ("adjoint", torchsde.sdeint_adjoint)):
        equation = fill(Equation())
        optimizer = torch.optim.Adam(equation.parameters(), lr=1e-2)
        losses = []
        for _ in range(5):
            optimizer.zero_grad()
            loss = (solve(equation, start, times, bm=Path(), method="midpoint", dt=0.05)[-1] ** 2).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        answer[name] = losses
    return answer
