"""Steps that do something besides computing: state of their own, input and output, counters, caches."""

from __future__ import annotations

import collections
import copy
import datetime
import functools
import gc
import io
import itertools
import json
import logging
import math
import os
import queue
import random
import sys
import tempfile
import threading
import time
import types
import uuid
from pathlib import Path

import numpy as np
import ranvier as rv
from program.staleness.judge import Case, add, scenario
from program.staleness.small import Small
from ranvier import nn

NUMBERS = [1.0, 2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0, 23.0, 29.0, 31.0, 37.0, 41.0, 43.0, 47.0]


def forever():
    while True:
        yield from NUMBERS


class Counter:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        return float(self.calls)

    @property
    def value(self):
        self.calls += 1
        return float(self.calls)

    def __iter__(self):
        return self

    def __next__(self):
        self.calls += 1
        return float(self.calls)

    def __len__(self):
        self.calls += 1
        return self.calls

    def __getitem__(self, i):
        self.calls += 1
        return float(self.calls)


class Wheel:
    """Gives another number each time, through a descriptor."""

    def __init__(self):
        self.calls = 0

    def __get__(self, owner, kind=None):
        self.calls += 1
        return float(self.calls)


def counting_cell():
    calls = 0

    def count():
        nonlocal calls
        calls += 1
        return float(calls)

    return count


GLOBAL_CALLS = 0


def counting_global():
    global GLOBAL_CALLS
    GLOBAL_CALLS = 0

    def count():
        global GLOBAL_CALLS
        GLOBAL_CALLS += 1
        return float(GLOBAL_CALLS)

    return count


def counting_default():
    def count(calls=[0]):  # noqa: B006
        calls[0] += 1
        return float(calls[0])

    return count


def counting_attribute():
    def count():
        count.calls += 1
        return float(count.calls)

    count.calls = 0
    return count


def counting_class():
    class Holder:
        calls = 0

    def count():
        Holder.calls += 1
        return float(Holder.calls)

    return count


def popping():
    values = list(NUMBERS)
    return lambda: values.pop()


def appending():
    values = []

    def grow():
        values.append(1.0)
        return float(len(values))

    return grow


def updating_dict():
    table = {}

    def grow():
        table[len(table)] = 1
        return float(len(table))

    return grow


def updating_set():
    seen = set()

    def grow():
        seen.add(len(seen))
        return float(len(seen))

    return grow


def rotating():
    values = collections.deque(NUMBERS)

    def turn():
        values.rotate(1)
        return values[0]

    return turn


def queued():
    values = queue.SimpleQueue()
    for number in NUMBERS:
        values.put(number)
    return values.get


def file_lines():
    file = tempfile.TemporaryFile("w+")
    file.write("\n".join(map(str, NUMBERS)))
    file.seek(0)
    return lambda: float(file.readline())


def text_stream():
    stream = io.StringIO("\n".join(map(str, NUMBERS)))
    return lambda: float(stream.readline())


def numpy_generator():
    rng = np.random.default_rng(0)
    return lambda: float(rng.random())


def numpy_generator_normal():
    rng = np.random.default_rng(0)
    return lambda: float(rng.standard_normal())


def python_random():
    rng = random.Random(0)
    return rng.random


def changed_array():
    array = np.zeros(1)

    def grow():
        array[0] += 1
        return float(array[0])

    return grow


def counter_class():
    counts = collections.Counter()

    def count():
        counts["calls"] += 1
        return float(counts["calls"])

    return count


def cached_growing():
    values = []

    @functools.lru_cache(maxsize=1)
    def cached(key):
        values.append(key)
        return float(len(values))

    keys = itertools.cycle([1, 2])
    return lambda: cached(next(keys))


def first_time_only():
    state = {}

    def read():
        if "value" not in state:
            state["value"] = 3.0
            return 2.0
        return state["value"]

    return read


def every_other():
    state = {"flag": False}

    def read():
        state["flag"] = not state["flag"]
        return 2.0 if state["flag"] else 3.0

    return read


def every_fifth():
    count = counting_cell()
    return lambda: 2.0 if count() % 5 == 0 else 3.0


def setting_a_value_back():
    state = types.SimpleNamespace(value=0.0)

    def read():
        state.value += 1.0
        found = state.value
        return found

    return read


# name: makes a function that gives another number from call to call
SOURCES = {
    "generator": lambda: functools.partial(next, forever()),
    "iterator_of_a_list": lambda: functools.partial(next, iter(NUMBERS)),
    "iterator_with_a_default": lambda: functools.partial(next, iter(NUMBERS[:3]), 9.0),
    "cycle": lambda: functools.partial(next, itertools.cycle([1.0, 2.0, 3.0])),
    "count": lambda: functools.partial(next, itertools.count(1.0)),
    "map_object": lambda: functools.partial(next, map(float, range(1, 30))),
    "enumerate_object": lambda: lambda it=enumerate(NUMBERS): next(it)[1],
    "zip_object": lambda: lambda it=zip(NUMBERS, NUMBERS, strict=True): next(it)[1],
    "for_loop_over_a_generator": lambda: lambda it=forever(): [v for v, _ in zip(it, "ab")][-1],  # noqa: B905
    "for_over_an_iterator": lambda: lambda it=iter(NUMBERS): first(it),
    "sent_generator": lambda: sent(),
    "own_iterator": lambda: functools.partial(next, Counter()),
    "own_iterator_in_a_loop": lambda: lambda it=Counter(): first(it),
    "call_counts": Counter,
    "property_counts": lambda: lambda c=Counter(): c.value,
    "descriptor_counts": lambda: lambda c=type("H", (), {"value": Wheel()})(): c.value,
    "len_counts": lambda: lambda c=Counter(): float(len(c)),
    "getitem_counts": lambda: lambda c=Counter(): c[0],
    "cell_counts": counting_cell,
    "global_counts": counting_global,
    "default_counts": counting_default,
    "function_attribute_counts": counting_attribute,
    "class_attribute_counts": counting_class,
    "counter_counts": counter_class,
    "list_pop": popping,
    "list_append": appending,
    "dict_grows": updating_dict,
    "set_grows": updating_set,
    "deque_rotates": rotating,
    "queue": queued,
    "file": file_lines,
    "text_stream": text_stream,
    "random": lambda: random.random,
    "random_choice": lambda: lambda: random.choice(NUMBERS),
    "random_gauss": lambda: lambda: random.gauss(0, 1),
    "random_object": python_random,
    "numpy_random": lambda: lambda: float(np.random.rand()),  # noqa: NPY002
    "numpy_generator": numpy_generator,
    "numpy_generator_normal": numpy_generator_normal,
    "array_changed": changed_array,
    "cache": cached_growing,
    "first_time_only": first_time_only,
    "every_other_call": every_other,
    "every_fifth_call": every_fifth,
    "attribute_grows": setting_a_value_back,
}


def first(iterator):
    for value in iterator:
        return value
    return 0.0


def sent():
    def body():
        total = 0.0
        while True:
            total += yield total

    made = body()
    next(made)
    return lambda: made.send(1.0)


def changing(make):
    def build():
        small, read = Small(), make()

        def step(x):
            return small.train(x, read())

        return Case(step, None, small.watch)

    return build


for name, make in SOURCES.items():
    add(f"effects/{name}", changing(make), "either")


# Sources whose numbers differ from run to run: only that no replay goes on with an old one can be tested.
UNREPEATABLE = {
    "time": time.time,
    "time_ns": lambda: float(time.time_ns() % 10**6),
    "perf_counter": time.perf_counter,
    "monotonic": time.monotonic,
    "process_time": lambda: time.process_time_ns() % 10**6 * 1.0,
    "datetime_now": lambda: datetime.datetime.now().microsecond * 1.0,
    "uuid": lambda: float(uuid.uuid4().int % 10**6),
    "urandom": lambda: float(os.urandom(1)[0]),
    "system_random": lambda: random.SystemRandom().random(),
    "unseeded_generator": lambda: float(np.random.default_rng().random()),
}


# --- what is left behind in Python


def leaves(effect):
    """The step's factor does not change; what it leaves behind in Python is to be as after eager steps."""

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
    "comparison_equal": lambda k, x, r: k.items.append(rv.equal(x, x * 1.0)) if hasattr(rv, "equal") else k.items.append(1),
    "allclose": lambda k, x, r: k.items.append(bool(rv.allclose(x, x * 1.0))) if hasattr(rv, "allclose") else k.items.append(1),
}  # fmt: skip
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
    small, logger = Small(), logging.getLogger("ranvier.staleness")
    logger.setLevel(logging.WARNING)

    def step(x):
        return small.train(x, 2.0 if logger.isEnabledFor(logging.INFO) else 1.0)

    return Case(step, lambda n: logger.setLevel(logging.INFO if n % 2 else logging.WARNING), small.watch)


@scenario("either")
def file_exists():
    small, path = Small(), Path(tempfile.mkdtemp()) / "flag"

    def step(x):
        return small.train(x, 2.0 if path.exists() else 1.0)

    return Case(step, lambda n: path.touch() if n % 2 else path.unlink(), small.watch)


@scenario("either")
def file_read():
    small, path = Small(), Path(tempfile.mkdtemp()) / "value"
    path.write_text("1.5")

    def step(x):
        return small.train(x, float(path.read_text()))

    return Case(step, lambda n: path.write_text(str(1.5 + n)), small.watch)


@scenario("either")
def json_file_read():
    small, path = Small(), Path(tempfile.mkdtemp()) / "value.json"
    path.write_text("[1.5]")

    def step(x):
        with open(path) as file:
            return small.train(x, json.load(file)[0])

    return Case(step, lambda n: path.write_text(f"[{1.5 + n}]"), small.watch)


@scenario()
def json_text_read():
    small, state = Small(), types.SimpleNamespace(text="[1.5]")

    def step(x):
        return small.train(x, json.loads(state.text)[0])

    return Case(step, lambda n: setattr(state, "text", f"[{1.5 + n}]"), small.watch)


@scenario("either")
def working_directory():
    small, here = Small(), os.getcwd()
    folders = [here, "/", tempfile.gettempdir(), "/"]

    def step(x):
        return small.train(x, float(len(os.getcwd())))

    def change(n):
        os.chdir(folders[n])

    def back(n, result):
        if n == 11:
            os.chdir(here)

    return Case(step, change, small.watch, each=back)


@scenario("either")
def program_arguments(patch):
    small = Small()
    patch(sys, "argv", ["a"])

    def step(x):
        return small.train(x, float(len(sys.argv)))

    return Case(step, lambda n: sys.argv.append("b"), small.watch)


@scenario("either")
def recursion_limit():
    small, before = Small(), sys.getrecursionlimit()

    def step(x):
        return small.train(x, sys.getrecursionlimit() / before)

    def back(n, result):
        if n == 11:
            sys.setrecursionlimit(before)

    return Case(step, lambda n: sys.setrecursionlimit(before + 1000 * n), small.watch, each=back)


@scenario("either")
def reference_count():
    small, held, more = Small(), types.SimpleNamespace(), []

    def step(x):
        return small.train(x, float(sys.getrefcount(held) > 40) + 1.0)

    return Case(step, lambda n: more.extend([held] * 50), small.watch)


@scenario("either")
def thread_name():
    small = Small()
    thread = threading.current_thread()
    before = thread.name

    def step(x):
        return small.train(x, float(len(threading.current_thread().name)))

    def back(n, result):
        if n == 11:
            thread.name = before

    return Case(step, lambda n: setattr(thread, "name", "x" * (30 + n)), small.watch, each=back)


@scenario("either")
def garbage_collector_flag():
    small = Small()

    def step(x):
        return small.train(x, 2.0 if gc.isenabled() else 1.0)

    def back(n, result):
        if n == 11:
            gc.enable()

    return Case(step, lambda n: gc.disable() if n % 2 else gc.enable(), small.watch, each=back)


@scenario("either")
def exception_in_some_calls():
    small, state = Small(), types.SimpleNamespace(broken=False)

    def step(x):
        if state.broken:
            raise ValueError("broken")
        return small.train(x, 1.5)

    return Case(step, lambda n: setattr(state, "broken", n % 2 == 1), small.watch, raises=True)


@scenario("either")
def assertion_in_some_calls():
    small, state = Small(), types.SimpleNamespace(limit=5)

    def step(x):
        if state.limit <= 3:
            raise RuntimeError("too small")
        return small.train(x, 1.5)

    return Case(step, lambda n: setattr(state, "limit", 5 - 2 * n), small.watch, raises=True)


@scenario("either")
def value_decides():
    small = Small()

    def step(x):
        return small.train(x, 2.0 if x.sum() > 0 else 3.0)

    return Case(step, None, small.watch)


@scenario("either")
def loss_value_decides():
    small = Small()

    def step(x):
        loss, y = small.train(x, 1.0)
        if loss.item() > 1:
            y = y * 2
        return y

    return Case(step, None, small.watch)


@scenario("either")
def text_of_a_value_decides():
    small = Small()

    def step(x):
        return small.train(x, float(len(str(x))))

    return Case(step, None, small.watch)


@scenario("either")
def text_of_a_parameter_decides():
    small = Small()

    def step(x):
        return small.train(x, 2.0 if "-" in repr(small.w) else 3.0)

    return Case(step, lambda n: small.w.data.copy_(rv.full((3,), float((-1) ** n))), small.watch)


@scenario("either")
def format_of_a_mean_decides():
    small = Small()

    def step(x):
        return small.train(x, float(f"{x.mean()}".strip("tensor()") or 0))

    return Case(step, None, small.watch)


@scenario("either")
def memory_statistics():
    small = Small()

    def step(x):
        return small.train(x, 2.0 if rv.memory_stats() else 1.0)

    return Case(step, None, small.watch)


@scenario()
def moving_average_in_a_tensor():
    small, average = Small(), rv.zeros(3)

    def step(x):
        with rv.no_grad():
            average.mul_(0.9).add_(x.mean(0) * 0.1)
        return small.train(x - average, 1.5)

    return Case(step, lambda n: average.zero_(), [*small.watch, average])


@scenario("either")
def moving_average_in_an_attribute():
    small, state = Small(), types.SimpleNamespace(average=rv.zeros(3))

    def step(x):
        state.average = state.average * 0.9 + x.mean(0).detach() * 0.1
        return small.train(x - state.average, 1.5)

    return Case(step, None, [*small.watch, state])


@scenario("either")
def hidden_state_kept():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)
            self.hidden = None

        def forward(self, x):
            y = self.layer(x)
            if self.hidden is not None:
                y = y + self.hidden
            self.hidden = y.detach()
            return y

    net = Net()
    return Case(lambda x: net(x).sum(), None, net)


@scenario("either")
def module_that_counts():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.calls = nn.Linear(3, 3), 0

        def forward(self, x):
            self.calls += 1
            return self.layer(x) * (2.0 if self.calls > 5 else 1.0)

    net = Net()
    return Case(lambda x: net(x).sum(), None, net)


@scenario("either")
def module_that_only_counts():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.calls = nn.Linear(3, 3), 0

        def forward(self, x):
            self.calls += 1
            return self.layer(x)

    net = Net()
    return Case(lambda x: net(x).sum(), None, lambda: [net, net.calls])


@scenario("either")
def layer_made_at_the_first_call():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = None

        def forward(self, x):
            if self.layer is None:
                rv.manual_seed(3)
                self.layer = nn.Linear(3, 3)
            return self.layer(x)

    net = Net()
    return Case(lambda x: net(x).sum(), None, net)


@scenario()
def lists_made_in_the_step():
    small = Small()

    def step(x):
        parts = []
        for k in range(3):
            parts.append(x * float(k))
        total = {}
        for k, part in enumerate(parts):
            total[k] = part
        return small.train(sum(total.values()), math.sqrt(2.0))

    return Case(step, None, small.watch)


@scenario()
def random_numbers_of_the_library():
    small = Small()

    def step(x):
        return small.train(x + rv.randn(4, 3) * 0.1, 1.5)

    return Case(step, lambda n: rv.manual_seed(n), small.watch)


@scenario("either")
def random_integers_of_the_library():
    small = Small()

    def step(x):
        return small.train(x[rv.randperm(4)], 1.5)

    return Case(step, None, small.watch)


@scenario("either")
def seeded_inside_the_step():
    small = Small()

    def step(x):
        rv.manual_seed(3)
        return small.train(x + rv.randn(4, 3) * 0.1, 1.5)

    return Case(step, None, small.watch)
