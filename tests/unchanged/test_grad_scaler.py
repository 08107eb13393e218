"""GradScaler: when steps are left out, how the scale moves, what is an error."""

import pickle

import pytest
import ranvier as rv
from ranvier.torch.grad_scaler import CPUGradScaler, CUDAGradScaler, GradScaler
from ranvier.torch.machine import OptState


def begun(scale=1024.0, dtype=rv.float32, **settings):
    p = rv.ones(2, dtype=dtype, requires_grad=True)
    return p, rv.optim.SGD([p], lr=0.25), GradScaler("cpu", scale, **settings)


def step(p, optimizer, scaler, factor=1.0):
    optimizer.zero_grad()
    scaler.scale((p * factor).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    return p[0].item(), scaler.get_scale(), scaler._get_growth_tracker()


@pytest.mark.parametrize("dtype", [rv.float32, rv.bfloat16])
def test_the_scale_after_steps(dtype):
    """Those with an infinity or NaN change nothing and make it smaller; two others in a row larger."""
    given = begun(dtype=dtype, growth_interval=2)
    assert step(*given) == (0.75, 1024, 1)
    assert step(*given) == (0.5, 2048, 0)
    assert step(*given) == (0.25, 2048, 1)
    assert step(*given, float("nan")) == (0.25, 1024, 0)
    assert step(*given, float("inf")) == (0.25, 512, 0)
    assert step(*given) == (0, 512, 1)


def test_a_scale_does_not_become_infinite():
    assert step(*begun(2.0**127, growth_interval=1))[1:] == (2.0**127, 0)


def test_gradients_are_unscaled_once():
    p, optimizer, scaler = begun()
    scaler.scale(p.sum()).backward()
    scaler.unscale_(optimizer)
    assert p.grad.tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="already been called on this optimizer"):
        scaler.unscale_(optimizer)
    scaler.step(optimizer)
    assert scaler._per_optimizer_states[id(optimizer)]["stage"] is OptState.STEPPED
    for wrong, text in ((scaler.step, "step.. has already"), (scaler.unscale_, "being called after step")):
        with pytest.raises(RuntimeError, match=text):
            wrong(optimizer)
    with pytest.raises(AssertionError, match="expected to be pickled after"):
        pickle.dumps(scaler)
    scaler.update(3.0)
    assert (p.tolist(), scaler.get_scale()) == ([0.75, 0.75], 3)


def test_outputs_in_containers():
    _, _, scaler = begun(2.0)
    a, (b,) = scaler.scale([rv.ones(1), (rv.ones(1, dtype=rv.float16),)])
    assert (a.tolist(), b.tolist(), b.dtype) == ([2], [2], rv.float16)
    assert [x.item() for x in scaler.scale(x for x in [rv.ones(1)])] == [2]


def test_state():
    given = begun(growth_interval=2)
    step(*given)
    saved = given[2].state_dict()
    assert [*saved] == ["scale", "growth_factor", "backoff_factor", "growth_interval", "_growth_tracker"]
    p, optimizer, other = begun(7.0)
    other.load_state_dict(saved)
    for scaler in (other, pickle.loads(pickle.dumps(given[2]))):
        assert scaler.state_dict() == saved
    assert step(p, optimizer, other)[1:] == (2048, 0)


@pytest.mark.parametrize("kind", [GradScaler, CUDAGradScaler])
def test_switched_off(kind):
    """As PyTorch's for "cuda", which is not available."""
    with pytest.warns(UserWarning, match="CUDA is not available"):
        scaler = kind()
    p, optimizer, _ = begun()
    assert step(p, optimizer, scaler) == (0.75, 1, 0)
    assert (scaler.state_dict(), scaler.is_enabled(), CPUGradScaler().is_enabled()) == ({}, False, True)
    scaler.load_state_dict({})


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda s, o: GradScaler("cpu", growth_factor=1.0), AssertionError),
        (lambda s, o: GradScaler("cpu", backoff_factor=1.0), AssertionError),
        (lambda s, o: s.step(o), AssertionError),
        (lambda s, o: s.step(o, closure=None), RuntimeError),
        (lambda s, o: s.unscale_(o), AssertionError),
        (lambda s, o: s.update(), AssertionError),
        (lambda s, o: s.scale(3), ValueError),
        (lambda s, o: s.load_state_dict({}), RuntimeError),
    ],
)
def test_errors(call, kind):
    _, optimizer, scaler = begun()
    with pytest.raises(kind):
        call(scaler, optimizer)


def test_gradients_in_float16_are_refused():
    p, optimizer, scaler = begun(dtype=rv.float16)
    scaler.scale(p.sum()).backward()
    with pytest.raises(ValueError, match="FP16"):
        scaler.step(optimizer)
