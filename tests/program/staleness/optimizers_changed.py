"""Optimizers changed between two calls: every setting of every class, groups, states."""

import copy

import numpy as np
import ranvier as rv
from program.staleness.judge import Case, add
from ranvier import nn, optim

# name: (a class with arguments, settings that may be changed by hand with four values)
COMMON = {
    "lr": (0.05, 0.1, 0.02, 0.0),
    "weight_decay": (0.0, 0.1, 0.0, 0.5),
    "maximize": (False, True, False, True),
}
BETAS = ((0.9, 0.999), (0.5, 0.9), (0.8, 0.999), (0.0, 0.9))
FLAG = (False, True, False, True)
EPS = (1e-8, 1e-1, 1e-8, 1.0)
CLASSES = {
    "SGD": (optim.SGD, {}, {"momentum": (0.0, 0.9, 0.5, 0.0)}),
    "SGD_momentum": (
        optim.SGD,
        {"momentum": 0.9},
        {"momentum": (0.9, 0.5, 0.0, 0.9), "dampening": (0.0, 0.5, 0.0, 0.9), "nesterov": FLAG},
    ),
    "Adam": (optim.Adam, {}, {"betas": BETAS, "eps": EPS, "amsgrad": FLAG, "decoupled_weight_decay": FLAG}),
    "AdamW": (optim.AdamW, {}, {"betas": BETAS, "eps": EPS, "amsgrad": FLAG}),
    "Adadelta": (optim.Adadelta, {}, {"rho": (0.9, 0.5, 0.9, 0.1), "eps": (1e-6, 1e-2, 1e-6, 1e-1)}),
    "Adagrad": (optim.Adagrad, {}, {"lr_decay": (0.0, 0.5, 0.0, 1.0), "eps": (1e-10, 1e-1, 1e-10, 1.0)}),
    "Adamax": (optim.Adamax, {}, {"betas": BETAS, "eps": EPS}),
    "Lion": (optim.Lion, {}, {"betas": BETAS}),
    "NAdam": (
        optim.NAdam,
        {},
        {
            "betas": BETAS,
            "eps": EPS,
            "momentum_decay": (4e-3, 0.1, 4e-3, 1.0),
            "decoupled_weight_decay": FLAG,
        },
    ),
    "RAdam": (
        optim.RAdam,
        {"betas": (0.9, 0.5)},
        {"betas": BETAS, "eps": EPS, "decoupled_weight_decay": FLAG},
    ),
    "RMSprop": (
        optim.RMSprop,
        {},
        {"alpha": (0.99, 0.5, 0.99, 0.1), "eps": EPS, "momentum": (0.0, 0.9, 0.5, 0.0), "centered": FLAG},
    ),
}
# settings that without another have no effect
WITH = {"decoupled_weight_decay": {"weight_decay": 0.1}, "nesterov": {"momentum": 0.9}}


class Two:
    """Two parameters of different shapes, and their optimizer."""

    def __init__(self, kind=optim.SGD, groups=False, **settings):
        self.a, self.b = nn.Parameter(rv.randn(3)), nn.Parameter(rv.randn(2, 3))
        given = [self.a, self.b]
        if groups:
            given = [{"params": [self.a]}, {"params": [self.b], "lr": 0.01}]
        self.optimizer = kind(given, **{"lr": 0.05, **settings})

    def step(self, x):
        self.optimizer.zero_grad()
        loss = (x * self.a).sum() * 0.3 + (x @ self.b.T).tanh().sum()
        loss.backward()
        self.optimizer.step()
        return loss

    @property
    def watch(self):
        return [self.a, self.b, self.optimizer]


def setting(kind, arguments, name, values):
    def build():
        two = Two(kind, **{**arguments, **WITH.get(name, {}), name: values[0]})

        def change(n):
            two.optimizer.param_groups[0][name] = values[n]

        return Case(two.step, change, two.watch)

    return build


for label, (kind, arguments, more) in CLASSES.items():
    for name, values in {**COMMON, **more}.items():
        if name == "lr" and kind is optim.Adadelta:
            values = (1.0, 0.5, 2.0, 0.0)
        if label == "RAdam" and name == "betas":
            values = ((0.9, 0.5), (0.5, 0.6), (0.8, 0.5), (0.0, 0.5))
        add(f"optimizers/{label}-{name}", setting(kind, arguments, name, values))


def changed(change, kind=optim.Adam, groups=False, neutral=False, **settings):
    def build():
        two = Two(kind, groups, **settings)
        return Case(two.step, lambda n: change(two, n), lambda: [two.a, two.b, two.optimizer])

    return build


def add_group(two, n):
    extra = nn.Parameter(rv.ones(3) * n)
    extra.grad = rv.ones(3)
    two.optimizer.add_param_group({"params": [extra], "lr": 0.1})


def load_state(two, n):
    state = copy.deepcopy(two.optimizer.state_dict())
    for group in state["param_groups"]:
        group["lr"] = 0.1 * n
    for values in state["state"].values():
        for name in values:
            values[name] = np.asarray(values[name]) * 2
    two.optimizer.load_state_dict(state)


def load_fresh(two, n):
    kind = type(two.optimizer)
    two.optimizer.load_state_dict(kind([two.a, two.b], lr=0.1 * n).state_dict())


def replace_optimizer(two, n):
    two.optimizer = (None, optim.SGD, optim.AdamW, optim.RMSprop)[n]([two.a, two.b], lr=0.03)


def replace_with_the_same_kind(two, n):
    two.optimizer = type(two.optimizer)([two.a, two.b], lr=0.05)


def replace_parameters(two, n):
    two.a = nn.Parameter(rv.ones(3) * n)
    two.optimizer.param_groups[0]["params"][0] = two.a


CHANGES = {
    "group_added": (add_group, {}),
    "group_removed": (lambda t, n: t.optimizer.param_groups.pop() if n < 3 else None, {"groups": True}),
    "groups_cleared": (lambda t, n: t.optimizer.param_groups.clear(), {}),
    "groups_replaced": (
        lambda t, n: setattr(t.optimizer, "param_groups", [{**t.optimizer.param_groups[0], "lr": 0.1 * n}]),
        {},
    ),
    "group_replaced": (
        lambda t, n: t.optimizer.param_groups.__setitem__(0, {**t.optimizer.param_groups[0], "lr": 0.1 * n}),
        {},
    ),
    "groups_swapped": (
        lambda t, n: t.optimizer.param_groups.reverse(),
        {"groups": True},
    ),
    "second_group_lr": (lambda t, n: t.optimizer.param_groups[1].update(lr=0.1 * n), {"groups": True}),
    "second_group_betas": (
        lambda t, n: t.optimizer.param_groups[1].update(betas=(0.1 * n, 0.9)),
        {"groups": True},
    ),
    "parameter_removed": (
        lambda t, n: t.optimizer.param_groups[0]["params"].pop() if n < 3 else None,
        {"kind": optim.SGD},
    ),
    "parameter_swapped_out": (replace_parameters, {}),
    "parameters_in_another_list": (
        lambda t, n: t.optimizer.param_groups[0].update(params=[t.a] if n % 2 else [t.a, t.b]),
        {},
    ),
    "parameters_in_another_order": (
        lambda t, n: t.optimizer.param_groups[0]["params"].reverse(),
        {"neutral": False},
    ),
    "state_cleared": (lambda t, n: t.optimizer.state.clear(), {}),
    "state_cleared_sgd": (lambda t, n: t.optimizer.state.clear(), {"kind": optim.SGD, "momentum": 0.9}),
    "state_of_one_cleared": (lambda t, n: t.optimizer.state[t.a].clear(), {}),
    "state_of_one_deleted": (lambda t, n: t.optimizer.state.pop(t.a, None), {}),
    "state_array_zeroed": (lambda t, n: t.optimizer.state[t.a]["exp_avg"].fill(0), {}),
    "state_array_replaced": (
        lambda t, n: t.optimizer.state[t.a].update(exp_avg=np.full(3, 0.1 * n, np.float32)),
        {},
    ),
    "step_count_reset": (lambda t, n: t.optimizer.state[t.a]["step"].fill(0), {}),
    "step_count_replaced": (lambda t, n: t.optimizer.state[t.a].update(step=np.array(0.0)), {}),
    "state_loaded": (load_state, {}),
    "fresh_state_loaded": (load_fresh, {}),
    "optimizer_replaced": (replace_optimizer, {}),
    "optimizer_of_the_same_kind": (replace_with_the_same_kind, {}),
    "settings_reset_by_update": (
        lambda t, n: t.optimizer.param_groups[0].update(lr=0.1 * n, weight_decay=0.1, eps=0.1),
        {},
    ),
    "lr_as_numpy": (lambda t, n: t.optimizer.param_groups[0].update(lr=np.float64(0.1 * n)), {}),
    "lr_as_int": (lambda t, n: t.optimizer.param_groups[0].update(lr=n), {"kind": optim.SGD}),
    "defaults_changed": (lambda t, n: t.optimizer.defaults.update(lr=0.1 * n), {"neutral": True}),
    "zero_grad_outside": (lambda t, n: t.optimizer.zero_grad(), {"neutral": True}),
    "stepped_outside": (lambda t, n: t.optimizer.step(), {}),
    "gradient_set_outside": (lambda t, n: setattr(t.a, "grad", rv.ones(3)), {"neutral": True}),
    "frozen": (lambda t, n: t.a.requires_grad_(n % 2 == 0), {}),
    "deep_copied": (lambda t, n: setattr(t, "optimizer", copy.deepcopy(t.optimizer)), {"neutral": None}),
}
for name, (change, more) in CHANGES.items():
    more = dict(more)
    neutral = more.pop("neutral", False)
    if neutral is None:
        continue
    if neutral and name == "gradient_set_outside":
        continue
    add(f"optimizers/{name}", changed(change, **more), neutral=neutral)
    if neutral is False and more.get("kind", optim.Adam) is optim.Adam and not more.get("groups"):
        for kind in (optim.SGD, optim.RMSprop):
            if (
                "state_array" in name
                or "step_count" in name
                or "settings_reset" in name
                or "state_cleared" in name
            ):
                continue
            arguments = {"momentum": 0.9} if kind is optim.SGD else {"centered": True}
            add(f"optimizers/{name}-{kind.__name__}", changed(change, **{**more, **arguments, "kind": kind}))
