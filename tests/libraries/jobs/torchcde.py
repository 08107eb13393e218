"""torchcde: a controlled equation is trained through its solver."""

import torch
import torchcde
from torch import nn
from weights import fill, normal


class Field(nn.Module):
    """The vector field."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 24), nn.Tanh())

    def forward(self, t, z):
        """A matrix for each state."""
        return self.layers(z).view(*z.shape, 3)


def job():
    """Four steps of Adam with each interpolation."""
    x, start, answer = (
        torch.from_numpy(normal(8, 10, 3)).cumsum(1),
        torch.from_numpy(normal(8, 8, seed=1)),
        {},
    )
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
            loss = (given[:, -1] ** 2).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        answer[name] = losses
    answer["logsignature"] = torchcde.CubicSpline(torchcde.natural_cubic_coeffs(x)).derivative(
        torch.tensor(2.5)
    )
    return answer
