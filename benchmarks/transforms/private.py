"""Table D: a step of differentially private training.

Abadi et al., "Deep learning with differential privacy", 2016.

The gradient of each sample is scaled to a norm of at most LARGEST_NORM; normal noise is added to their sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from benchmarks.transforms.networks import CNN, Network, mlp
from benchmarks.transforms.of_functions import jax_sample_losses, sample_losses, samples_of
from benchmarks.transforms.rows import Function, Inputs, Row

BATCH = 256
RATE, LARGEST_NORM, NOISE = 0.05, 1.0, 1.0
SMALL = 1e-6  # is added to a norm before the division, as in Opacus


def step_of_tensors(t: Any, network: Network, noise: float) -> Function:
    """Parameters, samples and labels to the next parameters, by PyTorch's names."""
    gradient = t.func.grad(sample_losses(t, network))
    gradients_of_samples = t.func.vmap(gradient, in_dims=(None, 0, 0))

    def step(parameters: Any, x: Any, y: Any) -> Any:
        gradients = gradients_of_samples(parameters, x, y)
        norms_of_tensors = [g.flatten(1).norm(dim=1) for g in gradients.values()]
        norms = t.stack(norms_of_tensors).norm(dim=0)
        factors = (LARGEST_NORM / (norms + SMALL)).clamp(max=1.0)
        moved = {}
        for name, parameter in parameters.items():
            total = t.einsum("i,i...->...", factors, gradients[name])
            if noise:
                total = total + noise * LARGEST_NORM * t.randn(parameter.shape)
            moved[name] = parameter - RATE / BATCH * total
        return moved

    return step


def step_of_jax(jax: Any, network: Network, noise: float) -> Function:
    """Parameters, samples and labels to the next parameters, by JAX's names."""
    jnp = jax.numpy
    gradient = jax.grad(jax_sample_losses(jax, network))
    gradients_of_samples = jax.vmap(gradient, in_axes=(None, 0, 0))
    key = jax.random.key(0)

    def step(parameters: Any, x: Any, y: Any) -> Any:
        gradients = gradients_of_samples(parameters, x, y)
        squares = [jnp.square(g.reshape(BATCH, -1)).sum(1) for g in gradients.values()]
        norms = jnp.sqrt(sum(squares))
        factors = jnp.minimum(LARGEST_NORM / (norms + SMALL), 1.0)
        keys = jax.random.split(key, len(parameters))
        moved = {}
        for part, (name, parameter) in zip(keys, parameters.items(), strict=True):
            total = jnp.einsum("i,i...->...", factors, gradients[name])
            if noise:
                total = total + noise * LARGEST_NORM * jax.random.normal(part, parameter.shape)
            moved[name] = parameter - RATE / BATCH * total
        return moved

    return step


def step_of_opacus(network: Network, noise: float) -> Callable[..., Callable[[], Any]]:
    """Its own hooks and optimizer; the parameters move from call to call."""

    def make(parameters: Any, x: Any, y: Any) -> Callable[[], Any]:
        import torch
        from opacus import GradSampleModule
        from opacus.optimizers import DPOptimizer

        module = network.module(torch)
        module.load_state_dict(parameters)
        private = GradSampleModule(module)
        optimizer = DPOptimizer(
            torch.optim.SGD(private.parameters(), lr=RATE),
            noise_multiplier=noise,
            max_grad_norm=LARGEST_NORM,
            expected_batch_size=BATCH,
        )

        def step() -> Any:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(private(x), y)
            loss.backward()
            optimizer.step()
            return dict(module.named_parameters())

        return step

    return make


def private_row(network: Network, noise: float) -> Row:
    def inputs() -> Inputs:
        return samples_of(network, BATCH)

    return Row(
        "D",
        f"private step, {network.name}, batch {BATCH}",
        inputs,
        lambda t: step_of_tensors(t, network, noise),
        lambda jax: step_of_jax(jax, network, noise),
        terms=4 * network.terms + BATCH,
        ways=("ranvier", "torch.func", "opacus", "jax", "rv.compile", "jax.jit"),
        opacus=step_of_opacus(network, noise),
    )


def private_rows() -> list[Row]:
    """Table D. The answers are compared without noise."""
    networks = (mlp((20, 64, 64, 10)), CNN)
    return [replace(private_row(n, NOISE), exact=private_row(n, 0.0)) for n in networks]
