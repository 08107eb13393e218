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

    def loss(self, x):
        return (x * self.a).sum() * 0.3 + (x @ self.b.T).tanh().sum()

    def step(self, x):
        self.optimizer.zero_grad()
        loss = self.loss(x)
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


def changed(change, kind=optim.Adam, groups=False, **settings):
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


def groups(two):
    return two.optimizer.param_groups


def state(two):
    return two.optimizer.state[two.a]


CHANGES = {
    "group_added": add_group,
    "group_removed": lambda t, n: groups(t).pop() if n < 3 else None,
    "groups_cleared": lambda t, n: groups(t).clear(),
    "groups_replaced": lambda t, n: setattr(t.optimizer, "param_groups", [{**groups(t)[0], "lr": 0.1 * n}]),
    "group_replaced": lambda t, n: groups(t).__setitem__(0, {**groups(t)[0], "lr": 0.1 * n}),
    "groups_swapped": lambda t, n: groups(t).reverse(),
    "second_group_lr": lambda t, n: groups(t)[1].update(lr=0.1 * n),
    "second_group_betas": lambda t, n: groups(t)[1].update(betas=(0.1 * n, 0.9)),
    "parameter_removed": lambda t, n: groups(t)[0]["params"].pop() if n < 3 else None,
    "parameter_swapped_out": replace_parameters,
    "parameters_in_another_list": lambda t, n: groups(t)[0].update(params=[t.a] if n % 2 else [t.a, t.b]),
    "parameters_in_another_order": lambda t, n: groups(t)[0]["params"].reverse(),
    "state_cleared": lambda t, n: t.optimizer.state.clear(),
    "state_of_one_cleared": lambda t, n: state(t).clear(),
    "state_of_one_deleted": lambda t, n: t.optimizer.state.pop(t.a, None),
    "state_array_zeroed": lambda t, n: state(t)["exp_avg"].fill(0),
    "state_array_replaced": lambda t, n: state(t).update(exp_avg=np.full(3, 0.1 * n, np.float32)),
    "step_count_reset": lambda t, n: state(t)["step"].fill(0),
    "step_count_replaced": lambda t, n: state(t).update(step=np.array(0.0)),
    "state_loaded": load_state,
    "fresh_state_loaded": load_fresh,
    "optimizer_replaced": replace_optimizer,
    "optimizer_of_the_same_kind": replace_with_the_same_kind,
    "settings_reset_by_update": lambda t, n: groups(t)[0].update(lr=0.1 * n, weight_decay=0.1, eps=0.1),
    "lr_as_numpy": lambda t, n: groups(t)[0].update(lr=np.float64(0.1 * n)),
    "lr_as_int": lambda t, n: groups(t)[0].update(lr=n),
    "defaults_changed": lambda t, n: t.optimizer.defaults.update(lr=0.1 * n),
    "zero_grad_outside": lambda t, n: t.optimizer.zero_grad(),
    "stepped_outside": lambda t, n: t.optimizer.step(),
    "frozen": lambda t, n: t.a.requires_grad_(n % 2 == 0),
}
NEUTRAL = ("defaults_changed", "zero_grad_outside")
OF_GROUPS = ("group_removed", "groups_swapped", "second_group_lr", "second_group_betas")
OF_SGD = ("parameter_removed", "lr_as_int")
OF_ADAM = (*NEUTRAL, "state_array_zeroed", "state_array_replaced", "step_count_reset", "step_count_replaced")
for name, change in CHANGES.items():
    if name not in OF_SGD:
        add(f"optimizers/{name}", changed(change, groups=name in OF_GROUPS), neutral=name in NEUTRAL)
    if name not in OF_GROUPS + OF_ADAM:
        momentum = {} if name in OF_SGD else {"momentum": 0.9}
        add(f"optimizers/{name}-SGD", changed(change, optim.SGD, **momentum))
    if name not in OF_GROUPS + OF_ADAM + OF_SGD:
        add(f"optimizers/{name}-RMSprop", changed(change, optim.RMSprop, centered=True))
