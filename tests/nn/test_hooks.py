"""Hooks on tensors and modules: what they see, what they may change, in what order; PyTorch says the same."""

import copy
import gc
import importlib
import itertools
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused


def values(x):
    if isinstance(x, (tuple, list)):
        return tuple(values(part) for part in x)
    return x if x is None else x.tolist()


def tensor_hooks(torch):
    """The arguments of hooks of tensors, in the order of the calls."""
    log = []
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    y.retain_grad()
    y.register_hook(lambda g: log.append(("y", values(g))))
    y.register_hook(lambda g: g * 10)
    doubled = x.register_hook(lambda g: g * 2)
    x.register_post_accumulate_grad_hook(lambda leaf: log.append(("after", values(leaf.grad))))
    (y * y + x).sum().backward(retain_graph=True)
    log.append(("kept", values(y.grad), values(x.grad)))
    doubled.remove()
    (grad,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
    log.append(("grad", values(grad)))
    a, _ = torch.max(y.reshape(1, 2), 1)  # one of several outputs
    a.register_hook(lambda g: g + 1)
    a.sum().backward()
    log.append(("several", values(x.grad)))
    return log


def module_hooks(torch):
    """The arguments of hooks of a module, in the order of the calls."""
    log = []

    class Two(torch.nn.Module):
        def forward(self, a, b, scale=1.0):
            return a * b * scale, a + b

    net = Two()
    net.register_forward_pre_hook(lambda m, args: log.append(("before", values(args))))
    net.register_forward_pre_hook(
        lambda m, args, kwargs: (args, {"scale": 2.0}) if not kwargs else None, with_kwargs=True
    )
    net.register_forward_hook(lambda m, args, y: log.append(("after", values(y))))
    net.register_forward_hook(lambda m, args, y: log.append(("first", len(args))), prepend=True)
    net.register_full_backward_pre_hook(lambda m, dy: log.append(("enters", values(dy))))
    net.register_full_backward_pre_hook(lambda m, dy: (dy[0] * 3, dy[1]))
    net.register_full_backward_hook(lambda m, dx, dy: log.append(("leaves", values(dx), values(dy))))
    last = net.register_full_backward_hook(lambda m, dx, dy: (dx[0] * 100, dx[1]))
    a = torch.tensor([1.0, 2.0], requires_grad=True)
    b = torch.tensor([3.0, 4.0], requires_grad=True)
    first, second = net(a, b)
    (first.sum() + 5 * second.sum()).backward()
    log.append((values(a.grad), values(b.grad)))
    last.remove()
    a.grad = None
    net(a, b.detach(), scale=1.0)[0].sum().backward()
    log.append(values(a.grad))
    return log


def hooks_inside(torch):
    """No input requires a gradient: the hooks are called with None for it."""
    log = []
    net = torch.nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        net.weight.copy_(torch.tensor([[1.0, 2.0]]))
    net.register_full_backward_hook(lambda m, dx, dy: log.append((values(dx), values(dy))))
    net(torch.ones(1, 2)).sum().backward()
    log.append(values(net.weight.grad))
    return log


PROGRAMS = {
    tensor_hooks: [
        ("y", [6.0, 12.0]),
        ("after", [362.0, 722.0]),
        ("kept", [60.0, 120.0], [362.0, 722.0]),
        ("y", [1.0, 1.0]),
        ("grad", [30.0, 30.0]),
        ("y", [0.0, 2.0]),
        ("after", [362.0, 782.0]),
        ("several", [362.0, 782.0]),
    ],
    module_hooks: [
        ("before", ([1.0, 2.0], [3.0, 4.0])),
        ("first", 2),
        ("after", ([6.0, 16.0], [4.0, 6.0])),
        ("enters", ([1.0, 1.0], [5.0, 5.0])),
        ("leaves", ([23.0, 29.0], [11.0, 17.0]), ([3.0, 3.0], [5.0, 5.0])),
        ([2300.0, 2900.0], [11.0, 17.0]),
        ("before", ([1.0, 2.0], [3.0, 4.0])),
        ("first", 2),
        ("after", ([3.0, 8.0], [4.0, 6.0])),
        ("enters", ([1.0, 1.0], None)),
        ("leaves", ([9.0, 12.0], None), ([3.0, 3.0], None)),
        [9.0, 12.0],
    ],
    hooks_inside: [(((None),), ([[1.0]],)), [[1.0, 1.0]]],
}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_hooks(program):
    assert program(rv) == PROGRAMS[program]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_pytorchs_hooks_see_the_same(program, torch):
    wanted = list(PROGRAMS[program])
    if program is module_hooks:  # for an input without a gradient PyTorch passes zeros to the hook
        wanted[-2] = ("leaves", ([9.0, 12.0], [0.0, 0.0]), ([3.0, 3.0], None))
    assert program(importlib.import_module("torch")) == wanted


def test_refusals():
    refused(RuntimeError, "[register_hook] cannot register a hook", rv.ones(2).register_hook, print)
    x = rv.ones(2, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"\[register_post_accumulate_grad_hook\]"):
        (x * 2).register_post_accumulate_grad_hook(print)
    x.register_hook(lambda g: g.sum())
    refused(RuntimeError, "got a gradient of shape () from the hook; expected (2,)", (x * 2).sum().backward)
    net = nn.Linear(2, 1)
    net.register_full_backward_hook(lambda m, dx, dy: (None, None))
    with pytest.raises(RuntimeError, match="got 2 gradients from the hook; expected 1"):
        net(rv.ones(1, 2, requires_grad=True)).sum().backward()


def test_a_hook_holds_no_tensor():
    x = rv.ones(2, requires_grad=True)
    x.register_hook(lambda g: None)
    place = id(x)
    assert place in rv.tape.hooks.before_accumulation
    del x
    gc.collect()
    assert place not in rv.tape.hooks.before_accumulation


def note(module, args, y):
    """A hook that pickle can name."""
    module.calls = getattr(module, "calls", 0) + 1


def test_hooks_after_accumulation_where_the_last_other_hook_ends_within_backward():
    """As where the garbage collector ends a hooked leaf of another network meanwhile."""
    others, seen = [rv.ones(1, requires_grad=True)], []
    others[0].register_hook(lambda gradient: None)
    x = rv.ones(2, requires_grad=True)
    x.register_post_accumulate_grad_hook(lambda leaf: seen.append(leaf.grad.tolist()))
    y = x * 3
    y.register_hook(lambda gradient: others.clear())
    y.sum().backward()
    assert seen == [[3.0, 3.0]]


def test_hooks_are_copied_with_the_module():
    net = nn.Sequential(nn.Linear(2, 2))
    net[0].register_forward_hook(note)
    twin = copy.deepcopy(net)
    twin(rv.ones(1, 2))
    assert twin[0].calls == 1
    assert not hasattr(net[0], "calls")
    with rv.no_grad():
        again = nn.Linear(2, 2)
        handle = again.register_forward_hook(note)
        handle.remove()
        assert pickle.loads(pickle.dumps(again))(rv.ones(1, 2)).shape == (1, 2)


def test_a_with_block_takes_the_hook_off():
    net, seen = nn.Linear(2, 2), []
    with net.register_forward_hook(lambda m, args, y: seen.append(1)):
        net(np.ones((1, 2), np.float32))
    net(np.ones((1, 2), np.float32))
    assert seen == [1]


def test_a_hook_that_is_always_called():
    """Once: with the output, or where forward or an earlier hook raises with what there was."""
    model, seen = nn.Linear(2, 1), []
    model.register_forward_hook(lambda m, args, y: seen.append(y), always_call=True)
    refused(ValueError, "got x of shape", model, rv.ones(1, 3))
    y = model(rv.ones(1, 2))
    assert seen[0] is None
    assert seen[1] is y

    def stop(m, args, y):
        raise KeyError

    model.register_forward_hook(stop, prepend=True)
    with pytest.raises(KeyError):
        model(rv.ones(1, 2))
    assert [s is None for s in seen] == [True, False, False]


def hooked():
    """A network whose modules note what enters and what leaves them."""
    net = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1))
    seen, left = [], []
    for module in net:
        module.register_forward_hook(lambda m, args, y: seen.append((args[0], y)))
        module.register_full_backward_hook(lambda m, dx, dy: left.append(type(m).__name__))
    return net, seen, left


def test_what_a_module_gives_is_what_the_next_one_gets():
    net, seen, _ = hooked()
    net(rv.ones(3, 2, requires_grad=True)).sum().backward()
    for (_, y), (x, _) in itertools.pairwise(seen):
        assert x.data_ptr() == y.data_ptr()
        assert x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr()


def test_inputs_and_outputs_of_hooked_modules_are_views():
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(inplace=True))
    net[1].register_full_backward_hook(lambda *_: None)
    refused(RuntimeError, "[relu] got an input or output of a module with backward hooks", net, rv.ones(1, 2))
    net, _, _ = hooked()
    y = net(rv.ones(1, 2))
    refused(RuntimeError, "[mul_] got an input or output", y.mul_, 2.0)
    refused(RuntimeError, "[detach_] got a view", y.detach_)
    z = net[:2](rv.ones(1, 2))
    with rv.no_grad():
        z.mul_(2.0)  # the tanh has saved this memory
    refused(RuntimeError, "modified by an inplace operation", z.sum().backward)


def test_second_derivatives_call_the_hooks_of_modules_that_they_enter():
    net, _, left = hooked()
    x = rv.tensor([[1.0, 2.0]], requires_grad=True)
    (dx,) = rv.autograd.grad(net[:2](x).sum(), x, create_graph=True)
    assert left == ["Tanh", "Linear"]
    (dx * dx).sum().backward()
    assert left == ["Tanh", "Linear", "Linear"]  # the saved result of tanh has not left it
