"""Steps with side effects in Python: counters, lists, text, tensors."""

import copy
import io
import logging
import sys
import types

import numpy as np
import ranvier as rv
from program.staleness.judge import Case, add, scenario
from program.staleness.small import Small, reading

# --- side effects in Python


def leaves(effect):
    """The step's factor does not change; its side effects must be those of eager steps."""

    def build():
        small, kept = (
            Small(),
            types.SimpleNamespace(calls=0, items=[], table={}, text=io.StringIO(), last=None),
        )

        def step(x):
            result = small.train(x, 1.5)
            effect(kept, x, result)
            return result

        return Case(step, None, lambda: [*small.watch, kept, kept.text.getvalue()])

    return build


LEFT = {
    "counter": lambda k, x, r: setattr(k, "calls", k.calls + 1),
    "list_appended": lambda k, x, r: k.items.append(1.0),
    "dict_item": lambda k, x, r: k.table.update(n=len(k.table) + k.calls),
    "dict_grows": lambda k, x, r: k.table.__setitem__(len(k.table), 1),
    "text_written": lambda k, x, r: k.text.write("step\n"),
    "print_to_a_file": lambda k, x, r: print("step", file=k.text),
    "tensor_kept": lambda k, x, r: setattr(k, "last", r[1]),
    "tensor_appended": lambda k, x, r: k.items.append(r[0].detach()),
    "value_kept": lambda k, x, r: setattr(k, "last", r[0].item()),
    "value_appended": lambda k, x, r: k.items.append(float(r[0])),
    "text_of_tensor": lambda k, x, r: k.items.append(str(r[0])),
    "repr_of_tensor": lambda k, x, r: k.items.append(repr(r[0])),
    "format_of_tensor": lambda k, x, r: k.items.append(f"{r[0]}"),
    "format_of_tensor_with_digits": lambda k, x, r: k.items.append(f"{r[0]:.3f}"),
    "percent_of_tensor": lambda k, x, r: k.items.append("%s" % r[0]),  # noqa: UP031
    "shape_kept": lambda k, x, r: k.items.append(tuple(x.shape)),
    "argument_kept": lambda k, x, r: setattr(k, "last", x),
    "argument_view_kept": lambda k, x, r: setattr(k, "last", x[0]),
    "attribute_set_to_a_new_object": lambda k, x, r: setattr(k, "last", [1.0] * len(k.items)),
    "attribute_deleted": lambda k, x, r: vars(k).pop("gone", None),
    "numpy_written": lambda k, x, r: k.items.append(r[0].detach().numpy().copy()),
    "tolist": lambda k, x, r: k.items.append(r[1].tolist()),
    "bool_of_tensor": lambda k, x, r: k.items.append(bool(r[0] > 0)),
    "in_tensor": lambda k, x, r: k.items.append(0.0 in r[1]),
    "iterated_tensor": lambda k, x, r: k.items.append(len([v for v in x])),  # noqa: C416
    "copied_tensor": lambda k, x, r: k.items.append(copy.deepcopy(r[1].detach())),
    "array_of_tensor": lambda k, x, r: k.items.append(np.asarray(r[1].detach()).copy()),
    "comparison_equal": lambda k, x, r: (
        k.items.append(rv.equal(x, x * 1.0)) if hasattr(rv, "equal") else k.items.append(1)
    ),
    "allclose": lambda k, x, r: (
        k.items.append(bool(rv.allclose(x, x * 1.0))) if hasattr(rv, "allclose") else k.items.append(1)
    ),
}
for name, effect in LEFT.items():
    add(f"effects/left-{name}", leaves(effect), "either")


@scenario("either")
def printed_to_the_stream_of_the_time():
    small, stream = Small(), io.StringIO()

    def step(x):
        print("step", file=stream, flush=True)
        return small.train(x, 1.5)

    return Case(step, None, lambda: [*small.watch, stream.getvalue()])


@scenario("either")
def written_to_the_standard_output(patch):
    small, stream = Small(), io.StringIO()
    patch(sys, "stdout", stream)

    def step(x):
        sys.stdout.write("step\n")
        return small.train(x, 1.5)

    return Case(step, None, lambda: [*small.watch, stream.getvalue()])


@scenario("either")
def printed_plainly(patch):
    small, stream = Small(), io.StringIO()
    patch(sys, "stdout", stream)

    def step(x):
        print("step")
        return small.train(x, 1.5)

    return Case(step, None, lambda: [*small.watch, stream.getvalue()])


@scenario("either")
def logged():
    small, records = Small(), []

    class Keeps(logging.Handler):
        def emit(self, record):
            records.append(record.getMessage())

    logger = logging.Logger("staleness")
    logger.addHandler(Keeps())

    def step(x):
        logger.info("step %d", 1)
        return small.train(x, 1.5)

    return Case(step, None, lambda: [*small.watch, records])


@scenario("either")
def logger_level_changed():
    logger = logging.getLogger("ranvier.staleness")
    logger.setLevel(logging.WARNING)
    return reading(
        lambda: 2.0 if logger.isEnabledFor(logging.INFO) else 1.0,
        lambda n: logger.setLevel(logging.INFO if n % 2 else logging.WARNING),
    )
