"""Models changed between two calls: layers, parameters, buffers, hooks, requires_grad."""

import copy
import gc
import types

import ranvier as rv
from program.staleness.judge import Case, add, labelled
from program.staleness.small import classifies, network
from ranvier import nn, optim


def sgd(model, lr=0.1, momentum=0.0):
    return optim.SGD(model.parameters(), lr=lr, momentum=momentum)


def trained(change, *more, watch=None, expects="works", inputs=labelled, neutral=False):
    """A scenario of a classifier in training that `change(model, optimizer, n)` changes."""

    def build():
        model = network(*[make() for make in more])
        optimizer = sgd(model)
        step = classifies(model, optimizer)
        return Case(step, lambda n: change(model, optimizer, n), [model, optimizer], inputs)

    return build


def hook_scale(n):
    return lambda module, args, y: y * (1.0 + n)


def pre_scale(n):
    return lambda module, args: (args[0] * (1.0 + n),)


def backward_scale(n):
    return lambda module, grad_input, grad_output: tuple(
        g if g is None else g * (1.0 + n) for g in grad_input
    )


def backward_pre_scale(n):
    return lambda module, grad_output: tuple(g * (1.0 + n) for g in grad_output)


def add_module(model, place, n):
    model.insert(place, nn.Linear(4, 4))


def freeze(model, optimizer, n):
    model[0].weight.requires_grad_(n % 2 == 0)


def freeze_all_but_the_last(model, optimizer, n):
    for p in model[:-1].parameters():
        p.requires_grad_(n % 2 == 0)


def set_data(model, optimizer, n):
    model[0].weight.data = rv.full((4, 3), 0.1 * n)


def write_data(model, optimizer, n):
    model[0].weight.data.mul_(1.0 + n)


def write_numpy(model, optimizer, n):
    model[0].weight.data.numpy()[:] *= 1.0 + n


def copy_in(model, optimizer, n):
    with rv.no_grad():
        model[0].weight.copy_(rv.full((4, 3), 0.1 * n))


def load(model, optimizer, n):
    model.load_state_dict({name: v * (1.0 + n) for name, v in model.state_dict().items()})


def apply_init(model, optimizer, n):
    model.apply(lambda m: nn.init.constant_(m.weight, 0.1 * n) if isinstance(m, nn.Linear) else None)


def tie(model, optimizer, n):
    model[2].bias = model[0].weight_alias = nn.Parameter(rv.full((3,), float(n)))


def replace_parameter(model, optimizer, n):
    model[0].weight = nn.Parameter(rv.full((4, 3), 0.1 * n))


def replace_parameter_in_optimizer_too(model, optimizer, n):
    replace_parameter(model, optimizer, n)
    optimizer.param_groups[0]["params"] = list(model.parameters())


def cast_up(model, optimizer, n):
    for p in model.parameters():
        p.grad = None
    model.double() if n % 2 else model.float()


MODEL_CHANGES = {
    "sequential_append": lambda m, o, n: m.append(nn.Tanh()),
    "sequential_append_parameters": lambda m, o, n: m.append(nn.Linear(3, 3)),
    "sequential_insert": lambda m, o, n: m.insert(1, nn.ReLU()),
    "sequential_insert_parameters": lambda m, o, n: m.insert(2, nn.Linear(4, 4)),
    "sequential_delete": lambda m, o, n: (
        m.__delitem__(1) if n == 1 else m.insert(1, (None, None, nn.ReLU(), nn.SiLU())[n])
    ),
    "sequential_replace": lambda m, o, n: m.__setitem__(1, (None, nn.ReLU(), nn.Sigmoid(), nn.Tanh())[n]),
    "sequential_replace_parameters": lambda m, o, n: m.__setitem__(2, nn.Linear(4, 3)),
    "sequential_extend": lambda m, o, n: m.extend([nn.Tanh(), nn.Linear(3, 3)]),
    "attribute_replaced": lambda m, o, n: setattr(m, "1", (None, nn.ReLU(), nn.Sigmoid(), nn.Tanh())[n]),
    "identity_inserted": lambda m, o, n: (
        m.__setitem__(1, nn.Identity()) if n % 2 else m.__setitem__(1, nn.Tanh())
    ),
    "freeze_one": freeze,
    "freeze_all_but_the_last": freeze_all_but_the_last,
    "freeze_all": lambda m, o, n: m[0].requires_grad_(n % 2 == 0),
    "freeze_by_attribute": lambda m, o, n: setattr(m[0].bias, "requires_grad", n % 2 == 0),
    "data_replaced": set_data,
    "data_written": write_data,
    "data_written_by_numpy": write_numpy,
    "copied_in_place": copy_in,
    "state_loaded": load,
    "initialised_anew": apply_init,
    "reset_parameters": lambda m, o, n: m[0].reset_parameters(),
    "bias_replaced": tie,
    "parameter_replaced": replace_parameter,
    "parameter_replaced_in_optimizer_too": replace_parameter_in_optimizer_too,
    "bias_dropped": lambda m, o, n: (
        m[0].register_parameter("bias", None)
        if n == 1
        else setattr(m[0], "bias", nn.Parameter(rv.ones(4) * n))
    ),
    "weights_tied": lambda m, o, n: setattr(
        m[2], "weight", m[0].weight if n == 9 else nn.Parameter(m[0].weight.detach().T.clone())
    ),
    "grad_cleared": lambda m, o, n: m.zero_grad(),
    "gc_collect": lambda m, o, n: gc.collect(),
    "state_dict_taken": lambda m, o, n: m.state_dict(),
    "deep_copied": lambda m, o, n: copy.deepcopy(m),
    "used_eagerly": lambda m, o, n: m(rv.ones(2, 3)).sum().backward(),
    "eval_and_back": lambda m, o, n: m.eval().train(),
    "forward_hook": lambda m, o, n: m[0].register_forward_hook(hook_scale(n)),
    "forward_hook_on_the_whole": lambda m, o, n: m.register_forward_hook(hook_scale(n)),
    "forward_hook_on_an_activation": lambda m, o, n: m[1].register_forward_hook(hook_scale(n)),
    "forward_pre_hook": lambda m, o, n: m[0].register_forward_pre_hook(pre_scale(n)),
    "full_backward_hook": lambda m, o, n: m[2].register_full_backward_hook(backward_scale(n)),
    "full_backward_pre_hook": lambda m, o, n: m[2].register_full_backward_pre_hook(backward_pre_scale(n)),
    "tensor_hook": lambda m, o, n: m[0].weight.register_hook(lambda g: g * (1.0 + n)),
    "post_accumulate_hook": lambda m, o, n: m[0].weight.register_post_accumulate_grad_hook(
        lambda p: p.grad.mul_(1.0 + n)
    ),
}
NEUTRAL = ("grad_cleared", "gc_collect", "state_dict_taken", "deep_copied", "used_eagerly", "eval_and_back")
for name, change in MODEL_CHANGES.items():
    hooked = "hook" in name  # a hook's Python may do anything: eager's values, or a refusal
    add(f"models/{name}", trained(change), "either" if hooked else "works", name in NEUTRAL)


def norm():
    return nn.BatchNorm1d(4)


BUFFER_CHANGES = {
    "buffer_replaced": lambda m, o, n: setattr(m[2], "running_mean", rv.full((4,), float(n))),
    "buffer_written": lambda m, o, n: m[2].running_mean.add_(float(n)),
    "buffer_written_by_numpy": lambda m, o, n: m[2].running_mean.numpy().__iadd__(float(n)),
    "buffer_data_replaced": lambda m, o, n: setattr(m[2].running_mean, "data", rv.full((4,), float(n))),
    "statistics_reset": lambda m, o, n: m[2].reset_running_stats(),
    "norm_to_eval": lambda m, o, n: m[2].train(n % 2 == 0),
    "model_to_eval": lambda m, o, n: m.train(n % 2 == 0),
    "norm_replaced": lambda m, o, n: (
        m.__setitem__(2, nn.LayerNorm(4)) if n % 2 else m.__setitem__(2, nn.BatchNorm1d(4))
    ),
    "norm_weight_written": lambda m, o, n: m[2].weight.data.fill_(float(n)),
}
for name, change in BUFFER_CHANGES.items():
    add(f"models/{name}", trained(change, norm))


def hooks_removed(register):
    """Two hooks from the start; the first change removes one, the second the other, the third adds one."""

    def build():
        model = network()
        optimizer = sgd(model)
        handles = [register(model, n) for n in (1, 2)]

        def change(n):
            handles.append(register(model, 3)) if n == 3 else handles.pop().remove()

        return Case(classifies(model, optimizer), change, [model, optimizer], labelled)

    return build


REGISTER = {
    "forward_hook": lambda m, n: m[0].register_forward_hook(hook_scale(n)),
    "forward_pre_hook": lambda m, n: m[0].register_forward_pre_hook(pre_scale(n)),
    "full_backward_hook": lambda m, n: m[2].register_full_backward_hook(backward_scale(n)),
    "full_backward_pre_hook": lambda m, n: m[2].register_full_backward_pre_hook(backward_pre_scale(n)),
    "tensor_hook": lambda m, n: m[0].weight.register_hook(lambda g: g * (1.0 + n)),
    "post_accumulate_hook": lambda m, n: m[0].weight.register_post_accumulate_grad_hook(
        lambda p: p.grad.mul_(1.0 + n)
    ),
}
for name, register in REGISTER.items():
    add(f"models/{name}_removed", hooks_removed(register), "either")


def hook_that_reads(register_with):
    """A hook that reads a factor which changes."""

    def build():
        model, state = network(), types.SimpleNamespace(factor=1.0)
        optimizer = sgd(model)
        register_with(model, state)
        change = lambda n: setattr(state, "factor", 1.0 + n)  # noqa: E731
        return Case(classifies(model, optimizer), change, [model, optimizer], labelled)

    return build


READS = {
    "forward_hook": lambda m, s: m[0].register_forward_hook(lambda mod, args, y: y * s.factor),
    "forward_pre_hook": lambda m, s: m[0].register_forward_pre_hook(lambda mod, args: (args[0] * s.factor,)),
    "full_backward_hook": lambda m, s: m[2].register_full_backward_hook(
        lambda mod, gi, go: tuple(g if g is None else g * s.factor for g in gi)
    ),
    "tensor_hook": lambda m, s: m[0].weight.register_hook(lambda g: g * s.factor),
    "post_accumulate_hook": lambda m, s: m[0].weight.register_post_accumulate_grad_hook(
        lambda p: p.grad.mul_(s.factor)
    ),
}
for name, register in READS.items():
    add(f"models/{name}_reads_a_factor", hook_that_reads(register), "either")


def hook_that_counts(register_with):
    """A hook without effect on the step: it is called at every eager step."""

    def build():
        model, seen = network(), []
        optimizer = sgd(model)
        register_with(model, seen)
        return Case(classifies(model, optimizer), None, [model, optimizer, seen], labelled)

    return build


COUNTS = {
    "forward_hook": lambda m, s: m[0].register_forward_hook(lambda *_: s.append(1)),
    "forward_pre_hook": lambda m, s: m[0].register_forward_pre_hook(lambda *_: s.append(1)),
    "full_backward_hook": lambda m, s: m[2].register_full_backward_hook(lambda *_: s.append(1)),
    "tensor_hook": lambda m, s: m[0].weight.register_hook(lambda g: s.append(1)),
    "post_accumulate_hook": lambda m, s: m[0].weight.register_post_accumulate_grad_hook(
        lambda p: s.append(1)
    ),
}
for name, register in COUNTS.items():
    add(f"models/{name}_counts", hook_that_counts(register), "either")
