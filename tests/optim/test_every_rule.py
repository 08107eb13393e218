"""Every rule of problem.CASES: PyTorch's paths, half floats, state dicts that continue.

A path is the parameter after each of 100 steps on one problem (problem.py). It is compared with that of the
rule in NumPy (reference/optimizer.py) and with PyTorch's, stored in trajectories.json. `grouped` is
parametrize with many cases in a test.
"""

import contextlib
import copy
import functools
import json

import numpy as np
import pytest
import ranvier as rv
from optim.problem import CASES, FILE, IDS, STEPS, closure_of, gradient, start, through_a_file, trajectory
from ranvier import optim
from reference import optimizer as reference
from support.grouped import grouped
from support.optimizers import KINDS


@functools.cache
def reference_path(index, dtype):
    """The reference's path in longer numbers, and how far one in dtype may be from it at each step.

    16 times as far as the reference's own path in dtype has been, and some roundings of its numbers.
    """
    name, settings = CASES[index]
    rule, paths = getattr(reference, name.lower()), []
    for kind in (np.longdouble, np.dtype(dtype).type):
        p, state, path = start().astype(dtype).astype(kind), {}, []
        for step in range(STEPS):
            g = gradient(p.astype(np.longdouble), step).astype(kind)
            p = rule(p, g, state, **settings).astype(kind)
            state = {key: x.astype(kind) if np.ndim(x) else x for key, x in state.items()}
            path.append(p.reshape(-1))
        paths.append(np.array(path))
    exact, near = paths
    far = np.maximum.accumulate(np.abs(near - exact).max(1, keepdims=True))
    return exact, (16 * far + 8 * np.finfo(dtype).eps * np.abs(exact).max()).astype(np.float64)


def require_within(difference, limit):
    assert (np.abs(difference) <= limit).all(), (np.abs(difference) / limit).max()


def test_every_rule_has_its_cases():
    assert KINDS.keys() == {name for name, _ in CASES}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@grouped("index", range(len(CASES)), ids=IDS)
def test_path_is_the_references(index, dtype, isa):
    expected, limit = reference_path(index, dtype)
    require_within(trajectory(rv, *CASES[index], dtype).reshape(STEPS, -1) - expected, limit)


SAVED = json.loads(FILE.read_text())


@grouped("index", range(len(SAVED["paths"])), ids=IDS[: len(SAVED["paths"])])
def test_path_is_pytorchs(index, isa):
    """Against every fourth element after a few of the steps, stored from PyTorch in float64."""
    steps = np.array(SAVED["steps"]) - 1
    path = trajectory(rv, *CASES[index]).reshape(STEPS, -1)[steps, ::4]
    require_within(path - SAVED["paths"][index], 2 * reference_path(index, "float64")[1][steps])


def walk(library, p, optimizer, steps, dtype="float32"):
    for step in steps:
        value = p.detach().numpy().astype("float64")
        p.grad = library.tensor(gradient(value, step).astype(dtype))
        optimizer.step()


@pytest.mark.parametrize("to_torch", [True, False])
@grouped("index", range(len(CASES)), ids=IDS)
def test_state_dicts_pass_between_torch_and_us(index, to_torch, torch):
    """Half of the way in one library, the other half in the other."""
    name, settings = CASES[index]
    if index >= len(SAVED["paths"]):
        assert not hasattr(torch.optim, name)
        return
    first, second = (rv, torch) if to_torch else (torch, rv)
    p = first.tensor(start().astype("float32"), requires_grad=True)
    optimizer = getattr(first.optim, name)([p], **settings)
    walk(first, p, optimizer, range(STEPS // 2))
    q = second.tensor(p.detach().numpy().copy(), requires_grad=True)
    again = getattr(second.optim, name)([q], lr=9.0)
    saved = optimizer.state_dict()
    if to_torch:
        saved["state"] = {
            i: {k: torch.tensor(v) for k, v in state.items()} for i, state in saved["state"].items()
        }
    again.load_state_dict(saved)
    walk(second, q, again, range(STEPS // 2, STEPS))
    expected, limit = reference_path(index, "float32")
    require_within(q.detach().numpy().reshape(-1) - expected[-1], limit[-1])


# Optimizers on half floats: each step is that of float32, rounded once.


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16])
@pytest.mark.parametrize(("name", "settings"), CASES, ids=IDS)
def test_a_step_of_halves_is_that_of_float32_rounded_once(name, settings, dtype):
    """The parameter and its state, beside a parameter of float32 in the same group."""
    p, other = rv.tensor(start()).to(dtype).requires_grad_(), rv.ones(1, requires_grad=True)
    optimizer = getattr(optim, name)([p, other], **settings)
    for step in range(4):
        twin = p.detach().float().requires_grad_()
        single = getattr(optim, name)([twin], **settings)
        if p in optimizer.state:
            kept = optimizer.state[p].items()
            single.state[twin] = {k: v.float() if v.dtype == dtype else v.clone() for k, v in kept}
        p.grad = rv.tensor(gradient(p.detach().float().numpy(), step)).to(dtype)
        twin.grad, other.grad = p.grad.float(), rv.ones(1)
        optimizer.step()
        single.step()
        assert (p.dtype, other.dtype) == (dtype, rv.float32)
        found = {"p": p, **optimizer.state[p]}
        for key, exact in {"p": twin, **single.state[twin]}.items():
            exact = exact.to(dtype) if exact.ndim else exact
            np.testing.assert_array_equal(found[key].detach().double(), exact.detach().double())
            assert found[key].dtype == exact.dtype
    loaded = getattr(optim, name)(
        [p.detach().clone().requires_grad_(), rv.ones(1, requires_grad=True)], **settings
    )
    loaded.load_state_dict(optimizer.state_dict())
    state = loaded.state[loaded.param_groups[0]["params"][0]]
    assert {k: (v.dtype, v.tolist()) for k, v in state.items()} == {
        k: (v.dtype, v.tolist()) for k, v in optimizer.state[p].items()
    }


LAYOUTS = (lambda x: x, lambda x: x.t().contiguous().t(), lambda x: rv.stack([x, x], 1)[:, 0])


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16])
@pytest.mark.parametrize(("name", "settings"), CASES, ids=IDS)
def test_blocks_and_layouts(name, settings, dtype, isa, rng):
    """Sizes around the blocks of 256 numbers, which become float32 together; any strides."""
    for shape in ((1, 0), (1, 1), (1, 255), (2, 128), (1, 257), (40, 17)):
        x, dy = (rv.tensor(rng.standard_normal(shape)).to(dtype) for _ in range(2))
        exact = x.float().requires_grad_()
        exact.grad = dy.float()
        getattr(optim, name)([exact], **settings).step()
        for layout in LAYOUTS:
            p = layout(x.clone()).requires_grad_()
            p.grad = dy.clone()
            getattr(optim, name)([p], **settings).step()
            np.testing.assert_array_equal(p.detach().float(), exact.detach().to(dtype).float())


def test_steps_of_parameters_that_share_memory():
    """Each is made, as of float32."""
    p = rv.ones(4, 4, dtype=rv.bfloat16, requires_grad=True)
    q = p.detach().t().requires_grad_()
    p.grad = q.grad = rv.ones(4, 4, dtype=rv.bfloat16)
    optim.SGD([p, q], lr=0.25).step()
    assert p.tolist() == [[0.5] * 4] * 4


# State dicts of every optimizer and schedule, copied or in a checkpoint file, and back, bit for bit.


@pytest.mark.parametrize(("name", "settings"), CASES, ids=IDS)
@pytest.mark.parametrize(("dtype", "in_a_file"), [("float64", False), ("float32", True)])
def test_optimizer_continues(tmp_path, name, settings, dtype, in_a_file):
    p = rv.tensor(start().astype(dtype), requires_grad=True)
    optimizer = getattr(rv.optim, name)([p], **settings)
    walk(rv, p, optimizer, range(5), dtype)
    q = rv.tensor(p.detach().numpy().copy(), requires_grad=True)
    again = getattr(rv.optim, name)([q], lr=9.0)
    state = optimizer.state_dict()
    again.load_state_dict(through_a_file(tmp_path, state) if in_a_file else copy.deepcopy(state))
    assert again.param_groups[0]["lr"] == settings["lr"]
    walk(rv, p, optimizer, range(5, 9), dtype)
    walk(rv, q, again, range(5, 9), dtype)
    np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


# Steps with a closure, with settings that change in memory, after a cast.


@pytest.mark.filterwarnings("ignore:.*LBFGS.step")  # which is not captured
@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("block", [contextlib.nullcontext, rv.no_grad, rv.inference_mode])
@pytest.mark.parametrize("kind", [*KINDS.values(), optim.LBFGS])
def test_a_closure_records_gradients_also_without_them(kind, block, captured):
    def run(step_in):
        p = rv.tensor([1.0, 2.0], requires_grad=True)
        optimizer = kind([p], lr=0.1)
        closure = closure_of(optimizer, lambda: (p * p).sum())

        def step():
            with step_in():
                loss = optimizer.step(closure)
                assert rv.is_grad_enabled() == (step_in is contextlib.nullcontext)
            return loss

        call = rv.compile(step) if captured and step_in is block else step
        assert call().item() == 5.0
        call(), call()
        return p.tolist()

    assert run(block) == run(contextlib.nullcontext)


@pytest.mark.filterwarnings("ignore:.*runs eagerly")
@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("kept", [rv.tensor, np.array, lambda x: rv.tensor([x])], ids=["0-d", "array", "1-d"])
@pytest.mark.parametrize("kind", KINDS.values())
def test_settings_in_memory_are_read_at_each_step(kind, kept, captured):
    """Also those of a pair, which stays the same tuple."""
    path, plain = [], {key: x for key, x in kind._defaults.items() if type(x) in (float, tuple)}
    for in_memory in (False, True):
        p = rv.tensor([1.0, -0.5], requires_grad=True)
        given = {k: tuple(map(kept, x)) if type(x) is tuple else kept(x) for k, x in plain.items()}
        optimizer = kind([p], **(given if in_memory else plain))

        @rv.compile if captured else lambda step: step
        def step(p=p, optimizer=optimizer):
            optimizer.zero_grad()
            ((p - 2) ** 2).sum().backward()
            optimizer.step()

        for change in (0, 0, 1, 0, 0, 0, 1, 0):
            for key, x in plain.items() if change else ():
                x, held = (x[0], given[key][0]) if type(x) is tuple else (x, given[key])
                if in_memory:
                    held[...] = np.float32(0.5 * x)
                else:
                    group = optimizer.param_groups[0]
                    pair = group[key][1:] if type(group[key]) is tuple else None
                    group[key] = 0.5 * x if pair is None else (0.5 * x, *pair)
            step()
            path.append(p.tolist())
    np.testing.assert_allclose(path[:8], path[8:], rtol=1e-5)


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16, rv.float64])
@pytest.mark.parametrize("kind", KINDS.values())
def test_after_a_cast_states_keep_their_dtype(kind, dtype, captured):
    """The step is that in the wider dtype, rounded once."""
    settings = {"momentum": 0.5} if "momentum" in kind._defaults else {}
    layer, other = rv.nn.Linear(2, 2, bias=False), rv.nn.Linear(2, 2, bias=False)
    optimizer = kind([layer.weight, other.weight], **settings)

    @rv.compile if captured else lambda step: step
    def step():
        optimizer.zero_grad()
        sum((x.weight.float() ** 3).sum() for x in (layer, other)).backward()
        optimizer.step()

    for cast in (False, True, False, False):
        if cast:
            layer.to(dtype)
        before = layer.weight.dtype == dtype and copy.deepcopy((layer, optimizer.state[layer.weight]))
        step()
        if before:
            wide = before[0].to(rv.float64 if dtype == rv.float64 else rv.float32)
            twin = kind([wide.weight], **settings)
            twin.state[wide.weight] = before[1]
            wide.weight.grad = layer.weight.grad.to(wide.weight.dtype)
            twin.step()
            np.testing.assert_array_equal(
                layer.weight.detach().double(), wide.to(dtype).weight.detach().double()
            )
    arrays = [x for x in optimizer.state[layer.weight].values() if x.ndim]
    assert (layer.weight.dtype, {x.dtype for x in arrays} - {rv.float32}) == (dtype, set())
