"""Predictions, whose weights are prepared once."""

import ranvier as rv
from program.staleness.judge import Case, add
from program.staleness.models_changed import hook_scale, sgd
from program.staleness.small import network
from ranvier import nn

# --- predictions with prepared weights

PREPARED_CHANGES = {
    "weight_written": lambda m, n: rv.no_grad()(lambda: m[0].weight.mul_(1.0 + n))(),
    "weight_data_written": lambda m, n: m[0].weight.data.mul_(1.0 + n),
    "weight_data_replaced": lambda m, n: setattr(m[0].weight, "data", m[0].weight.detach() * (1.0 + n)),
    "weight_replaced": lambda m, n: setattr(m[0], "weight", nn.Parameter(m[0].weight.detach() * (1.0 + n))),
    "weight_view_written": lambda m, n: m[0].weight.detach()[0].mul_(1.0 + n),
    "weight_by_numpy": lambda m, n: m[0].weight.detach().numpy().__imul__(1.0 + n),
    "bias_written": lambda m, n: m[0].bias.data.fill_(float(n)),
    "layer_replaced": lambda m, n: m.__setitem__(2, nn.Linear(4, 3)),
    "activation_replaced": lambda m, n: m.__setitem__(1, (None, nn.ReLU(), nn.Sigmoid(), nn.Tanh())[n]),
    "state_loaded": lambda m, n: m.load_state_dict({k: v * (1.0 + n) for k, v in m.state_dict().items()}),
    "layer_appended": lambda m, n: m.append(nn.Tanh()),
    "layer_deleted": lambda m, n: m.__delitem__(1) if n == 1 else m.append(nn.Tanh()),
    "forward_hook": lambda m, n: m[0].register_forward_hook(hook_scale(n)),
    "forward_replaced": lambda m, n: setattr(m[1], "forward", lambda x: x * (1.0 + n)),
    "trained_eagerly": lambda m, n: train_eagerly(m),
}


def train_eagerly(model):
    optimizer = sgd(model)
    model(rv.ones(2, 3)).sum().backward()
    optimizer.step()


def prediction(change, mode):
    def build(compile_step):
        model = network().eval()
        fast = compile_step(model)

        def call(x):
            if mode == "no_grad":
                with rv.no_grad():
                    return fast(x)
            return fast(x)

        return Case(call, lambda n: change(model, n), model)

    return build


for name, change in PREPARED_CHANGES.items():
    for mode in ("eval", "no_grad"):
        add(
            f"models/predicts-{name}-{mode}",
            prediction(change, mode),
            "either" if "hook" in name else "works",
        )
