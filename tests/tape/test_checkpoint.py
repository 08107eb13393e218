"""utils.checkpoint: the gradients of the plain call, from a second run of the function in backward.

Each case is run with `checkpoint` and with `keep`, which calls the function as it is; gradients, of second
order too, must be equal up to rounding.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier.utils.checkpoint import CheckpointError, checkpoint, checkpoint_sequential
from support.refused import refused

LAYER = rv.nn.Linear(3, 3)
Call = Callable[..., Any]  # `checkpoint` or `keep`


def keep(function: Callable[..., Any], *args: Any, **settings: Any) -> Any:
    settings.pop("use_reentrant")
    return function(*args, **settings)


def plain(call: Call, x: rv.Tensor) -> rv.Tensor:
    return call(lambda a: LAYER(a).tanh(), x, use_reentrant=False)


def reentrant(call: Call, x: rv.Tensor) -> rv.Tensor:
    return call(lambda a: LAYER(a).tanh(), x, use_reentrant=True)


def drawn(call: Call, x: rv.Tensor) -> rv.Tensor:
    rv.manual_seed(0)
    y = call(lambda a: rv.nn.functional.dropout(a) * a, x, use_reentrant=False)
    return y * rv.rand(2, 3)


def nested(call: Call, x: rv.Tensor) -> rv.Tensor:
    return call(lambda a: plain(call, a) * reentrant(call, a), x, use_reentrant=False)


def keyword(call: Call, x: rv.Tensor) -> rv.Tensor:
    return call(functools.partial(lambda a, b: LAYER(a) * b, b=x * x), x * 2, use_reentrant=False)


def closure(call: Call, x: rv.Tensor) -> rv.Tensor:
    h = x * x
    return call(lambda a: a * h * x, h, use_reentrant=True) + h


def structures(call: Call, x: rv.Tensor) -> rv.Tensor:
    y = call(lambda a, b: {"y": [a * b["b"][0], 1], "z": a.exp()}, x, {"b": (x * 2,)}, use_reentrant=False)
    return y["y"][0] + y["z"]


def seen(call: Call, x: rv.Tensor) -> rv.Tensor:
    inner = []

    def function(a: rv.Tensor) -> rv.Tensor:
        inner.append(a * 2)
        return inner[-1].exp()

    return call(function, x, use_reentrant=False) + inner[0]


def array_of(gradient: rv.Tensor | None) -> Any:
    return None if gradient is None else gradient.detach().numpy()


@pytest.mark.parametrize("case", [plain, reentrant, drawn, nested, keyword, closure, structures, seen])
def test_the_gradients_are_those_of_the_plain_call(case: Callable[[Call, rv.Tensor], rv.Tensor]) -> None:
    x = rv.tensor(np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3), requires_grad=True)
    wanted = [x, LAYER.weight]
    for create in (False, True):
        results = []
        for call in (keep, checkpoint):
            slopes = rv.autograd.grad(case(call, x).sum(), wanted, create_graph=create, allow_unused=True)
            if create:
                slopes += rv.autograd.grad(slopes[0].pow(2).sum(), wanted, allow_unused=True)
            results.append(list(map(array_of, slopes)))
        for expected, got in zip(*results, strict=True):
            assert (expected is None) == (got is None)
            if expected is not None:
                np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_the_function_runs_again_and_its_activations_are_freed(use_reentrant: bool) -> None:
    inner, x = [], rv.ones(3, requires_grad=True)

    def function(a: rv.Tensor) -> rv.Tensor:
        y = a.exp()
        inner.append(weakref.ref(y))
        return y.sin()

    y = checkpoint(function, x, use_reentrant=use_reentrant).sum()
    assert len(inner) == 1
    assert inner[0]() is None
    y.backward()
    assert len(inner) == 2
    refused(RuntimeError, "second time", y.backward)
    with rv.no_grad():
        checkpoint(function, x, use_reentrant=use_reentrant)
    assert len(inner) == 3


def test_contexts_and_what_is_refused() -> None:
    x, names = rv.ones(3, requires_grad=True), []

    class Block:
        def __init__(self, name: str) -> None:
            self.name = name

        def __enter__(self) -> None:
            names.append(self.name)

        def __exit__(self, *error: object) -> None: ...

    def contexts() -> tuple[Any, Any]:
        return Block("first"), Block("again")

    checkpoint(rv.exp, x, use_reentrant=False, context_fn=contexts).sum().backward()
    assert names == ["first", "again"]
    for settings in ({"k": 1}, {"debug": True}, {"context_fn": contexts}):
        with pytest.raises(ValueError, match=r"Unexpected keyword|only supported"):
            checkpoint(rv.exp, x, use_reentrant=True, **settings)
    with pytest.warns(UserWarning, match="None of the inputs"):
        assert not checkpoint(LAYER, rv.ones(3), use_reentrant=True).requires_grad
    with pytest.warns(UserWarning, match="passed explicitly"):
        checkpoint(rv.exp, x)
    h = x * 2
    y = checkpoint(rv.exp, h, use_reentrant=False)
    h.add_(1)
    refused(RuntimeError, "modified", y.sum().backward)


@pytest.mark.parametrize("check", ["default", "none"])
def test_another_second_run_is_an_error(check: str) -> None:
    calls = []

    def function(a: rv.Tensor) -> rv.Tensor:
        calls.append(1)
        return a.exp() if len(calls) == 1 else a.exp().sin()

    y = checkpoint(function, rv.ones(3, requires_grad=True), use_reentrant=False, determinism_check=check)
    if check == "none":
        return y.sum().backward()
    refused(CheckpointError, "recorded other operations", y.sum().backward)


@pytest.mark.parametrize("segments", [1, 2, 3])
def test_a_sequence_in_segments(segments: int) -> None:
    calls: list[int] = []
    model = rv.nn.Sequential(*[rv.nn.Linear(3, 3) for _ in range(4)])
    for layer in model:
        layer.register_forward_hook(lambda *_: calls.append(1))
    x = rv.ones(2, 3, requires_grad=True)
    y = checkpoint_sequential(model, segments, x, use_reentrant=False)
    np.testing.assert_array_equal(y.detach().numpy(), model(x).detach().numpy())
    calls.clear()
    y.sum().backward()
    assert len(calls) == 4 // segments * (segments - 1)


def test_a_captured_step_keeps_its_activations() -> None:
    @rv.compile
    def step(x: rv.Tensor) -> rv.Tensor:
        x.grad = None
        checkpoint(rv.exp, x, use_reentrant=False).sum().backward()
        return x.grad

    x = rv.zeros(3, requires_grad=True)
    for _ in range(4):
        np.testing.assert_array_equal(step(x).numpy(), np.ones(3, np.float32))
