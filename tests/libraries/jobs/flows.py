"""Densities and posteriors: flows, Gaussian processes, inference."""

import functools

import torch
from common import fill, normal, step, uniform
from torch import from_numpy


def nflows():
    """A masked autoregressive flow and one of rational-quadratic splines are trained. Ten steps of Adam
    of each flow; then its density, and there and back."""
    from nflows import distributions, flows, transforms
    from nflows.nn.nets import ResidualNet

    def hidden(inputs, outputs):
        return ResidualNet(inputs, outputs, hidden_features=32)

    masks = [[(i + k) % 2 for i in range(4)] for k in range(3)]
    coupling = functools.partial(
        transforms.PiecewiseRationalQuadraticCouplingTransform, tails="linear", tail_bound=4.0
    )
    autoregressive = transforms.MaskedAffineAutoregressiveTransform
    kinds = {
        "affine": [autoregressive(features=4, hidden_features=32) for _ in masks],
        "splines": [coupling(mask, hidden) for mask in masks],
    }
    x, answer = from_numpy(normal(256, 4)), {}
    for name, layers in kinds.items():
        flow = flows.Flow(transforms.CompositeTransform(layers), distributions.StandardNormal([4]))
        fill(flow, scale=0.5)
        optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
        losses = [step(optimizer, -flow.log_prob(x).mean()) for _ in range(10)]
        noise = from_numpy(normal(8, 4, seed=1))
        answer |= {name: losses, f"{name}_inverse": flow._transform.inverse(noise)[0]}
    return answer


def normflows():
    """A RealNVP and a neural spline flow are trained. Ten steps of Adam of each flow, by its forward
    divergence; then what it makes of noise."""
    from normflows import NormalizingFlow, distributions, flows, nets

    def coupling(k):
        mask = torch.tensor([float(k % 2), float((k + 1) % 2)])
        return flows.MaskedAffineFlow(mask, *(nets.MLP([2, 32, 32, 2]) for _ in range(2)))

    kinds = {
        "real_nvp": [coupling(k) for k in range(4)],
        "splines": [flows.AutoregressiveRationalQuadraticSpline(2, 1, 32) for _ in range(2)],
    }
    x, answer = from_numpy(normal(256, 2)), {}
    for name, layers in kinds.items():
        model = fill(NormalizingFlow(distributions.DiagGaussian(2), layers), scale=0.5)
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        losses = [step(optimizer, model.forward_kld(x)) for _ in range(10)]
        answer |= {name: losses, f"{name}_samples": model.forward(from_numpy(normal(8, 2, seed=1)))}
    return answer


def zuko():
    """Masked autoregressive flows, spline flows and coupling flows are trained, with a context. Ten steps
    of Adam of each flow; then what it makes of noise."""
    import zuko

    x, context, answer = from_numpy(normal(128, 3)), from_numpy(normal(128, 2, seed=1)), {}
    for name in ("MAF", "NSF", "NICE"):
        flow = fill(getattr(zuko.flows, name)(3, 2, transforms=2, hidden_features=(32, 32)), scale=0.5)
        optimizer = torch.optim.Adam(flow.parameters(), lr=1e-3)
        losses = [step(optimizer, -flow(context).log_prob(x).mean()) for _ in range(10)]
        noise = from_numpy(normal(8, 3, seed=2))
        answer |= {name: losses, f"{name}_inverse": flow(context[:8]).transform.inv(noise)}
    return answer


def gpytorch():
    """An exact Gaussian process and a sparse variational one are trained, and predict. Trains both."""
    import gpytorch
    from gpytorch import kernels, likelihoods, means, mlls

    class Exact(gpytorch.models.ExactGP):
        """All points."""

        def __init__(self, x, y, likelihood):
            super().__init__(x, y, likelihood)
            self.mean, self.kernel = means.ConstantMean(), kernels.ScaleKernel(kernels.RBFKernel())

        def forward(self, x):
            """The prior at x."""
            return gpytorch.distributions.MultivariateNormal(self.mean(x), self.kernel(x))

    class Sparse(gpytorch.models.ApproximateGP):
        """Twenty inducing points."""

        def __init__(self, points):
            variational = gpytorch.variational.CholeskyVariationalDistribution(len(points), mean_init_std=0.0)
            super().__init__(gpytorch.variational.VariationalStrategy(self, points, variational))
            kernel = kernels.MaternKernel(ard_num_dims=2)
            self.mean, self.kernel = means.ConstantMean(), kernels.ScaleKernel(kernel)

        forward = Exact.forward

    x = from_numpy(uniform(100, 2))
    y = torch.sin(6 * x[:, 0]) + from_numpy(normal(100, scale=0.1))
    both, answer = [likelihoods.GaussianLikelihood() for _ in range(2)], {}
    exact, sparse = Exact(x, y, both[0]), Sparse(x[:20].clone())
    margins = mlls.ExactMarginalLogLikelihood(both[0], exact), mlls.VariationalELBO(both[1], sparse, 100)
    for model, likelihood, margin in zip((exact, sparse), both, margins, strict=True):
        name = type(model).__name__.lower()
        parameters = dict.fromkeys([*model.parameters(), *likelihood.parameters()])  # the exact one has both
        optimizer = torch.optim.Adam(list(parameters), lr=0.1)
        model.train(), likelihood.train()
        answer[name] = [step(optimizer, -margin(model(x), y)) for _ in range(20)]
        model.eval(), likelihood.eval()
        with torch.no_grad(), gpytorch.settings.fast_pred_var():
            predicted = likelihood(model(x[:10] + 0.1))
        answer |= {f"{name}_mean": predicted.mean, f"{name}_variance": predicted.variance}
    return answer


def botorch():
    """A Gaussian process is fitted, and the next point is chosen by its expected improvement. Twelve
    points in two dimensions, three more that are chosen."""
    from botorch.acquisition import LogExpectedImprovement
    from botorch.fit import fit_gpytorch_mll
    from botorch.models import SingleTaskGP
    from botorch.optim import optimize_acqf
    from gpytorch.mlls import ExactMarginalLogLikelihood

    x = from_numpy(uniform(12, 2, dtype="float64"))
    values = []
    for _ in range(3):
        y = -((x - 0.4) ** 2).sum(-1, keepdim=True) + 0.1 * torch.sin(9 * x[:, :1])
        model = SingleTaskGP(x, y)
        fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
        acquisition = LogExpectedImprovement(model, best_f=y.max())
        starts = from_numpy(uniform(4, 1, 2, seed=1, dtype="float64"))
        bounds = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
        point, value = optimize_acqf(
            acquisition, bounds, q=1, num_restarts=4, batch_initial_conditions=starts
        )
        x, values = torch.cat([x, point]), [*values, value.item()]
    posterior = model.posterior(from_numpy(uniform(5, 2, seed=2, dtype="float64")))
    return {"points": x[12:], "values": values, "mean": posterior.mean, "variance": posterior.variance}


def pyro():
    """A regression is fitted by variational inference, and its joint density is traced. Fifty steps to
    the largest posterior density, from given values."""
    import pyro
    from pyro import distributions
    from pyro.infer import SVI, Trace_ELBO
    from pyro.infer.autoguide import AutoDelta

    def model(x, y=None):
        """A linear regression with priors."""
        slope = pyro.sample("slope", distributions.Normal(torch.zeros(3), 1.0).to_event(1))
        offset = pyro.sample("offset", distributions.Normal(0.0, 1.0))
        noise = pyro.sample("noise", distributions.Gamma(2.0, 2.0))
        with pyro.plate("rows", len(x)):
            return pyro.sample("y", distributions.Normal(x @ slope + offset, noise), obs=y)

    pyro.clear_param_store()
    x = from_numpy(normal(100, 3))
    y = x @ torch.tensor([1.0, -2.0, 0.5]) + from_numpy(normal(100, seed=1, scale=0.3))
    start = {"slope": torch.zeros(3), "offset": torch.tensor(0.0), "noise": torch.tensor(1.0)}
    guide = AutoDelta(model, init_loc_fn=lambda site: start[site["name"]].clone())
    steps = SVI(model, guide, pyro.optim.Adam({"lr": 0.05}), Trace_ELBO())
    losses = [steps.step(x, y) for _ in range(50)]
    trace = pyro.poutine.trace(pyro.poutine.condition(model, start)).get_trace(x, y)
    medians = guide.median()
    return {
        "losses": losses,
        "density": trace.log_prob_sum(),
        "noise": medians["noise"],
        "slope": medians["slope"],
    }


def sbi():
    """Posteriors are estimated from simulations, with flows and by ratios. NPE and NRE train for two
    epochs on 200 simulations. What is compared is the loss of each kind of network in ten steps, since
    sbi draws which simulations are for validation."""
    from sbi.inference import NPE, NRE
    from sbi.neural_nets import posterior_nn
    from sbi.utils import BoxUniform

    theta, noise = from_numpy(uniform(200, 3, low=-2, high=2)), from_numpy(normal(200, 3, scale=0.1))
    x, prior, answer = theta + noise, BoxUniform(-2 * torch.ones(3), 2 * torch.ones(3)), {}
    for method in (NPE, NRE):
        inference = method(prior=prior, show_progress_bars=False)
        inference.append_simulations(theta, x).train(max_num_epochs=2)
        posterior = inference.build_posterior()
        answer[method.__name__ + "_shape"] = posterior.potential(theta[:5], x[0]).shape
    for model in ("maf", "nsf", "mdn"):
        network = fill(posterior_nn(model, hidden_features=20, num_transforms=2)(theta, x), scale=0.5)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        answer[model] = [step(optimizer, network.loss(theta, x).mean()) for _ in range(10)]
    return answer
