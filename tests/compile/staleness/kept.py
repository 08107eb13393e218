"""Results, gradients that the caller holds, and intermediate results that a step keeps somewhere."""

import collections
import dataclasses
import sys
import types
import weakref

import numpy as np
import ranvier as rv
from compile.staleness.judge import Case, add, scenario
from compile.staleness.rows import add_steps, table
from compile.staleness.small import Small, reading
from ranvier import nn

HERE = sys.modules[__name__]
Result = collections.namedtuple("Result", "loss y")


@dataclasses.dataclass
class Found:
    loss: object
    y: object


# --- results: of (loss, y, the weight)
RESULTS = {
    "one": lambda loss, y, w: loss,
    "tuple": lambda loss, y, w: (loss, y),
    "list": lambda loss, y, w: [loss, [y]],
    "dict": lambda loss, y, w: {"loss": loss, "more": {"y": y}},
    "namedtuple": lambda loss, y, w: Result(loss, y),
    "dataclass": lambda loss, y, w: Found(loss, y),
    "namespace": lambda loss, y, w: types.SimpleNamespace(loss=loss, y=y),
    "none": lambda loss, y, w: None,
    "number_among_them": lambda loss, y, w: (loss, 3, "text", None),
    "same_twice": lambda loss, y, w: (y, y),
    "view_and_base": lambda loss, y, w: (y, y[0]),
    "transposed_view": lambda loss, y, w: y.T,
    "expanded": lambda loss, y, w: loss.expand(3),
    "shape": lambda loss, y, w: (y, y.shape),
    "gradient": lambda loss, y, w: w.grad,
    "gradient_copy": lambda loss, y, w: w.grad.clone(),
    "gradient_view": lambda loss, y, w: w.grad[:2],
    "parameter": lambda loss, y, w: w,
    "parameter_detached": lambda loss, y, w: w.detach(),
    "parameter_data": lambda loss, y, w: w.data,
    "parameter_view": lambda loss, y, w: w.detach()[:2],
    "detached": lambda loss, y, w: loss.detach(),
    "ordered_dict": lambda loss, y, w: collections.OrderedDict(y=y, loss=loss),
    "set_of_numbers": lambda loss, y, w: (loss, {1, 2}),
    "constant": lambda loss, y, w: (loss, rv.zeros(2)),
    "random": lambda loss, y, w: (loss, rv.rand(2)),
    "integer_result": lambda loss, y, w: y.argmax(1),
    "bool_result": lambda loss, y, w: y > 0,
    "generator": lambda loss, y, w: list(t for t in (loss, y)),  # noqa: C400
    "of_numpy": lambda loss, y, w: (loss, np.ones(2)),
}


def change_results(n, result):
    """The caller changes results in place."""
    for x in result if isinstance(result, (list, tuple)) else [result]:
        if isinstance(x, rv.Tensor) and x.dtype == rv.float32 and x.ndim and x.is_contiguous():
            x.detach().mul_(2.0)


def held(form, each=None):
    def build():
        small = Small()
        return Case(lambda x: form(*small.train(x, 1.5), small.w), None, small.watch, each=each)

    return build


WRITTEN = "one tuple list same_twice view_and_base namedtuple gradient_copy constant"
for name, form in RESULTS.items():
    add(f"calls/result_{name}", held(form))
    if name in WRITTEN.split():
        add(f"calls/result_{name}-changed_by_the_caller", held(form, change_results))


# --- gradients that the caller holds
ZEROS = {
    "none": lambda w: setattr(w, "grad", None),
    "zeros": lambda w: w.grad is not None and w.grad.zero_(),
    "kept": lambda w: None,
}
HELD = {
    "grad": lambda w: w.grad,
    "grad_and_clear": lambda w: (w.grad, setattr(w, "grad", None))[0],
    "grad_view": lambda w: w.grad[:2],
    "grad_numpy": lambda w: w.grad.numpy(),
    "grad_detached": lambda w: w.grad.detach(),
    "grad_doubled_in_place": lambda w: w.grad.mul_(2.0),
    "grad_replaced": lambda w: setattr(w, "grad", w.grad * 0.5),
    "grad_swapped_for_zeros": lambda w: setattr(w, "grad", rv.zeros(3)),
    "nothing": lambda w: None,
}


def gradients_held(zero, use):
    def build():
        w, kept = nn.Parameter(rv.ones(3)), []

        def step(x):
            zero(w)
            loss = (x * w * w).sum()
            loss.backward()
            return loss

        def each(n, result):
            kept.append(use(w))
            del kept[:-6]

        return Case(step, None, lambda: [w, kept], each=each)

    return build


for how, zero in ZEROS.items():
    for name, use in HELD.items():
        add(f"calls/held_{name}-{how}", gradients_held(zero, use))


@scenario()
def gradients_given_to_another_parameter():
    w, v = nn.Parameter(rv.ones(3)), nn.Parameter(rv.zeros(3))

    def step(x):
        w.grad = None
        loss = (x * w * w).sum()
        loss.backward()
        return loss

    def each(n, result):
        v.grad = w.grad if v.grad is None else v.grad + w.grad

    return Case(step, None, [w, v], each=each)


@scenario()
def nothing_held():
    return reading(lambda: 1.5, holds=False)


# --- intermediate results that the step keeps
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
    "cycle": (lambda k, t: setattr(k, "last", (circle := [t]).append(circle)), lambda k: k.last),
    "numpy": (lambda k, t: setattr(k, "last", t.detach().numpy()), lambda k: k.last),
    "weak": (lambda k, t: setattr(k, "last", weakref.ref(t)), lambda k: callable(k.last) and k.last()),
}
# which tensor is kept: of (x, loss, y, the weight)
WHICH = {
    "argument": lambda x, loss, y, w: x,
    "result": lambda x, loss, y, w: loss.detach(),
    "other_result": lambda x, loss, y, w: y * 2.0,
    "view_of_the_argument": lambda x, loss, y, w: x[0],
    "copy_of_the_argument": lambda x, loss, y, w: x * 1.0,
    "result_with_its_tape": lambda x, loss, y, w: loss,
    "view_of_a_result": lambda x, loss, y, w: y[0],
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
    for name in list(WHICH) if how in ("attribute", "list") else list(WHICH)[:3]:
        if (how, name) != ("numpy", "argument"):
            add(f"kept/{name}-{how}", keeping(keep, look, WHICH[name]))


@scenario()
def numpy_view_of_a_parameter_read_by_the_caller():
    small, seen = Small(), []
    view = small.w.detach().numpy()
    each = lambda n, result: seen.append(view.copy())  # noqa: E731
    change = lambda n: view.__imul__(np.float32(1.5))  # noqa: E731
    return Case(lambda x: small.train(x, 1.5), change, [*small.watch, seen], each=each)


NET = "o = nn.Linear(3, 3); o.hidden = o.made = None; o.calls = 0; o.register_buffer('mean', rv.zeros(3))"
TWO = "o = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)]); a, b = o"
# made | the step | change
STEPS = table(
    r"""
gradient_by_rv_grad | nn.Parameter(rv.ones(3)) | rv.autograd.grad((x * o * o).sum(), [o]) | o.data.mul_(2.0)
weight_kept_in_a_list | [None] | o[0] = small.w; return small.train(x, 1.5) | small.w.data.mul_(1.5)
target_network_copied_in_the_step
  | <TWO>; s = descends(lambda x: ((a(x) - b(x).detach()) ** 2).mean(), optim.SGD(a.parameters(), 0.1))
  | loss = s(x); follow(b, a); return loss | b.load_state_dict(a.state_dict())
target_network_assigned_in_the_step | <TWO>
  | b.weight.data = (a.weight + b.weight).detach() * 0.5; return (a(x) - b(x)).sum() | a.weight.data.mul_(1.5)
gradient_assigned_in_the_step | nn.Parameter(rv.ones(3)) | o.grad = x.mean(0) * 2.0; return o.sum()
  | o.data.mul_(1.5)
requires_grad_switched_in_the_step | o = nn.Parameter(rv.ones(3)); k = [True]
  | o.requires_grad_(k[0]); return gradient(o, (x * o).sum()) | k[0] = n % 2 == 0
mode_switched_in_the_step | o = nn.Sequential(nn.Dropout(0.5)); k = [True]
  | o.train(k[0]); return o(x) * 1.0 | k[0] = n % 2 == 0
hook_registered_in_the_step | o = nn.Linear(3, 3); k = [2.0]
  | h = o.register_forward_hook(lambda m, a, y: y * k[0]); y = o(x).sum(); h.remove(); return y | k[0] = new
list_of_losses_cut_by_the_caller | [] | o.append(1); return small.train(x, 1.0 + 0.1 * len(o)) | o.clear()
moving_average_in_a_tensor | rv.zeros(3)
  | with rv.no_grad(): o.mul_(0.9).add_(x.mean(0) * 0.1)\nreturn small.train(x - o, 1.5) | o.zero_()
cached_mask_by_size | {}
  | if len(x) not in o: o[len(x)] = rv.ones(len(x), 1) * 2.0\nreturn small.train(x * o[len(x)], 1.5)
  | o[4].mul_(2.0)
grad_mode_set_inside | [False]
  | with rv.set_grad_enabled(o[0]): y = (small.w * small.w).sum()\nreturn gradient(small.w, (x *
    small.w).sum() + y)
  | o[0] = n % 2 == 1
grad_mode_left_by_the_step | patch.after(lambda: rv.set_grad_enabled(True))
  | y = small.train(x, 1.5); rv.set_grad_enabled(True); return y
value_read_from_a_change_on | Plain(False)
  | loss, y = small.train(x, 1.5); return y * (loss.item() if o.value else 1.0) | o.value = n % 2 == 1
hidden_state | <NET>
  | y = o(x) if o.hidden is None else o(x) + o.hidden; o.hidden = y.detach(); return y.detach()
buffer_assigned | <NET> | o.mean = o.mean * 0.9 + x.mean(0) * 0.1; return x - o.mean
layer_made_at_the_first_call | <NET>
  | if o.made is None: rv.manual_seed(3); o.made = nn.Linear(3, 3)\nreturn o.made(x).detach()
module_that_counts | <NET> | o.calls += 1; return o(x).detach() * (2.0 if o.calls > 5 else 1.0)
module_that_only_counts | <NET> | o.calls += 1; return o(x).detach()
code_of_the_step_replaced | def o(x): return small.train(x, 1.5) | =o
  | o.__code__ = (lambda x: small.train(x, 2.5)).__code__
default_of_the_step_replaced | def o(x, factor=2.0): return small.train(x, factor) | =o
  | o.__defaults__ = (new,)
partial_of_the_step_itself | functools.partial(lambda x, factor: small.train(x, factor), factor=1.5) | =o
  | o.keywords.update(factor=1.5 + n)
loss_function_rebound | o = F.mse_loss; step = descends(lambda x: o(x * small.w, x * 2), small.optimizer)
  | =step | o = (F.l1_loss, F.smooth_l1_loss, F.mse_loss)[n - 1]
""",
    NET=NET,
    TWO=TWO,
)
add_steps("kept", STEPS)
