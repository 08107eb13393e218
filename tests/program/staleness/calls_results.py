"""Results, and gradients that the caller holds."""

import collections
import dataclasses
import types

import ranvier as rv
from program.staleness.judge import Case, add, scenario
from program.staleness.small import Small, reading
from ranvier import nn

# --- results


def held(form, each=None, watch=True):
    def build():
        small = Small()

        def step(x):
            loss, y = small.train(x, 1.5)
            return form(loss, y, small.w)

        return Case(step, None, small.watch, each=each)

    return build


Result = collections.namedtuple("Result", "loss y")


@dataclasses.dataclass
class Found:
    loss: object
    y: object


RESULTS = {
    "one": (lambda loss, y, w: loss, "works"),
    "tuple": (lambda loss, y, w: (loss, y), "works"),
    "list": (lambda loss, y, w: [loss, [y]], "works"),
    "dict": (lambda loss, y, w: {"loss": loss, "more": {"y": y}}, "works"),
    "namedtuple": (lambda loss, y, w: Result(loss, y), "works"),
    "dataclass": (lambda loss, y, w: Found(loss, y), "either"),
    "namespace": (lambda loss, y, w: types.SimpleNamespace(loss=loss, y=y), "either"),
    "none": (lambda loss, y, w: None, "works"),
    "number_among_them": (lambda loss, y, w: (loss, 3, "text", None), "works"),
    "same_twice": (lambda loss, y, w: (y, y), "works"),
    "view_and_base": (lambda loss, y, w: (y, y[0]), "works"),
    "transposed_view": (lambda loss, y, w: y.T, "works"),
    "expanded": (lambda loss, y, w: loss.expand(3), "works"),
    "shape": (lambda loss, y, w: (y, y.shape), "works"),
    "gradient": (lambda loss, y, w: w.grad, "works"),
    "gradient_copy": (lambda loss, y, w: w.grad.clone(), "works"),
    "gradient_view": (lambda loss, y, w: w.grad[:2], "works"),
    "parameter": (lambda loss, y, w: w, "either"),
    "parameter_detached": (lambda loss, y, w: w.detach(), "either"),
    "parameter_data": (lambda loss, y, w: w.data, "either"),
    "parameter_view": (lambda loss, y, w: w.detach()[:2], "either"),
    "detached": (lambda loss, y, w: loss.detach(), "works"),
    "ordered_dict": (lambda loss, y, w: collections.OrderedDict(y=y, loss=loss), "either"),
    "set_of_numbers": (lambda loss, y, w: (loss, {1, 2}), "either"),
    "constant": (lambda loss, y, w: (loss, rv.zeros(2)), "works"),
    "random": (lambda loss, y, w: (loss, rv.rand(2)), "works"),
    "integer_result": (lambda loss, y, w: y.argmax(1), "works"),
    "bool_result": (lambda loss, y, w: y > 0, "works"),
    "generator": (lambda loss, y, w: list(t for t in (loss, y)), "either"),  # noqa: C400
}


def change_results(n, result):
    """The caller changes results in place."""
    for x in result if isinstance(result, (list, tuple)) else [result]:
        if isinstance(x, rv.Tensor) and x.dtype == rv.float32 and x.ndim and x.is_contiguous():
            x.detach().mul_(2.0)


for name, (form, expects) in RESULTS.items():
    add(f"calls/result_{name}", held(form), expects)
for name in (
    "one",
    "tuple",
    "list",
    "same_twice",
    "view_and_base",
    "namedtuple",
    "gradient_copy",
    "constant",
):
    add(
        f"calls/result_{name}-changed_by_the_caller", held(RESULTS[name][0], change_results), RESULTS[name][1]
    )


def gradients_held(zero, use):
    def build():
        w = nn.Parameter(rv.ones(3))
        kept = []

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


def to_zeros(w):
    if w.grad is not None:
        w.grad.zero_()


ZEROS = {"none": lambda w: setattr(w, "grad", None), "zeros": to_zeros, "kept": lambda w: None}
HELD = {
    "grad": lambda w: w.grad,
    "grad_and_clear": lambda w: (w.grad, setattr(w, "grad", None))[0],
    "grad_view": lambda w: w.grad[:2],
    "grad_numpy": lambda w: w.grad.numpy(),
    "grad_detached": lambda w: w.grad.detach(),
    "grad_doubled_in_place": lambda w: w.grad.mul_(2.0),
    "grad_replaced": lambda w: setattr(w, "grad", w.grad * 0.5),
    "grad_swapped_for_zeros": lambda w: setattr(w, "grad", rv.zeros(3)),
    "every_third": lambda w: w.grad,
}
for how, zero in ZEROS.items():
    for name, use in HELD.items():
        shared = how != "none" and name in ("grad_view", "grad_numpy", "grad_detached")
        add(f"calls/held_{name}-{how}", gradients_held(zero, use), "either" if shared else "works")


@scenario()
def gradients_given_to_another_parameter():
    w, v = nn.Parameter(rv.ones(3)), nn.Parameter(rv.zeros(3))

    def step(x):
        w.grad = None
        loss = (x * w * w).sum()
        loss.backward()
        return loss

    def each(n, result):
        if v.grad is None:
            v.grad = w.grad
        else:
            v.grad = v.grad + w.grad

    return Case(step, None, [w, v], each=each)


@scenario()
def gradient_by_rv_grad():
    w = nn.Parameter(rv.ones(3))

    def step(x):
        loss = (x * w * w).sum()
        return rv.autograd.grad(loss, [w])

    return Case(step, lambda n: w.data.mul_(2.0), [w])


@scenario()
def nothing_held():
    return reading(lambda: 1.5, holds=False)
