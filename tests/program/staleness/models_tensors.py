"""Tensors and NumPy arrays outside modules."""

import types

import numpy as np
import ranvier as rv
from program.staleness.judge import Case, add, scenario
from program.staleness.small import Small, trains
from ranvier import nn

# --- tensors outside modules


def leaf(change, expects="works"):
    def build():
        rv.manual_seed(0)
        leaves = [rv.ones(3).requires_grad_(), rv.full((3,), 0.5).requires_grad_()]

        def step(x):
            for leaf in leaves:
                leaf.grad = None
            loss = (x * leaves[0] * leaves[-1]).sum()
            if any(leaf.requires_grad for leaf in leaves):
                loss.backward()
            return loss

        return Case(step, lambda n: change(leaves, n), lambda: leaves)

    return build


LEAVES = {
    "data_replaced": lambda v, n: setattr(v[0], "data", rv.full((3,), 1.0 + n)),
    "data_multiplied": lambda v, n: v[0].data.mul_(1.0 + n),
    "written_under_no_grad": lambda v, n: rv.no_grad()(lambda: v[0].add_(float(n)))(),
    "no_longer_requires_grad": lambda v, n: v[0].requires_grad_(n % 2 == 0),
    "replaced_in_the_list": lambda v, n: v.__setitem__(0, rv.full((3,), 1.0 + n).requires_grad_()),
    "appended_to_the_list": lambda v, n: v.append(rv.full((3,), 1.0 + n).requires_grad_()),
    "swapped": lambda v, n: v.reverse(),
    "detached_in_place": lambda v, n: v[0].detach_() if n == 1 else v[1].data.mul_(2.0),
    "grad_hook": lambda v, n: v[0].register_hook(lambda g: g * 2),
    "of_another_dtype": lambda v, n: v.__setitem__(
        0, rv.full((3,), 1.0 + n, dtype=rv.float64).requires_grad_()
    ),
    "of_another_shape": lambda v, n: v.__setitem__(0, rv.full((1,), 1.0 + n).requires_grad_()),
    "data_of_another_shape": lambda v, n: setattr(v[0], "data", rv.full((1,), 1.0 + n)),
}
for name, change in LEAVES.items():
    add(f"models/leaf_{name}", leaf(change), "either" if "hook" in name else "works")


def plain_tensor(change):
    """A tensor without gradients that the step closes over."""

    def build():
        small, held = Small(), types.SimpleNamespace(mask=rv.tensor([1.0, 2.0, 3.0]))
        return Case(
            lambda x: small.train(x * held.mask, 1.5), lambda n: change(held, n), [*small.watch, held]
        )

    return build


TENSORS = {
    "written": lambda h, n: h.mask.mul_(2.0),
    "item_written": lambda h, n: h.mask.__setitem__(0, 5.0 + n),
    "replaced": lambda h, n: setattr(h, "mask", rv.full((3,), 1.0 + n)),
    "data_replaced": lambda h, n: setattr(h.mask, "data", rv.full((3,), 1.0 + n)),
    "written_by_numpy": lambda h, n: h.mask.numpy().__imul__(2.0),
    "of_another_shape": lambda h, n: setattr(h, "mask", rv.full((4, 3), 1.0 + n)),
    "of_another_dtype": lambda h, n: setattr(h, "mask", rv.full((3,), 1.0 + n, dtype=rv.float64)),
    "gets_gradients": lambda h, n: h.mask.requires_grad_(n % 2 == 1),
    "view_of_another": lambda h, n: setattr(h, "mask", rv.arange(6.0)[n : n + 3]),
    "resized_by_data": lambda h, n: setattr(h.mask, "data", rv.full((1,), 1.0 + n)),
}
for name, change in TENSORS.items():
    add(f"models/tensor_{name}", plain_tensor(change))


# --- NumPy arrays closed over


def array(use, change, expects="either"):
    def build():
        held = types.SimpleNamespace(a=np.array([1.0, 2.0, 3.0], np.float32))
        return trains(lambda x: (use(x, held.a), 1.5), lambda n: change(held, n))

    return build


ARRAY_USES = {
    "operand": lambda x, a: x * a,
    "tensor_of": lambda x, a: x * rv.tensor(a),
    "from_numpy": lambda x, a: x * rv.from_numpy(a),
    "as_tensor": lambda x, a: x * rv.as_tensor(a),
    "constant": lambda x, a: x * rv.constant(a),
    "view": lambda x, a: x * rv.from_numpy(a[:2][:1]),
    "element": lambda x, a: x * float(a[0]),
    "sum": lambda x, a: x * float(a.sum()),
    "condition": lambda x, a: x if a[0] > 3 else x * 2,
    "length": lambda x, a: x * len(a),
    "index": lambda x, a: x[:, a.astype(np.int64) % 3],
}
ARRAY_CHANGES = {
    "in_place": lambda h, n: h.a.__imul__(2.0),
    "replaced": lambda h, n: setattr(h, "a", np.arange(3, dtype=np.float32) + 10 * n + 1),
    "item": lambda h, n: h.a.__setitem__(0, 4.0 + n),
}
for name, use in ARRAY_USES.items():
    for how, change in ARRAY_CHANGES.items():
        if name == "length":
            change = lambda h, n: setattr(h, "a", np.ones(3 + n, np.float32))  # noqa: E731
            if how != "replaced":
                continue
        add(f"models/array_{name}-{how}", array(use, change), "either")


@scenario("either")
def array_view_changed_through_its_base():
    base = np.arange(6, dtype=np.float32)
    view = base[1:4]
    return trains(lambda x: (x * view, 1.5), lambda n: base.__iadd__(1.0))


@scenario()
def tensor_over_numpy_memory():
    base = np.arange(6, dtype=np.float32)
    mask = rv.from_numpy(base)[1:4]
    return trains(lambda x: (x * mask, 1.5), lambda n: base.__iadd__(1.0))


@scenario()
def parameter_over_numpy_memory():
    base = np.ones(3, np.float32)
    w = nn.Parameter(rv.from_numpy(base))

    def step(x):
        w.grad = None
        loss = (x * w * w).sum()
        loss.backward()
        return loss

    return Case(step, lambda n: base.__iadd__(1.0), [w])
