"""Optimizers in the mode: their states, constructors, GradScaler and torch._foreach_ functions."""

import copy
import inspect
import pickle

import numpy as np
import pytest
import ranvier as rv
from optim.problem import closure_of
from ranvier import optim
from ranvier.torch.devices.machine import OptState
from ranvier.torch.installation.list_functions import foreach
from ranvier.torch.training.grad_scaler import CPUGradScaler, CUDAGradScaler, GradScaler
from ranvier.torch.training.optimizers import SparseAdam
from support.refused import refused

KINDS = {c for c in vars(rv.optim).values() if isinstance(c, type)} - {rv.optim.Optimizer}
USES = [(kind, {}) for kind in KINDS if issubclass(kind, rv.optim.Optimizer)]
USES += [(rv.optim.SGD, {"momentum": 0.9}), (rv.optim.RMSprop, {"momentum": 0.9, "centered": True})]
USES += [(rv.optim.Adam, {"amsgrad": True}), (rv.optim.LBFGS, {"line_search_fn": "strong_wolfe"})]


@pytest.mark.parametrize(("kind", "settings"), sorted(USES, key=str))
def test_state_is_of_tensors_by_every_name(kind, settings):
    p = rv.nn.Parameter(rv.ones(3))
    optimizer = kind([p], **settings)
    for _ in range(2):
        optimizer.step(closure_of(optimizer, lambda: (p * p).sum() + p[0] ** 4))
    saved = optimizer.state_dict()["state"].get(0, {})
    if kind is rv.optim.SGD:
        assert list(saved) == ["momentum_buffer"] * len(settings)
    for state in (optimizer.state[p], saved):
        for key, value in state.items():
            for entry in value if isinstance(value, list) else [value]:
                plain = kind is rv.optim.LBFGS and key in ("func_evals", "n_iter", "t", "prev_loss")
                assert type(entry) is (type(entry) if plain else rv.Tensor), (key, type(entry))


def test_a_captured_step_sees_changes_of_the_state():
    p = rv.nn.Parameter(rv.zeros(3))
    sgd = rv.optim.SGD([p], lr=1.0, momentum=0.5)
    p.grad = rv.ones(3)
    step = rv.compile(sgd.step)
    changes = [
        lambda state: state["momentum_buffer"].fill_(2.0),
        lambda state: state.update(momentum_buffer=rv.full((3,), 2.0)),
        lambda state: state.update(momentum_buffer=np.full(3, 2.0)),
        lambda state: state.update(momentum_buffer=rv.full((3,), 2.0, dtype=rv.float64)),
        lambda state: setattr(state["momentum_buffer"], "data", rv.full((3,), 2.0)),
    ]
    for change in [*changes * 3, *[changes[0]] * 12]:
        step()
        p.data.zero_()
        change(sgd.state[p])
        step()
        assert p.tolist() == [-2.0] * 3


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda both: pickle.loads(pickle.dumps(both))])
def test_a_copy_has_its_own_state(copied):
    p = rv.nn.Parameter(rv.zeros(3))
    sgd = rv.optim.SGD([p], lr=1.0, momentum=0.5)
    p.grad = rv.ones(3)
    sgd.step()
    q, other = copied((p, sgd))
    q.grad = rv.ones(3)
    other.step()
    assert (p.tolist(), q.tolist()) == ([-1.0] * 3, [-2.5] * 3)
    assert sgd.state[p]["momentum_buffer"].tolist() == [1.0] * 3


# What libraries read of the constructors of optimizers and schedules; the memory that Tensor(array) has.


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW, optim.lr_scheduler.StepLR])
def test_the_code_of_a_constructor_names_its_arguments(kind):
    """torchtuples gives an optimizer those of its settings that are among these names."""
    assert set(inspect.signature(kind).parameters) <= set(kind.__init__.__code__.co_varnames)


def test_a_flag_without_a_truth_value():
    """Its error has the name: the constructor itself has no wrapper that gives it one."""
    refused(TypeError, "[sgd] got nesterov Tensor", optim.SGD, [rv.ones(1)], nesterov=rv.ones(2))


@pytest.mark.parametrize(
    "setting", [{"lr": 0}, {"lr": float("nan")}, {"eps": 0}, {"betas": (-0.1, 0.9)}, {"betas": (0.9, 1)}]
)
def test_settings_of_sparse_adam_are_checked(setting):
    refused(ValueError, "[SparseAdam] got lr ", SparseAdam, [rv.ones(1, requires_grad=True)], **setting)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [(rv.Tensor, "f4"), (rv.FloatTensor, "f4"), (rv.DoubleTensor, "f8"), (rv.LongTensor, "i8")],
)
def test_a_tensor_has_the_memory_of_an_array_of_its_dtype(kind, dtype):
    array = np.ones((2, 3), dtype)
    x = kind(array)
    array[0, 0] = 5
    x[1, 1] = 7
    x.mul_(2)
    np.testing.assert_array_equal(x.numpy(), [[10, 2, 2], [2, 14, 2]])
    np.testing.assert_array_equal(array, x.numpy())
    array.flags.writeable = False
    for other in (array, array.astype("u1"), array.tolist()):
        copied = kind(other)
        copied.zero_()
        assert array[0, 0] == 10


# torch._foreach_ functions whose last argument is a factor, as programs and optimizers call them.


@pytest.mark.parametrize("factor", [2.0, [2.0, 4.0]])
def test_factor_by_position(factor):
    tensors, others = [rv.ones(1), rv.ones(2)], [rv.full((1,), 3.0), rv.full((2,), 3.0)]
    foreach("_foreach_addcmul_")(tensors, others, others, factor)
    last = 37.0 if isinstance(factor, list) else 19.0
    assert tensors[0].tolist() == [19.0]
    assert tensors[1].tolist() == [last] * 2
    new = foreach("_foreach_addcdiv")(others, others, others, factor)
    assert new[0].tolist() == [5.0]
    assert len(new) == 2
    assert foreach("_foreach_addcdiv")(others, others, others, value=1.0)[0].tolist() == [4.0]
    assert foreach("_foreach_addcdiv")(others, others, others)[0].tolist() == [4.0]


# GradScaler: when steps are left out, how the scale moves, what is an error.


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
    refused(RuntimeError, "already been called on this optimizer", scaler.unscale_, optimizer)
    scaler.step(optimizer)
    assert scaler._per_optimizer_states[id(optimizer)]["stage"] is OptState.STEPPED
    for wrong, text in ((scaler.step, "step.. has already"), (scaler.unscale_, "being called after step")):
        with pytest.raises(RuntimeError, match=text):
            wrong(optimizer)
    refused(AssertionError, "expected to be pickled after", pickle.dumps, scaler)
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
    with pytest.warns(UserWarning, match="CUDA is not available") as caught:
        scaler = kind()
    assert caught[0].filename == __file__
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
    refused(ValueError, "FP16", scaler.step, optimizer)
