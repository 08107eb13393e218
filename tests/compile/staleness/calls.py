"""Arguments: keywords, containers of tensors, shapes, dtypes, layouts, aliases."""

import collections
import types

import numpy as np
import ranvier as rv
from compile.staleness.judge import Case, add
from compile.staleness.parts import drawn, tensor
from compile.staleness.rows import add_steps, table
from compile.staleness.small import Small

A, B, C = tensor, lambda n: tensor(n + 100), lambda n: tensor(n + 200)
KEYWORDS = {
    "alphabetical": lambda n: ((), {"mask": B(n), "x": A(n)}),
    "not_alphabetical": lambda n: ((), {"x": A(n), "mask": B(n)}),
    "three_in_an_order": lambda n: ((), {"x": A(n), "mask": B(n), "bias": C(n)}),
    "three_in_another_order": lambda n: ((), {"mask": B(n), "x": A(n), "bias": C(n)}),
    "three_reversed": lambda n: ((), {"bias": C(n), "x": A(n), "mask": B(n)}),
    "order_changes": lambda n: ((), {"x": A(n), "mask": B(n)} if n % 2 else {"mask": B(n), "x": A(n)}),
    "after_a_position": lambda n: ((A(n),), {"mask": B(n), "bias": C(n)}),
    "after_a_position_reversed": lambda n: ((A(n),), {"bias": C(n), "mask": B(n)}),
    "now_position_now_keyword": lambda n: ((A(n), B(n)), {}) if n % 2 else ((A(n),), {"mask": B(n)}),
    "left_out_now_and_then": lambda n: ((A(n),), {"mask": B(n)}) if n % 2 else ((A(n),), {}),
    "default_given": lambda n: ((A(n),), {"scale": 2.0}) if n % 2 else ((A(n),), {}),
    "number_changes": lambda n: ((A(n),), {"scale": float(n % 3)}),
    "number_and_tensor": lambda n: ((), {"scale": float(n % 3), "mask": B(n), "x": A(n)}),
    "flag_changes": lambda n: ((A(n),), {"flag": n % 2 == 0}),
    "none_now_and_then": lambda n: ((A(n), None), {}) if n % 2 else ((A(n), B(n)), {}),
    "by_a_dict": lambda n: ((), dict(zip(("x", "mask"), (A(n), B(n)), strict=True))),
}


def keywords(inputs):
    def build():
        small = Small()

        def step(x, mask=None, scale=2.0, *, bias=None, flag=False):
            y = x * 2 if mask is None else x - mask * 0.5
            y = y if bias is None else y + bias
            return small.train(y - 1 if flag else y, scale)

        return Case(step, None, small.watch, inputs)

    return build


for name, inputs in KEYWORDS.items():
    add(f"calls/keywords_{name}", keywords(inputs))

# --- containers of tensors
Batch = collections.namedtuple("Batch", "x y")
PAIRS = {  # what wraps two tensors, and what gives them back
    "list": (lambda a, b: [a, b], lambda s: (s[0], s[1])),
    "tuple": (lambda a, b: (a, b), lambda s: (s[0], s[1])),
    "dict": (lambda a, b: {"a": a, "b": b}, lambda s: (s["a"], s["b"])),
    "dict_of_lists": (lambda a, b: {"a": [a, 1.0], "b": [b]}, lambda s: (s["a"][0], s["b"][0])),
    "namedtuple": (Batch, lambda s: (s.x, s.y)),
    "namespace": (lambda a, b: types.SimpleNamespace(a=a, b=b), lambda s: (s.a, s.b)),
    "ordered_dict": (lambda a, b: collections.OrderedDict(a=a, b=b), lambda s: (s["a"], s["b"])),
    "nested": (lambda a, b: [{"x": (a, [b])}], lambda s: (s[0]["x"][0], s[0]["x"][1][0])),
}
VARIANTS = {
    "same": lambda given, n: given,
    "order_of_keys": lambda given, n: type(given)(reversed(given.items())) if n % 2 else given,
    "longer": lambda given, n: [*given, *[C(n)] * (n % 3)],
    "list_or_tuple": lambda given, n: tuple(given) if n % 2 else given,
}


def structure(wrap, opened, vary):
    def build():
        small = Small()

        def step(given):
            a, b = opened(given)
            first = next(iter(given)) if isinstance(given, dict) else ""
            more = len(given) + isinstance(given, tuple) if isinstance(given, (list, tuple)) else first == "a"
            return small.train(a - b * b, 0.5 + more)

        return Case(step, None, small.watch, lambda n: (vary(wrap(A(n), B(n)), n),))

    return build


for how, vary in VARIANTS.items():
    for name, (wrap, opened) in PAIRS.items():
        if how == "same" or name in {"order_of_keys": ("dict", "ordered_dict")}.get(how, ("list",)):
            add(f"calls/structure_{name}-{how}", structure(wrap, opened, vary))


# --- arrays: shapes, dtypes, layouts, aliases
def alternating(*choices):
    return lambda n: choices[n % len(choices)](n)


def parted(t, n):
    return (t[:4], t[4:] if n % 2 else t[1:5])


def one(*args, **kwargs):
    """Inputs of one tensor of the given shape and dtype."""
    return lambda n: (tensor(n, *args, **kwargs),)


KEPT = drawn(0)
INTS = np.arange(12).reshape(4, 3)
ARRAYS = {
    "numpy": lambda n: (rv.tensor(drawn(n)),),
    "shapes": alternating(one(), one((2, 3)), one((1, 3))),
    "ranks": alternating(one(), one((3,)), one((2, 2, 3))),
    "no_rows": alternating(one(), one(), one((0, 3))),
    "dtypes": alternating(one(), one(dtype=np.float64)),
    "ints": alternating(
        lambda n: (rv.tensor(INTS + n),), lambda n: (rv.tensor((INTS - n).astype(np.int32)),)
    ),
    "transposed": alternating(one(), lambda n: (tensor(n, (3, 4)).T,)),
    "strided": alternating(one(), lambda n: (tensor(n, (8, 6))[::2, ::2],)),
    "reversed": alternating(one(), lambda n: (rv.from_numpy(drawn(n)[::-1]),)),
    "expanded": alternating(one(), lambda n: (tensor(n, (1, 3)).expand(4, 3),)),
    "same_twice": lambda n: (lambda t: (t, t))(tensor(n)),
    "same_now_and_then": lambda n: (lambda t: (t, t if n % 2 else B(n)))(tensor(n)),
    "view_of_the_other": lambda n: parted(tensor(n, (8, 3)), n),
    "one_object_always": lambda n: (rv.from_numpy(KEPT),),
    "broadcast": lambda n: (A(n), tensor(n, (3,) if n % 2 else (1, 3))),
    "bools": lambda n: (A(n), rv.tensor(drawn(n) > 0)),
    "number_tensor": lambda n: (A(n), rv.tensor(float(n))),
    "new_shapes": lambda n: (tensor(n, (n, 3)),),
    "several": lambda n: tuple(tensor(n + k) for k in range(1 + n % 3)),
}


def arrays(inputs):
    def build():
        small = Small()

        def step(x, *more):
            for other in more:
                x = x - other.float() * other.float() * 0.5
            return small.train(x.float(), 1.5 + len(more))

        return Case(step, None, small.watch, inputs)

    return build


for name, inputs in ARRAYS.items():
    add(f"calls/arrays_{name}", arrays(inputs))

# made | the step, of x or a function of its own | change | inputs of call n
STEPS = table(r"""
byte_order_decides | None | small.train(rv.as_tensor(x), 1.5) | -
  | (rv.from_numpy(drawn(n).astype('<f4' if n % 2 else '=f4')),)
big_endian_decides | None | small.train(rv.as_tensor(x).float(), 1.5) | - | (drawn(n).astype('>f4'),)
numpy_arguments_decides | None | small.train(rv.as_tensor(x), 1.5) | - | (drawn(n),)
numpy_or_tensor_decides | None | small.train(rv.as_tensor(x), 2.0 if isinstance(x, rv.Tensor) else 3.0) | -
  | (tensor(n) if n % 2 else drawn(n),)
length_decides | None | small.train(x, float(len(x) + x.shape[0] * x.ndim)) | - | (tensor(n, (1 + n % 3, 3)),)
shape_and_dtype_decides | None | small.train(x.float(), 2.0 if x.dtype == rv.float64 else float(x.numel()))
  | -
  | (tensor(n, (1 + n % 2, 3), (np.float32, np.float64)[n % 3 == 0]),)
layout_decides | None | small.train(x, 2.0 if x.is_contiguous() else 3.0) | -
  | (tensor(n) if n % 2 else tensor(n, (3, 4)).T,)
strides_decide | None | small.train(x, float(x.stride(0))) | - | (tensor(n, (8, 3))[:: 1 + n % 2][:4],)
leaf_in_each_call | None | (x * x).sum().backward(); return x.grad * 1.0 | -
  | (tensor(n).requires_grad_(),)
tape_decides | None | small.train(x.detach(), 1.5) | - | (tensor(n).requires_grad_(n % 2 == 1),)
attribute_decides | None | small.train(x, getattr(x, 'note', 1.0)) | -
  | (given(tensor(n), **({'note': 2.0} if n % 2 else {})),)
gradient_decides | None | small.train(x, 1.0 if x.grad is None else 2.0) | -
  | (given(tensor(n), grad=rv.ones(4, 3) if n % 2 else None),)
identity_of_arguments_decides | tensor | =lambda x, y: small.train(x, 2.0 if x is y else 3.0) | -
  | (lambda t: (t, t if n % 3 else t.clone()))(tensor(n))
address_of_arguments_decides | tensor
  | =lambda x, y: small.train(x, 2.0 if x.data_ptr() == y.data_ptr() else 3.0) | -
  | (lambda t: (t, t if n % 3 else t.clone()))(tensor(n))
argument_that_is_a_parameter | [nn.Parameter(rv.full((4, 3), k)) for k in (1.0, 2.0)]
  | gradient(o[0], (x * o[0]).sum()) | - | (o[n % 2],)
argument_that_aliases_a_parameter
  | o = nn.Parameter(rv.ones(4, 3)); train = descends(lambda x: (x * o).sum(), optim.SGD([o], lr=0.1))
  | train(x), x * 1.0 | - | (o.detach() if n % 2 else tensor(n),)
argument_that_aliases_a_buffer | rv.zeros(4, 3) | o.add_(1.0); return x * 2.0 | -
  | (o if n % 2 else tensor(n),)
argument_changed_in_place_by_the_caller | tensor(0) | small.train(x, 1.5) | o.mul_(2.0) | (o,)
argument_written_by_the_step | [tensor(k) for k in range(12)] | x.mul_(2.0).sum() | - | (o[n],)
one_of_two_that_share_memory_written_by_the_step | [tensor(k, (5, 3)) for k in range(12)]
  | =lambda x, y: (x.mul_(2.0) * y).sum() | - | (o[n][:4], o[n][1:])
argument_returned | None | x
view_of_an_argument_returned | None | x[:2]
list_of_the_caller_written | [] | =lambda x, found: found.append(1) or x * float(len(found)) | -
  | (tensor(n), o)
list_of_tensors_written_by_the_step | [[tensor(k)] for k in range(12)]
  | =lambda xs: xs.append(xs[0] * 2.0) or xs[0].sum() | - | (o[n],)
star_keywords | None | =lambda **xs: small.train(xs['a'] - xs['b'] * 3, float(len(xs))) | -
  | ((), {'abc'[k]: tensor(n + 10 * k) for k in range(1 + n % 2, -1, -1)})
new_numbers_in_each_call | None | =lambda x, number: small.train(x, number * 0.1) | - | (tensor(n), n)
another_object_of_the_same_kind | None | =lambda x, a: small.train(x, a.value) | -
  | (tensor(n), Plain(1.0 + n % 3))
another_object_in_its_place | None | =lambda x, a: small.train(x, a.f) | -
  | (tensor(n), SimpleNamespace(f=1.0 + n))
object_holding_a_tensor | Plain() | =lambda a: small.train(a.value, 1.5) | - | (given(o, value=tensor(n)),)
model_passed | [nn.Linear(3, 3), nn.Linear(3, 3)] | =lambda x, model: model(x).sum() | o.reverse()
  | (tensor(n), o[0])
model_and_optimizer_passed | o = nn.Linear(3, 3); optimizer = optim.SGD(o.parameters(), lr=0.1)
  | =lambda m, optimizer, x: descends(squares(m), optimizer)(x) | optimizer.param_groups[0]['lr'] = 0.1 * n
  | (o, optimizer, tensor(n))
positional_only_and_keyword_only | None
  | =lambda x, /, scale, *, shift=0.0, **more: small.train(x * scale + shift, len(more) + 1)
  | - | ((tensor(n),), {'shift': float(n % 2), 'scale': 2.0, **({'extra': 1.0} if n % 3 else {})})
several_shapes_and_a_change | Plain(1.0) | small.train(x, o.value) | o.value = new | (tensor(n)[: 1 + n % 2],)
new_modules_in_each_call | None | =lambda x, model: model(x).sum() | - | (tensor(n), nn.Linear(3, 2))
denormals_flushed | rv.full((4, 3), 1e-39) | x * 0.5 | rv.set_flush_denormal(n % 2 == 1) | (o,)
transformed_convolution | nn.Conv2d(32, 32, 3, padding=1) | o(x).detach() | rv.set_winograd(n % 2 == 0)
  | (tensor(n, (2, 32, 28, 28)),)
""")
add_steps("calls", STEPS)
RAISES = table(r"""
wrong_shape_in_between | None | small.train(x, 1.5) | - | (tensor(n, (4, 5 if n in (3, 6) else 3)),)
wrong_number_of_arguments_in_between | None | small.train(x, 1.5) | -
  | default_inputs(n) * (1 + (n in (3, 6)))
wrong_keyword_in_between | None | =lambda x, scale=1.5: small.train(x, scale) | -
  | (default_inputs(n), {'scal' if n in (3, 6) else 'scale': 2.0})
error_of_the_users_in_between | SimpleNamespace(shape=(4, 3), factor=1.0)
  | small.train(x.reshape(o.shape), o.factor) | o.shape = (5, 5) if n == 1 else (4, 3); o.factor = new
""")
add_steps("calls", RAISES, raises=True)
