"""What changes while `Trainer.fit` runs."""

import types
from typing import Any

import numpy as np
import ranvier as rv
from program.staleness.models_changed import backward_scale, hook_scale, norm, pre_scale
from program.staleness.optimizers_carried import SCHEDULES
from program.staleness.small import Counts
from program.staleness.trainers import Setup, X, add, model_of, with_model
from ranvier import nn, optim
from ranvier.nn import functional as F

# changes: (trainer, n)
CHANGES: dict[str, tuple[Any, ...]] = {
    "dropout_p": (lambda t, n: setattr(t.model[2], "p", 0.1 * n), lambda: nn.Dropout(0.5)),
    "dropout_p_to_zero": (
        lambda t, n: setattr(t.model[2], "p", 0.0 if n % 2 else 0.3),
        lambda: nn.Dropout(0.5),
    ),
    "negative_slope": (
        lambda t, n: setattr(t.model[2], "negative_slope", 0.2 * n),
        lambda: nn.LeakyReLU(0.1),
    ),
    "norm_eps": (lambda t, n: setattr(t.model[2], "eps", 0.1 * n), norm),
    "norm_momentum": (lambda t, n: setattr(t.model[2], "momentum", 0.2 * n), norm),
    "layer_replaced": (lambda t, n: t.model.__setitem__(1, (None, nn.ReLU(), nn.Sigmoid(), nn.Tanh())[n]),),
    "layer_appended": (lambda t, n: t.model.append(nn.Tanh()),),
    "layer_inserted": (lambda t, n: t.model.insert(2, nn.Linear(4, 4)),),
    "layer_deleted": (lambda t, n: t.model.__delitem__(1) if n == 1 else t.model.append(nn.Tanh()),),
    "frozen": (lambda t, n: t.model[0].requires_grad_(n % 2 == 0),),
    "frozen_bias": (lambda t, n: t.model[0].bias.requires_grad_(n % 2 == 0),),
    "weights_written": (lambda t, n: t.model[0].weight.data.mul_(1.5),),
    "weights_written_by_numpy": (lambda t, n: t.model[0].weight.data.numpy().__imul__(1.5),),
    "weights_replaced": (lambda t, n: setattr(t.model[0].weight, "data", rv.full((4, 3), 0.1 * n)),),
    "parameter_replaced": (
        lambda t, n: setattr(t.model[0], "weight", nn.Parameter(rv.full((4, 3), 0.1 * n))),
    ),
    "state_loaded": (
        lambda t, n: t.model.load_state_dict({k: v * 1.5 for k, v in t.model.state_dict().items()}),
    ),
    "statistics_reset": (lambda t, n: t.model[2].reset_running_stats(), norm),
    "forward_replaced": (lambda t, n: setattr(t.model[1], "forward", lambda x: x * (1.0 + n)),),
    "forward_hook": (lambda t, n: t.model[0].register_forward_hook(hook_scale(n)),),
    "forward_pre_hook": (lambda t, n: t.model[0].register_forward_pre_hook(pre_scale(n)),),
    "full_backward_hook": (lambda t, n: t.model[2].register_full_backward_hook(backward_scale(n)),),
    "tensor_hook": (lambda t, n: t.model[0].weight.register_hook(lambda g: g * (1.0 + n)),),
    "post_accumulate_hook": (
        lambda t, n: t.model[0].weight.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(1.0 + n)),
    ),
    "lr": (lambda t, n: t.optimizer.param_groups[0].update(lr=0.2 / n),),
    "momentum": (lambda t, n: t.optimizer.param_groups[0].update(momentum=0.2 * n),),
    "momentum_off": (lambda t, n: t.optimizer.param_groups[0].update(momentum=0.0 if n % 2 else 0.5),),
    "weight_decay": (lambda t, n: t.optimizer.param_groups[0].update(weight_decay=0.2 * n),),
    "nesterov": (lambda t, n: t.optimizer.param_groups[0].update(nesterov=n % 2 == 1),),
    "maximize": (lambda t, n: t.optimizer.param_groups[0].update(maximize=n % 2 == 1),),
    "state_cleared": (lambda t, n: t.optimizer.state.clear(),),
    "group_added": (
        lambda t, n: (
            t.optimizer.param_groups.append({**t.optimizer.param_groups[0], "params": []})
            or t.optimizer.param_groups[0].update(lr=0.3 / n)
        ),
    ),
    "groups_cleared": (lambda t, n: t.optimizer.param_groups.clear(),),
    "parameter_taken_out": (lambda t, n: t.optimizer.param_groups[0]["params"].pop(),),
    "optimizer_state_loaded": (
        lambda t, n: t.optimizer.load_state_dict(
            optim.SGD(t.model.parameters(), lr=0.3, momentum=0.1 * n).state_dict()
        ),
    ),
    "model_used_outside": (lambda t, n: t.model(rv.tensor(X[:4])).sum().backward(),),
    "eval_mode": (lambda t, n: t.model[2].eval() if n % 2 else t.model[2].train(), lambda: nn.Dropout(0.5)),
    "nothing": (lambda t, n: None,),
}
NEUTRAL = ("nothing", "model_used_outside")
for name, (change, *more) in CHANGES.items():
    add(f"fit/{name}", with_model(change, *more), "either" if "hook" in name else "works", name in NEUTRAL)

ADAM = {
    "betas": lambda t, n: t.optimizer.param_groups[0].update(betas=(0.3 * n, 0.9)),
    "eps": lambda t, n: t.optimizer.param_groups[0].update(eps=0.1 * n),
    "amsgrad": lambda t, n: t.optimizer.param_groups[0].update(amsgrad=n % 2 == 1),
    "state_zeroed": lambda t, n: [s["exp_avg"].fill(0) for s in t.optimizer.state.values()],
}
for name, change in ADAM.items():
    add(f"fit/adam_{name}", with_model(change, kind=lambda p: optim.Adam(p, lr=0.05)))

LOSSES = {
    "label_smoothing": lambda t, n: setattr(t.loss, "label_smoothing", 0.1 * n),
    "ignore_index": lambda t, n: setattr(t.loss, "ignore_index", n % 3),
    "class_weight": lambda t, n: setattr(t.loss, "weight", rv.tensor([1.0 + n, 1.0, 1.0])),
    "loss_forward": lambda t, n: setattr(
        t.loss, "forward", lambda output, y: F.cross_entropy(output, y) * (1.0 + n)
    ),
}
for name, change in LOSSES.items():
    add(f"fit/{name}", with_model(change))
for settings in (
    {"accumulate": 2},
    {"clip_grad_norm": 0.1},
    {"l1": 0.01, "l2": 0.01},
    {"metrics": ["accuracy"]},
):
    label = "_".join(settings)
    for name in ("lr", "dropout_p", "frozen", "weights_written", "layer_replaced", "momentum_off"):
        change, *more = CHANGES[name]
        add(f"fit/{name}_with_{label}", with_model(change, *more, **settings))

FACTOR = 1.0


class Config:
    factor = 1.0


def set_global(value):
    global FACTOR
    FACTOR = value


def scaled_loss(kind):
    """A loss function with a factor that it reads in one way or another: (loss, set)."""
    state, cell, numbers = types.SimpleNamespace(factor=1.0), 1.0, [1.0]
    table, config = {"factor": 1.0}, Config()
    module = types.ModuleType("config")
    module.factor = 1.0
    array = np.ones(1, np.float32)
    tensor = rv.ones(1)
    set_global(1.0)
    Config.factor = 1.0

    def set_cell(v):
        nonlocal cell
        cell = v

    def by_default(output, y, factor=1.0):
        return F.mse_loss(output, y) * factor

    kinds = {
        "attribute": (lambda o, y: F.mse_loss(o, y) * state.factor, lambda v: setattr(state, "factor", v)),
        "global": (lambda o, y: F.mse_loss(o, y) * FACTOR, set_global),
        "cell": (lambda o, y: F.mse_loss(o, y) * cell, set_cell),
        "list": (lambda o, y: F.mse_loss(o, y) * numbers[0], lambda v: numbers.__setitem__(0, v)),
        "list_length": (lambda o, y: F.mse_loss(o, y) * len(numbers), numbers.append),
        "dict": (lambda o, y: F.mse_loss(o, y) * table["factor"], lambda v: table.update(factor=v)),
        "class": (lambda o, y: F.mse_loss(o, y) * config.factor, lambda v: setattr(Config, "factor", v)),
        "module": (lambda o, y: F.mse_loss(o, y) * module.factor, lambda v: setattr(module, "factor", v)),
        "branch": (
            lambda o, y: F.mse_loss(o, y) if state.factor < 2.5 else F.mse_loss(o, y) * 0.5,
            lambda v: setattr(state, "factor", v),
        ),
        "loop": (
            lambda o, y: sum(F.mse_loss(o, y) for _ in range(int(state.factor))),
            lambda v: setattr(state, "factor", v),
        ),
        "array": (lambda o, y: F.mse_loss(o, y) * float(array[0]), lambda v: array.fill(v)),
        "tensor": (lambda o, y: (F.mse_loss(o, y) * tensor).sum(), lambda v: tensor.fill_(v)),
        "default": (by_default, lambda v: setattr(by_default, "__defaults__", (v,))),
        "text": (
            lambda o, y: getattr(F, table.get("kind", "mse_loss"))(o, y),
            lambda v: table.update(kind="l1_loss" if v % 2 else "mse_loss"),
        ),
    }
    return kinds[kind]


def with_loss(kind):
    def build():
        model = model_of()
        loss, put = scaled_loss(kind)
        optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
        return Setup(model, loss, optimizer, lambda t, n: put(1.0 + n), regression=True)

    return build


KINDS = "attribute global cell list list_length dict class module branch loop array tensor default text"
for kind in KINDS.split():
    add(f"fit/loss_reads_{kind}", with_loss(kind), "either" if kind == "array" else "works")


def with_own_model(make):
    def build():
        model, change = make()
        return Setup(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), change)

    return build


class Net(nn.Module):
    shared = 1.0

    def __init__(self, config):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.layers = [nn.Linear(3, 3), nn.Linear(3, 3)]
        self.config, self.factor, self.calls = config, 1.0, 0
        self.kind, self.options = "plain", {"scale": 1.0}

    def forward(self, x):
        y = self.layer(x) * self.factor * self.config.factor * self.shared * self.options["scale"]
        if self.kind == "tanh":
            y = y.tanh()
        if self.config.through:
            for layer in self.layers:
                y = layer(y)
        return y


def own_model(change, **config):
    def make():
        Net.shared = 1.0
        return Net(types.SimpleNamespace(**{"factor": 1.0, "through": False, **config})), change

    return make


OWN = {
    "attribute": own_model(lambda t, n: setattr(t.model, "factor", 1.0 + n)),
    "config_attribute": own_model(lambda t, n: setattr(t.model.config, "factor", 1.0 + n)),
    "class_attribute": own_model(lambda t, n: setattr(Net, "shared", 1.0 + n)),
    "dict_item": own_model(lambda t, n: t.model.options.update(scale=1.0 + n)),
    "flag": own_model(lambda t, n: setattr(t.model, "kind", "tanh" if n % 2 else "plain")),
    "layers_in_a_python_list": own_model(lambda t, n: t.model.layers.append(nn.Linear(3, 3)), through=True),
    "config_replaced": own_model(
        lambda t, n: setattr(t.model, "config", types.SimpleNamespace(factor=1.0 + n, through=False))
    ),
    "through_flag": own_model(lambda t, n: setattr(t.model.config, "through", n % 2 == 1)),
}
for name, make in OWN.items():
    add(f"fit/own_model_{name}", with_own_model(make))


def counting_model():
    return Counts(9), lambda t, n: setattr(t.model.layer.weight, "data", t.model.layer.weight.detach() * 1.5)


add("fit/own_model_counts", with_own_model(counting_model), "either")


def scheduled(make):
    def build():
        model = model_of(nn.Dropout(0.2))
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        schedule = make(optimizer)
        return Setup(model, nn.CrossEntropyLoss(), optimizer, lambda t, n: schedule.step())

    return build


for name in ("StepLR", "OneCycleLR", "CyclicLR"):
    add(f"fit/schedule_{name}", scheduled(SCHEDULES[name]))
