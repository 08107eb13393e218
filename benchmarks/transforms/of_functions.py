"""Tables A and C: what programs do with transforms; C has the captured ones alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.transforms.networks import CLASSES, CNN, Network, mlp
from benchmarks.transforms.rows import COMPILED, Function, Inputs, Row, float32

SLICES, WIDTH = 5_000, 8
MATRICES = 64
POINTS = 200
MEMBERS, BATCH = 32, 64


def random_arrays(*shapes: tuple[int, ...]) -> Inputs:
    rng = np.random.default_rng(0)
    return tuple(float32(rng.standard_normal(shape)) for shape in shapes)


def near_identity() -> Inputs:
    """Matrices whose condition is small."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((MATRICES, WIDTH, WIDTH)) / WIDTH
    return (float32(np.eye(WIDTH) + noise / 2),)


# --- small functions


def dot_row() -> Row:
    def inputs() -> Inputs:
        return random_arrays((SLICES, WIDTH), (SLICES, WIDTH))

    return Row(
        "A",
        f"dot, {SLICES} slices of {WIDTH}",
        inputs,
        lambda t: t.func.vmap(t.dot),
        lambda jax: jax.vmap(jax.numpy.dot),
        terms=WIDTH,
    )


def softmax_row() -> Row:
    return Row(
        "A",
        f"softmax, {SLICES} x {WIDTH}",
        lambda: random_arrays((SLICES, WIDTH)),
        lambda t: t.func.vmap(lambda x: t.softmax(x, -1)),
        lambda jax: jax.vmap(lambda x: jax.nn.softmax(x, -1)),
        terms=WIDTH,
    )


def shared_product_row() -> Row:
    def inputs() -> Inputs:
        return random_arrays((WIDTH, WIDTH), (SLICES, WIDTH))

    return Row(
        "A",
        f"W @ x, shared W, {SLICES} slices",
        inputs,
        lambda t: t.func.vmap(lambda w, x: w @ x, in_dims=(None, 0)),
        lambda jax: jax.vmap(lambda w, x: w @ x, in_axes=(None, 0)),
        terms=WIDTH,
    )


def several_ops_row() -> Row:
    def of_tensors(t: Any) -> Function:
        def scaled(x: Any) -> Any:
            return t.where(x > 0, x / x.norm(), 0.1 * x).sum()

        return t.func.vmap(scaled)

    def of_jax(jax: Any) -> Function:
        jnp = jax.numpy

        def scaled(x: Any) -> Any:
            return jnp.where(x > 0, x / jnp.linalg.norm(x), 0.1 * x).sum()

        return jax.vmap(scaled)

    name = f"norm, where, sum, {SLICES} slices"
    return Row("A", name, lambda: random_arrays((SLICES, WIDTH)), of_tensors, of_jax, terms=2 * WIDTH)


def gradient_row() -> Row:
    def squares(x: Any) -> Any:
        return (x * x).sum()

    return Row(
        "A",
        f"grad of a sum, {SLICES} slices",
        lambda: random_arrays((SLICES, WIDTH)),
        lambda t: t.func.vmap(t.func.grad(squares)),
        lambda jax: jax.vmap(jax.grad(squares)),
        terms=WIDTH,
    )


def inverse_row() -> Row:
    return Row(
        "A",
        f"inverse, {MATRICES} of {WIDTH}x{WIDTH}",
        near_identity,
        lambda t: t.func.vmap(t.linalg.inv),
        lambda jax: jax.vmap(jax.numpy.linalg.inv),
        terms=WIDTH**2,
    )


# --- networks


def sample_losses(t: Any, network: Network) -> Function:
    """The cross-entropy of one sample, by PyTorch's names."""
    module = network.module(t)

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        scores = t.func.functional_call(module, parameters, (x.unsqueeze(0),))
        return t.nn.functional.cross_entropy(scores, y.unsqueeze(0))

    return loss


def jax_sample_losses(jax: Any, network: Network) -> Function:
    """The cross-entropy of one sample, by JAX's names."""

    def loss(parameters: Any, x: Any, y: Any) -> Any:
        scores = network.jax(jax, parameters, x)
        return -jax.nn.log_softmax(scores)[y]

    return loss


def samples_of(network: Network, count: int) -> Inputs:
    """Parameters, samples and labels."""
    rng = np.random.default_rng(0)
    parameters = network.parameters(rng)
    samples = float32(rng.standard_normal((count, *network.sample)))
    return parameters, samples, rng.integers(0, CLASSES, count)


def gradients_row(network: Network, count: int) -> Row:
    """The gradients of single samples."""

    def of_tensors(t: Any) -> Function:
        gradient = t.func.grad(sample_losses(t, network))
        return t.func.vmap(gradient, in_dims=(None, 0, 0))

    def of_jax(jax: Any) -> Function:
        gradient = jax.grad(jax_sample_losses(jax, network))
        return jax.vmap(gradient, in_axes=(None, 0, 0))

    name = f"gradients of {count} samples, {network.name}"
    return Row("A", name, lambda: samples_of(network, count), of_tensors, of_jax, terms=4 * network.terms)


def value_of(t: Any, network: Network) -> Function:
    module = network.module(t)
    return lambda parameters, x: t.func.functional_call(module, parameters, (x,))


def jax_value_of(jax: Any, network: Network) -> Function:
    return lambda parameters, x: network.jax(jax, parameters, x)


def points_of(network: Network, count: int | None) -> Inputs:
    """Parameters, and points; count None: one point without a dimension of points."""
    rng = np.random.default_rng(0)
    parameters = network.parameters(rng)
    shape = network.sample if count is None else (count, *network.sample)
    return parameters, float32(rng.standard_normal(shape))


def jacobians_row() -> Row:
    network = mlp((8, 32, 32, 8), "Tanh")

    def of_tensors(t: Any) -> Function:
        jacobian = t.func.jacrev(value_of(t, network), argnums=1)
        return t.func.vmap(jacobian, in_dims=(None, 0))

    def of_jax(jax: Any) -> Function:
        jacobian = jax.jacrev(jax_value_of(jax, network), argnums=1)
        return jax.vmap(jacobian, in_axes=(None, 0))

    name = f"jacobians of {POINTS} points, {network.name}"
    return Row("A", name, lambda: points_of(network, POINTS), of_tensors, of_jax, terms=4 * network.terms)


def laplacians_row() -> Row:
    network = mlp((2, 32, 32, 1), "Tanh")

    def of_tensors(t: Any) -> Function:
        value = value_of(t, network)
        hessian = t.func.hessian(lambda parameters, x: value(parameters, x).sum(), argnums=1)

        def laplacian(parameters: Any, x: Any) -> Any:
            return hessian(parameters, x).diagonal().sum()

        return t.func.vmap(laplacian, in_dims=(None, 0))

    def of_jax(jax: Any) -> Function:
        value = jax_value_of(jax, network)
        hessian = jax.hessian(lambda parameters, x: value(parameters, x).sum(), argnums=1)

        def laplacian(parameters: Any, x: Any) -> Any:
            return hessian(parameters, x).diagonal().sum()

        return jax.vmap(laplacian, in_axes=(None, 0))

    name = f"laplacians of {POINTS} points by hessian, {network.name}"
    return Row("A", name, lambda: points_of(network, POINTS), of_tensors, of_jax, terms=8 * network.terms)


def ensemble_row() -> Row:
    """Members with parameters stacked along a new first dimension, on the same samples."""
    network = mlp((20, 64, 64, 10))

    def inputs() -> Inputs:
        rng = np.random.default_rng(0)
        members = [network.parameters(rng) for _ in range(MEMBERS)]
        stacked = {name: np.stack([member[name] for member in members]) for name in members[0]}
        return stacked, float32(rng.standard_normal((BATCH, *network.sample)))

    def of_jax(jax: Any) -> Function:
        of_samples = jax.vmap(jax_value_of(jax, network), in_axes=(None, 0))
        return jax.vmap(of_samples, in_axes=(0, None))

    return Row(
        "A",
        f"ensemble of {MEMBERS}, {BATCH} samples, {network.name}",
        inputs,
        lambda t: t.func.vmap(value_of(t, network), in_dims=(0, None)),
        of_jax,
        terms=network.terms,
    )


def one_point_row(transform: str) -> Row:
    """A derivative of one point; of the hessian the network has one output."""
    network = mlp((8, 32, 32, 1 if transform == "hessian" else 8), "Tanh")

    def value(of_point: Function) -> Function:
        if transform == "hessian":
            return lambda parameters, x: of_point(parameters, x).sum()
        return of_point

    return Row(
        "A",
        f"{transform} of one point, {network.name}",
        lambda: points_of(network, None),
        lambda t: getattr(t.func, transform)(value(value_of(t, network)), argnums=1),
        lambda jax: getattr(jax, transform)(value(jax_value_of(jax, network)), argnums=1),
        terms=8 * network.terms,
    )


def function_rows() -> list[Row]:
    """Table A."""
    return [
        dot_row(),
        softmax_row(),
        shared_product_row(),
        several_ops_row(),
        gradient_row(),
        inverse_row(),
        gradients_row(mlp((20, 64, 64, 10)), 64),
        gradients_row(mlp((20, 16, 10)), 1_000),
        gradients_row(CNN, 64),
        jacobians_row(),
        laplacians_row(),
        ensemble_row(),
        one_point_row("jacrev"),
        one_point_row("jacfwd"),
        one_point_row("hessian"),
    ]


def captured_rows() -> list[Row]:
    """Table C."""
    rows = [
        gradients_row(network, count)
        for network in (mlp((20, 64, 64, 10)), mlp((20, 16, 10)), CNN)
        for count in (64, 1_000)
    ]
    rows += [laplacians_row(), ensemble_row()]
    return [replace(row, table="C", ways=COMPILED) for row in rows]
