"""botorch: a Gaussian process is fitted, and the next point is chosen by its expected improvement."""

import torch
from botorch.acquisition import LogExpectedImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import SingleTaskGP
from botorch.optim import optimize_acqf
from gpytorch.mlls import ExactMarginalLogLikelihood
from weights import uniform


def job():
    """Twelve points in two dimensions, three more that are chosen."""
    x = torch.from_numpy(uniform(12, 2, dtype="float64"))
    values = []
    for _ in range(3):
        y = -((x - 0.4) ** 2).sum(-1, keepdim=True) + 0.1 * torch.sin(9 * x[:, :1])
        model = SingleTaskGP(x, y)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        acquisition = LogExpectedImprovement(model, best_f=y.max())
        starts = torch.from_numpy(uniform(4, 1, 2, seed=1, dtype="float64"))
        bounds = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
        point, value = optimize_acqf(
            acquisition, bounds, q=1, num_restarts=4, batch_initial_conditions=starts
        )
        x, values = torch.cat([x, point]), [*values, value.item()]
    posterior = model.posterior(torch.from_numpy(uniform(5, 2, seed=2, dtype="float64")))
    return {"points": x[12:], "values": values, "mean": posterior.mean, "variance": posterior.variance}
