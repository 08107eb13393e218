"""What a step reads from the library's objects: settings, shapes, types, lengths."""

import types

import ranvier as rv
from program.staleness.judge import Case, add
from program.staleness.small import Small
from ranvier import nn, optim


def of_object(make, read, change):
    def build():
        small = Small()
        thing = make(small)
        return Case(lambda x: small.train(x, read(thing)), lambda n: change(thing, n), small.watch)

    return build


OBJECTS = {
    "learning_rate": (
        lambda s: s.optimizer,
        lambda o: o.param_groups[0]["lr"] * 20,
        lambda o, n: o.param_groups[0].update(lr=0.05 + 0.01 * n),
    ),
    "learning_rate_in_a_loop": (
        lambda s: s.optimizer,
        lambda o: sum(group["lr"] for group in o.param_groups) * 20,
        lambda o, n: o.param_groups[0].update(lr=0.05 + 0.01 * n),
    ),
    "momentum": (
        lambda s: s.optimizer,
        lambda o: 2.0 if o.param_groups[0]["momentum"] else 1.0,
        lambda o, n: o.param_groups[0].update(momentum=0.1 * (n % 2)),
    ),
    "number_of_groups": (
        lambda s: s.optimizer,
        lambda o: float(len(o.param_groups)),
        lambda o, n: o.add_param_group({"params": [nn.Parameter(rv.ones(1))]}),
    ),
    "defaults_of_an_optimizer": (
        lambda s: s.optimizer,
        lambda o: o.defaults["lr"] * 20,
        lambda o, n: o.defaults.update(lr=0.05 + 0.01 * n),
    ),
    "last_lr_of_a_schedule": (
        lambda s: optim.lr_scheduler.StepLR(s.optimizer, 1, 0.5),
        lambda o: o.get_last_lr()[0] * 20,
        lambda o, n: o.step(),
    ),
    "epoch_of_a_schedule": (
        lambda s: optim.lr_scheduler.StepLR(s.optimizer, 1, 0.5),
        lambda o: 1.0 + o.last_epoch,
        lambda o, n: o.step(),
    ),
    "training": (
        lambda s: nn.Linear(1, 1),
        lambda m: 2.0 if m.training else 3.0,
        lambda m, n: m.train(n % 2 == 0),
    ),
    "requires_grad": (
        lambda s: nn.Parameter(rv.ones(1)),
        lambda p: 2.0 if p.requires_grad else 3.0,
        lambda p, n: p.requires_grad_(n % 2 == 0),
    ),
    "grad_is_none": (
        lambda s: nn.Parameter(rv.ones(1)),
        lambda p: 2.0 if p.grad is None else 3.0,
        lambda p, n: setattr(p, "grad", rv.ones(1) if n % 2 else None),
    ),
    "shape_of_a_tensor": (
        lambda s: types.SimpleNamespace(t=rv.ones(1)),
        lambda h: float(h.t.shape[0]),
        lambda h, n: setattr(h, "t", rv.ones(1 + n)),
    ),
    "shape_after_data": (
        lambda s: rv.ones(1),
        lambda t: float(t.shape[0]),
        lambda t, n: setattr(t, "data", rv.ones(1 + n)),
    ),
    "length_of_a_tensor": (
        lambda s: types.SimpleNamespace(t=rv.ones(1)),
        lambda h: float(len(h.t)),
        lambda h, n: setattr(h, "t", rv.ones(1 + n)),
    ),
    "dtype_of_a_tensor": (
        lambda s: types.SimpleNamespace(t=rv.ones(1)),
        lambda h: 2.0 if h.t.dtype == rv.float64 else 3.0,
        lambda h, n: setattr(h, "t", rv.ones(1, dtype=rv.float64 if n % 2 else rv.float32)),
    ),
    "out_features": (
        lambda s: nn.Sequential(nn.Linear(1, 1)),
        lambda m: float(m[0].out_features),
        lambda m, n: m.__setitem__(0, nn.Linear(1, 1 + n)),
    ),
    "kind_of_a_layer": (
        lambda s: nn.Sequential(nn.ReLU()),
        lambda m: 2.0 if isinstance(m[0], nn.ReLU) else 3.0,
        lambda m, n: m.__setitem__(0, nn.Tanh() if n % 2 else nn.ReLU()),
    ),
    "names_of_parameters": (
        lambda s: nn.Sequential(nn.Linear(1, 1)),
        lambda m: float(len([name for name, _ in m.named_parameters() if "weight" in name])),
        lambda m, n: m.append(nn.Linear(1, 1)),
    ),
    "has_a_head": (
        lambda s: nn.Sequential(),
        lambda m: 2.0 if hasattr(m, "head") else 3.0,
        lambda m, n: (
            setattr(m, "head", nn.Linear(1, 1)) if n == 1 else delattr(m, "head") if n == 2 else None
        ),
    ),
    "loss_weight_of_a_module": (
        lambda s: nn.CrossEntropyLoss(),
        lambda m: 1.0 + m.label_smoothing,
        lambda m, n: setattr(m, "label_smoothing", 0.1 * n),
    ),
}
for name, (make, read, change) in OBJECTS.items():
    expects = "either" if name == "grad_is_none" else "works"
    add(f"library/{name}", of_object(make, read, change), expects)
