"""torchdiffeq: a neural equation is trained through fixed steps, chosen steps and the adjoint."""

import torch
from torch import nn
from torchdiffeq import odeint, odeint_adjoint
from weights import fill, normal


class Slope(nn.Module):
    """dy/dt."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 50), nn.Tanh(), nn.Linear(50, 2))

    def forward(self, t, y):
        """The slope at y."""
        return self.net(y**3)


def job():
    """Ten steps of Adam with each solver."""
    start, target, times = (
        torch.from_numpy(normal(64, 2)),
        torch.from_numpy(normal(10, 64, 2, seed=1)),
        torch.linspace(0.0, 1.0, 10),
    )
    answer = {}
    for name, solve, options in (
        ("rk4", odeint, {"method": "rk4"}),
        ("dopri5", odeint, {"method": "dopri5", "rtol": 1e-3, "atol": 1e-4}),
        ("adjoint", odeint_adjoint, {"method": "rk4"}),
    ):
        slope = fill(Slope())
        optimizer = torch.optim.Adam(slope.parameters(), lr=1e-2)
        losses = []
        for _ in range(10):
            optimizer.zero_grad()
            loss = (solve(slope, start, times, **options) - target).abs().mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        answer[name] = losses
    return answer
