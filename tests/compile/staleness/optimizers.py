"""Optimizers changed between two calls: each setting of each class, groups, states, gradients, schedules."""

import copy

import numpy as np
import ranvier as rv
from compile.staleness.judge import Case, add, scenario
from compile.staleness.rows import add_steps, column, function, table
from compile.staleness.small import Two, descends, squares
from ranvier import nn, optim
from ranvier.optim import lr_scheduler, swa_utils

# settings that may be changed by hand, with four values
COMMON = {
    "lr": (0.05, 0.1, 0.02, 0.0),
    "weight_decay": (0.0, 0.1, 0.0, 0.5),
    "maximize": (False, True, False, True),
}
BETAS = ((0.9, 0.999), (0.5, 0.9), (0.8, 0.999), (0.0, 0.9))
FLAG = (False, True, False, True)
EPS = (1e-8, 1e-1, 1e-8, 1.0)
MOMENTUM = (0.0, 0.9, 0.5, 0.0)
ADAM = {"betas": BETAS, "eps": EPS}
CLASSES = {
    "SGD": {"momentum": MOMENTUM},
    "SGD_momentum": {"momentum": (0.9, 0.5, 0.0, 0.9), "dampening": (0.0, 0.5, 0.0, 0.9), "nesterov": FLAG},
    "Adam": {**ADAM, "amsgrad": FLAG, "decoupled_weight_decay": FLAG},
    "AdamW": {**ADAM, "amsgrad": FLAG},
    "Adadelta": {"rho": (0.9, 0.5, 0.9, 0.1), "eps": (1e-6, 1e-2, 1e-6, 1e-1), "lr": (1.0, 0.5, 2.0, 0.0)},
    "Adagrad": {"lr_decay": (0.0, 0.5, 0.0, 1.0), "eps": (1e-10, 1e-1, 1e-10, 1.0)},
    "Adamax": ADAM,
    "Lion": {"betas": BETAS},
    "Rprop": {
        "etas": ((0.5, 1.2), (0.3, 1.5), (0.5, 1.2), (0.1, 2.0)),
        "step_sizes": ((1e-6, 50), (1e-6, 0.01), (1e-6, 50), (1.0, 50)),
        "lr": None,  # of the first step only
        "weight_decay": None,
    },
    "ASGD": {"lambd": (1e-4, 0.5, 1e-4, 0.9), "alpha": (0.75, 2.0, 0.75, 9.0), "t0": (1e6, 0, 1e6, 2)},
    "NAdam": {**ADAM, "momentum_decay": (4e-3, 0.1, 4e-3, 1.0), "decoupled_weight_decay": FLAG},
    "RAdam": {
        "betas": ((0.9, 0.5), (0.5, 0.6), (0.8, 0.5), (0.0, 0.5)),
        "eps": EPS,
        "decoupled_weight_decay": FLAG,
    },
    "RMSprop": {"alpha": (0.99, 0.5, 0.99, 0.1), "eps": EPS, "momentum": MOMENTUM, "centered": FLAG},
}
GIVEN = {"SGD_momentum": {"momentum": 0.9}, "RAdam": {"betas": (0.9, 0.5)}}
# settings that without another have no effect
WITH = {"decoupled_weight_decay": {"weight_decay": 0.1}, "nesterov": {"momentum": 0.9}}


def setting(label, name, values):
    def build():
        kind = getattr(optim, label.partition("_")[0])
        two = Two(kind, **{**GIVEN.get(label, {}), **WITH.get(name, {}), name: values[0]})

        def change(n):
            two.groups[0][name] = values[n]

        return Case(two.step, change, two.watch)

    return build


for label, more in CLASSES.items():
    for name, values in ((k, v) for k, v in {**COMMON, **more}.items() if v):
        add(f"optimizers/{label}-{name}", setting(label, name, values))

# changes of `t` (Two)
CHANGES = column(r"""
group_added | add_group(t, n)
group_replaced | t.groups[0] = {**t.groups[0], 'lr': 0.1 * n}
groups_cleared | t.groups.clear()
groups_replaced | t.optimizer.param_groups = [{**t.groups[0], 'lr': 0.1 * n}]
parameter_swapped_out | t.a = nn.Parameter(rv.ones(3) * n); t.groups[0]['params'][0] = t.a
parameters_in_another_list | t.groups[0].update(params=[t.a] if n % 2 else [t.a, t.b])
parameters_in_another_order | t.groups[0]['params'].reverse()
state_cleared | t.optimizer.state.clear()
state_of_one_cleared | t.state.clear()
state_of_one_deleted | t.optimizer.state.pop(t.a, None)
state_loaded | load_state(t, n)
fresh_state_loaded | t.optimizer.load_state_dict(type(t.optimizer)([t.a, t.b], lr=0.1 * n).state_dict())
optimizer_replaced | t.optimizer = (optim.SGD, optim.AdamW, optim.RMSprop)[n - 1]([t.a, t.b], lr=0.03)
optimizer_of_the_same_kind | t.optimizer = type(t.optimizer)([t.a, t.b], lr=0.05)
settings_reset_by_update | t.groups[0].update(lr=0.1 * n, weight_decay=0.1, eps=0.1)
lr_as_numpy | t.groups[0].update(lr=np.float64(0.1 * n))
stepped_outside | t.optimizer.step()
frozen | t.a.requires_grad_(n % 2 == 0)
""")
OF_GROUPS = {
    "group_removed": "t.groups.pop() if n < 3 else None",
    "groups_swapped": "t.groups.reverse()",
    "second_group_lr": "t.groups[1].update(lr=0.1 * n)",
    "second_group_betas": "t.groups[1].update(betas=(0.1 * n, 0.9))",
}
OF_ADAM = {
    "state_array_zeroed": "t.state['exp_avg'].fill(0)",
    "state_array_replaced": "t.state.update(exp_avg=np.full(3, 0.1 * n, np.float32))",
    "step_count_reset": "t.state['step'].fill(0)",
    "step_count_replaced": "t.state.update(step=np.array(0.0))",
}
OF_SGD = {
    "parameter_removed": "t.groups[0]['params'].pop() if n < 3 else None",
    "lr_as_int": "t.groups[0].update(lr=n)",
}
NEUTRAL = {
    "defaults_changed": "t.optimizer.defaults.update(lr=0.1 * n)",
    "zero_grad_outside": "t.optimizer.zero_grad()",
}


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


def changed(text, kind=optim.Adam, groups=False, **settings):
    def build():
        two, change = Two(kind, groups, **settings), function("t, n", text, {**globals()})
        return Case(lambda x: two.step(x), lambda n: change(two, n), lambda: two.watch)

    return build


for name, text in {**CHANGES, **OF_GROUPS, **OF_ADAM, **NEUTRAL}.items():
    add(f"optimizers/{name}", changed(text, groups=name in OF_GROUPS), neutral=name in NEUTRAL)
for name, text in CHANGES.items():
    add(f"optimizers/{name}-SGD", changed(text, optim.SGD, momentum=0.9))
    add(f"optimizers/{name}-RMSprop", changed(text, optim.RMSprop, centered=True))
for name, text in OF_SGD.items():
    add(f"optimizers/{name}-SGD", changed(text, optim.SGD))

# gradients that are added up over calls, that the step drops, or that it does not compute
CARRIED = {
    "zero_grad": "t.optimizer.zero_grad()",
    "zero_grad_to_zeros": "t.optimizer.zero_grad(set_to_none=False)",
    "grad_deleted": "t.a.grad = None",
    "grad_replaced": "t.a.grad = rv.full((3,), float(n))",
    "grad_written": "t.a.grad.zero_()",
    "grad_scaled": "t.a.grad = t.a.grad * 0.5",
    "grad_clipped": "nn.utils.clip_grad_norm_([t.a, t.b], 0.1)",
    "grad_swapped": "t.a.grad = rv.from_numpy(np.ones(3, np.float32) * n)",
    "backward_outside": "(t.a * 2).sum().backward()",
}
DROPPED = {
    "grad_set": CARRIED["grad_replaced"],
    "backward_outside": CARRIED["backward_outside"],
    "all_set": "for p in (t.a, t.b): p.grad = rv.ones(*p.shape)",
}


def gradients(text, how):
    def build():
        two, change = Two(optim.SGD, momentum=0.9), function("t, n", text, {**globals()})
        if how == "from_outside":
            two.a.grad = rv.ones(3)
            two.a.requires_grad_(False)

        def step(x):
            if how == "from_outside":
                two.b.grad = None
            loss = (x @ two.b.T).tanh().sum() if how == "from_outside" else two.loss(x)
            loss.backward()
            two.optimizer.step()
            if how == "dropped_after":
                two.optimizer.zero_grad()
            return loss

        return Case(step, lambda n: change(two, n), two.watch)

    return build


TABLES = {"carried": CARRIED, "dropped_after": DROPPED, "from_outside": CARRIED}
for how, changes in TABLES.items():
    for name, text in changes.items():
        if (how, name) != ("from_outside", "backward_outside"):
            add(f"optimizers/{how}-{name}", gradients(text, how))

# backward and update are compiled separately; the caller changes gradients in between
BETWEEN = {
    "scaled": "t.a.grad = t.a.grad * 2.0",
    "cloned_and_written": "t.a.grad = t.a.grad.clone(); t.a.grad.zero_()",
    "written": "t.a.grad.mul_(2.0)",
    "dropped": "t.a.grad = None",
    "set": "t.b.grad = rv.full(t.b.shape, float(n))",
}


def separately(text, kind):
    def build(compile_step):
        two, change = Two(kind), function("t, n", text, {**globals()})
        backward = compile_step(lambda x: two.loss(x).backward())
        update, due = compile_step(two.optimizer.step), []

        def step(x):
            two.optimizer.zero_grad()
            backward(x)
            while due:
                change(two, due.pop())
            update()

        return Case(step, due.append, two.watch)

    return build


for name, text in BETWEEN.items():
    for kind in (optim.SGD, optim.Adam):
        add(f"optimizers/updated_separately-{name}-{kind.__name__}", separately(text, kind))


@scenario()
def clipped_separately(compile_step):
    two, due = Two(optim.SGD), []
    clip = compile_step(lambda: nn.utils.clip_grad_norm_([two.a, two.b], 0.1))

    def step(x):
        two.optimizer.zero_grad()
        two.loss(x).backward()
        if due:
            two.a.grad = two.a.grad * due.pop()
        norm = clip()
        two.optimizer.step()
        return norm

    return Case(step, lambda n: due.append(2.0 * n), two.watch)


@scenario()
def step_with_the_callers_gradients():
    """The compiled function updates only; the caller computes the gradients."""
    two = Two(optim.Adam)

    def inputs(n):
        rng = np.random.default_rng(n)
        two.a.grad = rv.tensor(rng.standard_normal(3).astype(np.float32))
        two.b.grad = None if n in (5, 6) else rv.tensor(rng.standard_normal((2, 3)).astype(np.float32))
        return ()

    return Case(lambda: two.optimizer.step(), None, two.watch, inputs)


SCHEDULES = {  # of the rate alone, by a function, of momentum or betas too
    "StepLR": lambda o: lr_scheduler.StepLR(o, 1, 0.5),
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda e: 1 / (e + 1)),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 2),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, 20),
}


def scheduled(make, kind):
    def build():
        two = Two(kind, momentum=0.9) if kind is optim.SGD else Two(kind)
        schedule = make(two.optimizer)
        return Case(two.step, lambda n: schedule.step(), two.watch)

    return build


for name, make in SCHEDULES.items():
    for kind in (optim.SGD, optim.Adam):
        add(f"optimizers/schedule-{name}-{kind.__name__}", scheduled(make, kind))


@scenario()
def plateau_by_the_loss():
    two = Two()
    schedule = lr_scheduler.ReduceLROnPlateau(two.optimizer, patience=0)
    return Case(two.step, None, two.watch, each=lambda n, loss: schedule.step(float(n)))


@scenario()
def averaged_model_updated_between_calls():
    model = nn.Linear(3, 3)
    average = swa_utils.AveragedModel(model)
    train = descends(squares(model), optim.SGD(model.parameters(), lr=0.1))
    return Case(train, None, [model, average], each=lambda *_: average.update_parameters(model))


class Ahead(optim.Optimizer):
    """An optimizer around another one, whose groups are a property."""

    def __init__(self, base):
        self.base, self.pull = base, 0.5
        self.slow = [p.detach().clone() for group in base.param_groups for p in group["params"]]

    @property
    def param_groups(self):
        return self.base.param_groups

    def zero_grad(self):
        self.base.zero_grad()

    def step(self):
        self.base.step()
        with rv.no_grad():
            for a, p in zip(self.slow, self.param_groups[0]["params"], strict=True):
                a.add_((p - a) * self.pull)
                p.copy_(a)


@scenario()
def optimizer_around_another():
    two = Two(optim.SGD)
    ahead = Ahead(two.optimizer)
    return Case(descends(two.loss, ahead), lambda n: setattr(ahead, "pull", 0.1 * n), [two.watch, ahead.slow])


LINE = "o = nn.Linear(3, 3); opt = optim.SGD(o.parameters(), 0.1); k = [0.1]"
# made | the step | change
STEPS = table(
    r"""
schedule_inside_the_step | o = Two(); s = optim.lr_scheduler.ExponentialLR(o.optimizer, 0.5)
  | loss = o.step(x); s.step(); return loss
lr_set_inside_the_step | o = Two(); k = [0.1] | o.groups[0]['lr'] = k[0]; return o.step(x) | k[0] = 0.1 * new
lr_of_all_groups_set_inside_the_step | o = Two(groups=True); k = [0.1]
  | for group in o.groups: group['lr'] = k[0]\nreturn o.step(x) | k[0] = 0.1 * new
averaged_by_hand | t = Two(); o = [t, rv.zeros(3)]; k = [1.0]
  | loss = t.step(x); o[1].mul_(0.9).add_(t.a.detach() * k[0]); return loss | k[0] = new
averaged_model_updated_in_the_step | <LINE>; average = swa_utils.AveragedModel(o)
  | loss = descends(squares(o), opt)(x); average.update_parameters(o); return loss
two_optimizers | t = Two(); w = nn.Parameter(rv.ones(3)); s = optim.SGD([w], lr=0.1); o = [t, w, s]
  | t.step(x), descends(lambda x: (x * w).sum(), s)(x) | s.param_groups[0].update(momentum=0.3 * n)
clipping_limit_changed | <LINE>; clip = lambda: nn.utils.clip_grad_norm_(o.parameters(), k[0])
  | descends(squares(o), opt, clip)(x) | k[0] = new
clipping_list_changed | <LINE>; c = [o.weight]; clip = lambda: nn.utils.clip_grad_value_(c, 0.01)
  | descends(squares(o), opt, clip)(x) | c.append(o.bias) if n == 1 else c.pop()
manual_update_with_a_rate | o = nn.Parameter(rv.ones(3)); k = [0.1]
  | loss = gradient(o, (x * o).sum() ** 2); rv.no_grad()(o.sub_)(o.grad * k[0]); return loss | k[0] = 0.1 / n
accumulation_with_doubled_gradients | nn.Parameter(rv.ones(3))
  | loss = (x * o).sum(); loss.backward(); o.grad = o.grad * 2; return loss
update_every_second_call_by_an_argument | Two(momentum=0.5) | =o.accumulate | - | (tensor(n), n % 2 == 0)
update_every_second_call_by_a_counter | t = Two(momentum=0.5); o = [t, 0]
  | o[1] += 1; return t.accumulate(x, o[1] % 2 == 0)
lbfgs | <LINE>; opt = optim.LBFGS(o.parameters(), lr=0.1, max_iter=3)
  | return opt.step(lambda: gradients(opt, squares(o)(x))) | opt.param_groups[0].update(lr=0.1 * n)
""",
    LINE=LINE,
)
add_steps("optimizers", STEPS)
