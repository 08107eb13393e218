"""pyro: a regression is fitted by variational inference, and its joint density is traced."""

import pyro
import torch
from pyro import distributions
from pyro.infer import SVI, Trace_ELBO
from pyro.infer.autoguide import AutoDelta
from weights import normal


def model(x, y=None):
    """A linear regression with priors."""
    slope = pyro.sample("slope", distributions.Normal(torch.zeros(3), 1.0).to_event(1))
    offset = pyro.sample("offset", distributions.Normal(0.0, 1.0))
    noise = pyro.sample("noise", distributions.Gamma(2.0, 2.0))
    with pyro.plate("rows", len(x)):
        return pyro.sample("y", distributions.Normal(x @ slope + offset, noise), obs=y)


def job():
    """Fifty steps to the largest posterior density, from given values."""
    pyro.clear_param_store()
    x = torch.from_numpy(normal(100, 3))
    y = x @ torch.tensor([1.0, -2.0, 0.5]) + torch.from_numpy(normal(100, seed=1, scale=0.3))
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
