"""Steps whose numbers come from objects with a state: iterators, files, counters, caches."""

import collections
import datetime
import functools
import io
import itertools
import os
import queue
import random
import tempfile
import time
import types
import uuid

import numpy as np
from program.staleness.judge import add
from program.staleness.small import reading

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
    """A descriptor that returns a new number at each access."""

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
    file = tempfile.TemporaryFile("w+")  # noqa: SIM115
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


# name: makes a function that returns a new number at each call
SOURCES = {
    "generator": lambda: functools.partial(next, forever()),
    "iterator_of_a_list": lambda: functools.partial(next, iter(NUMBERS)),
    "iterator_with_a_default": lambda: functools.partial(next, iter(NUMBERS[:3]), 9.0),
    "cycle": lambda: functools.partial(next, itertools.cycle([1.0, 2.0, 3.0])),
    "count": lambda: functools.partial(next, itertools.count(1.0)),
    "map_object": lambda: functools.partial(next, map(float, range(1, 30))),
    "enumerate_object": lambda: with_own(enumerate(NUMBERS), lambda it: next(it)[1]),
    "zip_object": lambda: with_own(zip(NUMBERS, NUMBERS, strict=True), lambda it: next(it)[1]),
    "for_loop_over_a_generator": lambda: with_own(forever(), lambda it: [v for v, _ in zip(it, "ab")][-1]),  # noqa: B905
    "for_over_an_iterator": lambda: with_own(iter(NUMBERS), lambda it: first(it)),
    "sent_generator": lambda: sent(),
    "own_iterator": lambda: functools.partial(next, Counter()),
    "own_iterator_in_a_loop": lambda: with_own(Counter(), lambda it: first(it)),
    "call_counts": Counter,
    "property_counts": lambda: with_own(Counter(), lambda c: c.value),
    "descriptor_counts": lambda: with_own(type("H", (), {"value": Wheel()})(), lambda c: c.value),
    "len_counts": lambda: with_own(Counter(), lambda c: float(len(c))),
    "getitem_counts": lambda: with_own(Counter(), lambda c: c[0]),
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


def with_own(owned, read):
    return lambda: read(owned)


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
        read = make()
        return reading(read)

    return build


for name, make in SOURCES.items():
    add(f"effects/{name}", changing(make), "either")


# Sources whose numbers differ from run to run: the test is only that no replay uses an old number.
UNREPEATABLE = {
    "time": lambda: time.time() % 1.0,
    "time_ns": lambda: float(time.time_ns() % 10**6),
    "perf_counter": lambda: time.perf_counter() % 1.0,
    "monotonic": lambda: time.monotonic() % 1.0,
    "process_time": lambda: time.process_time_ns() % 10**6 * 1.0,
    "datetime_now": lambda: datetime.datetime.now().microsecond * 1.0,
    "uuid": lambda: float(uuid.uuid4().int % 10**6),
    "urandom": lambda: float(os.urandom(1)[0]),
    "system_random": lambda: random.SystemRandom().random(),
    "unseeded_generator": lambda: float(np.random.default_rng().random()),
}
