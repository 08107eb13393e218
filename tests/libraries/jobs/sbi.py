"""sbi: posteriors are estimated from simulations, with flows and by ratios."""

import torch
from sbi.inference import NPE, NRE
from sbi.neural_nets import posterior_nn
from sbi.utils import BoxUniform
from weights import fill, normal, uniform


def job():
    """NPE and NRE train for two epochs on 200 simulations. What is compared is the loss of each kind of
    network in ten steps, since sbi draws which simulations are for validation."""
    theta, noise = (
        torch.from_numpy(uniform(200, 3, low=-2, high=2)),
        torch.from_numpy(normal(200, 3, scale=0.1)),
    )
    x, prior, answer = theta + noise, BoxUniform(-2 * torch.ones(3), 2 * torch.ones(3)), {}
    for method in (NPE, NRE):
        inference = method(prior=prior, show_progress_bars=False)
        inference.append_simulations(theta, x).train(max_num_epochs=2)
        posterior = inference.build_posterior()
        answer[method.__name__ + "_shape"] = posterior.potential(theta[:5], x[0]).shape
    for model in ("maf", "nsf", "mdn"):
        network = fill(posterior_nn(model, hidden_features=20, num_transforms=2)(theta, x), scale=0.5)
        optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
        losses = []
        for _ in range(10):
            optimizer.zero_grad()
            loss = network.loss(theta, x).mean()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        answer[model] = losses
    return answer
