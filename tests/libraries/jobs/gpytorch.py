"""gpytorch: an exact Gaussian process and a sparse variational one are trained, and predict."""

import gpytorch
import torch
from weights import normal, uniform


class Exact(gpytorch.models.ExactGP):
    """All points."""

    def __init__(self, x, y, likelihood):
        super().__init__(x, y, likelihood)
        self.mean, self.kernel = (
            gpytorch.means.ConstantMean(),
            gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel()),
        )

    def forward(self, x):
        """The prior at x."""
        return gpytorch.distributions.MultivariateNormal(self.mean(x), self.kernel(x))


class Sparse(gpytorch.models.ApproximateGP):
    """Twenty inducing points."""

    def __init__(self, points):
        variational = gpytorch.variational.CholeskyVariationalDistribution(len(points), mean_init_std=0.0)
        super().__init__(gpytorch.variational.VariationalStrategy(self, points, variational))
        self.mean, self.kernel = (
            gpytorch.means.ConstantMean(),
            gpytorch.kernels.ScaleKernel(gpytorch.kernels.MaternKernel(ard_num_dims=2)),
        )

    forward = Exact.forward


def train(model, likelihood, loss_of, x, y, steps):
    """Steps of Adam; returns the losses, and mean and variance of predictions."""
    optimizer = torch.optim.Adam(
        [
            *model.parameters(),
            *[p for p in likelihood.parameters() if all(p is not q for q in model.parameters())],
        ],
        lr=0.1,
    )
    model.train(), likelihood.train()
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    model.eval(), likelihood.eval()
    with torch.no_grad(), gpytorch.settings.fast_pred_var():
        predicted = likelihood(model(x[:10] + 0.1))
    return losses, predicted.mean, predicted.variance


def job():
    """Trains both."""
    x = torch.from_numpy(uniform(100, 2))
    y = torch.sin(6 * x[:, 0]) + torch.from_numpy(normal(100, scale=0.1))
    likelihood, answer = gpytorch.likelihoods.GaussianLikelihood(), {}
    exact = Exact(x, y, likelihood)
    answer |= zip(
        ("exact", "exact_mean", "exact_variance"),
        train(exact, likelihood, gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, exact), x, y, 20),
        strict=True,
    )
    likelihood = gpytorch.likelihoods.GaussianLikelihood()
    sparse = Sparse(x[:20].clone())
    answer |= zip(
        ("sparse", "sparse_mean", "sparse_variance"),
        train(sparse, likelihood, gpytorch.mlls.VariationalELBO(likelihood, sparse, 100), x, y, 20),
        strict=True,
    )
    return answer
