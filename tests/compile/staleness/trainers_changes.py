"""What changes while `Trainer.fit` runs."""

import types

from compile.staleness.models import HOOKS, norm
from compile.staleness.optimizers import SCHEDULES
from compile.staleness.rows import Row, row
from compile.staleness.trainers import Setup, add, changes, model_of, with_model
from ranvier import nn, optim
from ranvier.nn import functional as F

DROPOUT, LEAKY = lambda: nn.Dropout(0.5), lambda: nn.LeakyReLU(0.1)
# of the trainer `t`, its model `m` and optimizer `o`; with a layer that the model has in its middle
CHANGES = {
    "dropout_p": ("m[2].p = 0.1 * n", DROPOUT),
    "dropout_p_to_zero": ("m[2].p = 0.0 if n % 2 else 0.3", DROPOUT),
    "negative_slope": ("m[2].negative_slope = 0.2 * n", LEAKY),
    "norm_eps": ("m[2].eps = 0.1 * n", norm),
    "norm_momentum": ("m[2].momentum = 0.2 * n", norm),
    "layer_replaced": ("m[1] = (nn.ReLU(), nn.Sigmoid(), nn.Tanh())[n - 1]",),
    "layer_appended": ("m.append(nn.Tanh())",),
    "layer_inserted": ("m.insert(2, nn.Linear(4, 4))",),
    "layer_deleted": ("if n == 1: del m[1]\nelse: m.append(nn.Tanh())",),
    "frozen": ("m[0].requires_grad_(n % 2 == 0)",),
    "frozen_bias": ("m[0].bias.requires_grad_(n % 2 == 0)",),
    "weights_written": ("m[0].weight.data.mul_(1.5)",),
    "weights_written_by_numpy": ("m[0].weight.data.numpy()[:] *= 1.5",),
    "weights_replaced": ("m[0].weight.data = rv.full((4, 3), 0.1 * n)",),
    "parameter_replaced": ("m[0].weight = nn.Parameter(rv.full((4, 3), 0.1 * n))",),
    "state_loaded": ("m.load_state_dict({k: v * 1.5 for k, v in m.state_dict().items()})",),
    "statistics_reset": ("m[2].reset_running_stats()", norm),
    "forward_replaced": ("m[1].forward = lambda x: x * (1.0 + n)",),
    "lr": ("o.param_groups[0].update(lr=0.2 / n)",),
    "momentum": ("o.param_groups[0].update(momentum=0.2 * n)",),
    "momentum_off": ("o.param_groups[0].update(momentum=0.0 if n % 2 else 0.5)",),
    "weight_decay": ("o.param_groups[0].update(weight_decay=0.2 * n)",),
    "nesterov": ("o.param_groups[0].update(nesterov=n % 2 == 1)",),
    "maximize": ("o.param_groups[0].update(maximize=n % 2 == 1)",),
    "state_cleared": ("o.state.clear()",),
    "group_added": (
        "o.param_groups.append({**o.param_groups[0], 'params': []}); o.param_groups[0].update(lr=0.3 / n)",
    ),
    "groups_cleared": ("o.param_groups.clear()",),
    "parameter_taken_out": ("o.param_groups[0]['params'].pop()",),
    "optimizer_state_loaded": (
        "o.load_state_dict(optim.SGD(m.parameters(), lr=0.3, momentum=0.1 * n).state_dict())",
    ),
    "eval_mode": ("m[2].train(n % 2 == 0)", DROPOUT),
    "label_smoothing": ("t.loss.label_smoothing = 0.1 * n",),
    "ignore_index": ("t.loss.ignore_index = n % 3",),
    "class_weight": ("t.loss.weight = rv.tensor([1.0 + n, 1.0, 1.0])",),
    "loss_forward": ("t.loss.forward = lambda output, y: F.cross_entropy(output, y) * (1.0 + n)",),
    **{
        name: (text,)
        for name, text in HOOKS.items()
        if name != "full_backward_pre_hook" and "_on_" not in name
    },
}
NEUTRAL = {"nothing": ("pass",), "model_used_outside": ("m(rv.tensor(X[:4])).sum().backward()",)}
for name, (text, *more) in {**CHANGES, **NEUTRAL}.items():
    add(f"fit/{name}", with_model(text, *more), name in NEUTRAL)

ADAM = {
    "betas": "o.param_groups[0].update(betas=(0.3 * n, 0.9))",
    "eps": "o.param_groups[0].update(eps=0.1 * n)",
    "amsgrad": "o.param_groups[0].update(amsgrad=n % 2 == 1)",
    "state_zeroed": "for s in o.state.values(): s['exp_avg'].fill(0)",
}
for name, text in ADAM.items():
    add(f"fit/adam_{name}", with_model(text, kind=lambda p: optim.Adam(p, lr=0.05)))
SETTINGS = ({"accumulate": 2}, {"clip_grad_norm": 0.1}, {"l1": 0.01, "l2": 0.01}, {"metrics": ["accuracy"]})
for settings in SETTINGS:
    for name in ("lr", "dropout_p", "frozen", "weights_written", "layer_replaced", "momentum_off"):
        text, *more = CHANGES[name]
        add(f"fit/{name}_with_{'_'.join(settings)}", with_model(text, *more, **settings))

# a loss function with a factor that it reads in one way or another
LOSSES: dict[str, Row] = {
    "attribute": ("Plain(v)", "o.value", "o.value = new"),
    "global": ("globals().update(G=v)", "G", "globals().update(G=new)"),
    "cell": ("v", "o", "o = new"),
    "list": ("[v]", "o[0]", "o[0] = new"),
    "list_length": ("[v]", "len(o)", "o.append(new)"),
    "dict": ("{'factor': v}", "o['factor']", "o.update(factor=new)"),
    "class": ("o = Base(); Base.value = v", "o.value", "Base.value = new"),
    "module": ("module(value=v)", "o.value", "o.value = new"),
    "branch": ("Plain(v)", "1.0 if o.value < 2.5 else 0.5", "o.value = new"),
    "loop": ("Plain(v)", "sum(1.0 for _ in range(int(o.value)))", "o.value = new"),
    "array": ("np.full(1, v)", "float(o[0])", "o.fill(new)"),
    "tensor": ("rv.full((1,), v)", "o", "o.fill_(new)"),
    "default": ("def o(v=v): return v", "o()", "o.__defaults__ = (new,)"),
    "text": ("Plain('exp')", "getattr(rv, o.value)(rv.ones(1))", "o.value = 'log1p' if n % 2 else 'exp'"),
}


def with_loss(texts):
    def build():
        model = model_of()
        read, put, *_ = row(*texts)(1.0, None, None)
        loss = lambda output, y: (F.mse_loss(output, y) * read()).sum()  # noqa: E731
        optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
        return Setup(model, loss, optimizer, lambda t, n: put(n, 1.0 + n), regression=True)

    return build


for name, texts in LOSSES.items():
    add(f"fit/loss_reads_{name}", with_loss(texts))

# a model of the user's class
OWN = {
    "attribute": "m.factor = 1.0 + n",
    "config_attribute": "m.config.factor = 1.0 + n",
    "class_attribute": "type(m).shared = 1.0 + n",
    "dict_item": "m.options.update(scale=1.0 + n)",
    "flag": "m.kind = 'tanh' if n % 2 else 'plain'",
    "layers_in_a_python_list": "m.config.through = True; m.layers.append(nn.Linear(3, 3))",
    "config_replaced": "m.config = type(m.config)(factor=1.0 + n, through=False)",
    "through_flag": "m.config.through = n % 2 == 1",
    "counts": "m.limit = 9",
}


def with_own_model(name, text):
    def build():
        class Net(nn.Module):
            shared = 1.0

            def __init__(self):
                super().__init__()
                self.layer, self.layers = nn.Linear(3, 3), [nn.Linear(3, 3), nn.Linear(3, 3)]
                self.config = types.SimpleNamespace(factor=1.0, through=False)
                self.factor, self.calls, self.limit = 1.0, 0, None
                self.kind, self.options = "plain", {"scale": 1.0}

            def forward(self, x):
                y = self.layer(x) * self.factor * self.config.factor * self.shared * self.options["scale"]
                if self.kind == "tanh":
                    y = y.tanh()
                for layer in self.layers if self.config.through else ():
                    y = layer(y)
                if name == "counts":
                    self.calls += 1
                    y = y * (2.0 if self.calls > (self.limit or 15) else 1.0)
                return y

        model = Net()
        return Setup(model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), changes(text))

    return build


for name, text in OWN.items():
    add(f"fit/own_model_{name}", with_own_model(name, text))


def scheduled(make):
    def build():
        model = model_of(nn.Dropout(0.2))
        optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        schedule = make(optimizer)
        return Setup(model, nn.CrossEntropyLoss(), optimizer, lambda t, n: schedule.step())

    return build


for name in ("StepLR", "OneCycleLR", "CyclicLR"):
    add(f"fit/schedule_{name}", scheduled(SCHEDULES[name]))
