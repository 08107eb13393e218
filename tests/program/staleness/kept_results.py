"""Intermediate results that a step keeps somewhere, and gradients, tensors and states left there."""

import sys
import types
import weakref

import numpy as np
import ranvier as rv
from program.staleness.judge import Case, add, scenario
from program.staleness.small import Small
from ranvier import nn

HERE = sys.modules[__name__]
KEPT = None


class Keeper:
    shared = None

    def __init__(self):
        self.items, self.table, self.last, self.inner = [], {}, None, types.SimpleNamespace(last=None)


def keep_global(k, t):
    global KEPT
    KEPT = t


def keep_in_function(k, t):
    keep_in_function.last = t


# how a tensor is kept: (keeper, tensor), and what is compared after a call
WAYS = {
    "attribute": (lambda k, t: setattr(k, "last", t), lambda k: k.last),
    "inner_attribute": (lambda k, t: setattr(k.inner, "last", t), lambda k: k.inner.last),
    "class_attribute": (lambda k, t: setattr(Keeper, "shared", t), lambda k: Keeper.shared),
    "list": (lambda k, t: k.items.append(t), lambda k: k.items),
    "list_item": (lambda k, t: k.items.__setitem__(slice(None), [t]), lambda k: k.items),
    "dict": (lambda k, t: k.table.update(last=t), lambda k: k.table),
    "tuple": (lambda k, t: setattr(k, "last", (t, 1)), lambda k: k.last),
    "object": (lambda k, t: setattr(k, "last", types.SimpleNamespace(t=t)), lambda k: k.last),
    "global": (keep_global, lambda k: KEPT),
    "function": (keep_in_function, lambda k: keep_in_function.last),
    "lambda": (lambda k, t: setattr(k, "last", lambda: t), lambda k: k.last()),
    "numpy": (lambda k, t: setattr(k, "last", t.detach().numpy()), lambda k: k.last),
    "weak": (
        lambda k, t: setattr(k, "last", weakref.ref(t)),
        lambda k: k.last() if callable(k.last) else None,
    ),
}
# which tensor is kept: of (x, loss, y, the weight)
WHICH = {
    "argument": lambda x, loss, y, w: x,
    "view_of_the_argument": lambda x, loss, y, w: x[0],
    "copy_of_the_argument": lambda x, loss, y, w: x * 1.0,
    "result": lambda x, loss, y, w: loss.detach(),
    "result_with_its_tape": lambda x, loss, y, w: loss,
    "view_of_a_result": lambda x, loss, y, w: y[0],
    "other_result": lambda x, loss, y, w: y * 2.0,
    "gradient": lambda x, loss, y, w: w.grad,
    "copy_of_the_gradient": lambda x, loss, y, w: w.grad.clone(),
    "copy_of_the_weight": lambda x, loss, y, w: w.detach().clone(),
    "random": lambda x, loss, y, w: rv.randn(2),
}


def keeping(keep, look, which):
    def build(patch):
        patch(HERE, "KEPT", None)
        patch(Keeper, "shared", None)
        keep_in_function.last = None
        small, keeper = Small(), Keeper()

        def step(x):
            loss, y = small.train(x, 1.5)
            keep(keeper, which(x, loss, y, small.w))
            return loss, y

        return Case(step, None, lambda: [*small.watch, look(keeper)])

    return build


for how, (keep, look) in WAYS.items():
    for name, which in WHICH.items():
        if how not in ("attribute", "list") and name not in ("argument", "result", "other_result"):
            continue
        if how == "numpy" and name == "argument":
            continue
        add(f"kept/{name}-{how}", keeping(keep, look, which), "either")


@scenario()
def weight_kept_in_a_list():
    """A parameter is always the same tensor, so a kept one is no intermediate result."""
    small, seen = Small(), [None]

    def step(x):
        seen[0] = small.w
        return small.train(x, 1.5)

    return Case(step, lambda n: small.w.data.mul_(1.5), [*small.watch, seen])


@scenario("either")
def target_network_copied_in_the_step():
    online, target = nn.Linear(3, 3), nn.Linear(3, 3)
    optimizer = rv.optim.SGD(online.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        loss = ((online(x) - target(x).detach()) ** 2).mean()
        loss.backward()
        optimizer.step()
        with rv.no_grad():
            for p, q in zip(online.parameters(), target.parameters(), strict=True):
                q.mul_(0.9).add_(p.detach() * 0.1)
        return loss

    return Case(step, lambda n: target.load_state_dict(online.state_dict()), [online, target])


@scenario("either")
def target_network_assigned_in_the_step():
    online, target = nn.Linear(3, 3), nn.Linear(3, 3)

    def step(x):
        loss = ((online(x) - target(x).detach()) ** 2).mean()
        target.weight.data = online.weight.detach() * 0.5 + target.weight.detach() * 0.5
        return loss

    return Case(step, lambda n: online.weight.data.mul_(1.5), [online, target])


@scenario("either")
def buffer_assigned_in_the_step():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("mean", rv.zeros(3))

        def forward(self, x):
            self.mean = self.mean * 0.9 + x.mean(0) * 0.1
            return x - self.mean

    net = Net()
    return Case(lambda x: net(x).sum(), lambda n: net.mean.zero_(), net)


@scenario("either")
def gradient_assigned_in_the_step():
    w = nn.Parameter(rv.ones(3))

    def step(x):
        w.grad = x.mean(0) * 2.0
        return w.sum()

    return Case(step, lambda n: w.data.mul_(1.5), w)


@scenario("either")
def requires_grad_switched_in_the_step():
    w, state = nn.Parameter(rv.ones(3)), {"free": True}

    def step(x):
        w.requires_grad_(state["free"])
        loss = (x * w).sum()
        if w.requires_grad:
            w.grad = None
            loss.backward()
        return loss

    return Case(step, lambda n: state.update(free=n % 2 == 0), w)


@scenario("either")
def mode_switched_in_the_step():
    model, state = nn.Sequential(nn.Dropout(0.5)), {"train": True}

    def step(x):
        model.train(state["train"])
        return model(x) * 1.0

    return Case(step, lambda n: state.update(train=n % 2 == 0), model)


@scenario("either")
def hook_registered_in_the_step():
    model, state = nn.Linear(3, 3), {"factor": 2.0}

    def step(x):
        handle = model.register_forward_hook(lambda m, a, y: y * state["factor"])
        y = model(x)
        handle.remove()
        return y.sum()

    return Case(step, lambda n: state.update(factor=2.0 + n), model)


@scenario("either")
def list_of_losses_cut_by_the_caller():
    small, losses = Small(), []

    def step(x):
        loss, _ = small.train(x, 1.0 + 0.1 * len(losses))
        losses.append(1)
        return loss

    return Case(step, lambda n: losses.clear(), [*small.watch, losses])


@scenario()
def numpy_view_of_a_parameter_read_by_the_caller():
    small = Small()
    view = small.w.detach().numpy()
    seen = []

    def each(n, result):
        seen.append(view.copy())

    return Case(
        lambda x: small.train(x, 1.5),
        lambda n: view.__imul__(np.float32(1.5)),
        [*small.watch, seen],
        each=each,
    )
