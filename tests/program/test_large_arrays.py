"""Large NumPy arrays beside a compiled step: refused only where the step reads their elements."""

import collections
import functools
import operator
import sys
import threading
import time
import types
import warnings

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn

LARGE = np.ones((600, 600), np.float32)
LARGE[0, 0] = 2
X = np.ones((4, 3), np.float32)
CONFIG = {"data": LARGE, "scale": 2.0, "parts": [LARGE, 3.0]}
MODEL = nn.Linear(3, 2)
OPTIMIZER = rv.optim.SGD(MODEL.parameters(), lr=0.1)


def train(x):
    OPTIMIZER.zero_grad()
    loss = (MODEL(x) ** 2).mean()
    loss.backward()
    OPTIMIZER.step()
    return loss


class Learner:
    def __init__(self):
        self.data, self.shape = LARGE, "no array"

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return self.data[index]

    @property
    def first(self):
        return self.data[0, 0]

    @property
    def all_of_it(self):
        return self.data

    def step(self, x):
        return train(x.data)  # a Tensor's, but the name is the learner's, too

    def step_with_schedule(self, x):
        if hasattr(self, "schedule"):
            self.schedule.step()
        return train(x)


LEARNER = Learner()
MODULE = types.ModuleType("staleness_of_large_arrays")
MODULE.__file__, MODULE.data, MODULE.scale = __file__, LARGE, 2.0


def not_this_branch(x):
    return 2.0 * (LARGE[:4, :3] if x is None else x)


def looks_for_none(x):
    return x * (1.0 if LARGE is None else 2.0)


def made_lists(x):
    return x * sum([part * 2 for part in (1.0, 2.0, CONFIG["scale"])]) * len(LARGE)


NOT_READ = {
    "length": lambda x: train(x) / len(LARGE),
    "shape": lambda x: x / LARGE.shape[0],
    "size and dtype": lambda x: x / (LARGE.size if LARGE.dtype == np.float32 else LARGE.ndim),
    "another item": lambda x: x * CONFIG["scale"],
    "another item by get": lambda x: x * CONFIG.get("scale"),
    "another item of a list": lambda x: x * CONFIG["parts"][1],
    "attribute of the same name": LEARNER.step,
    "names looked up": LEARNER.step_with_schedule,
    "length of an object": lambda x: x / len(LEARNER),
    "shape by a property": lambda x: x / LEARNER.all_of_it.shape[1],
    "module": lambda x: x * MODULE.scale,
    "module, looked up": lambda x: x * getattr(MODULE, "scale"),  # noqa: B009
    "another branch": not_this_branch,
    "compared with None": looks_for_none,
    "lists": made_lists,
}


def passed(array):
    return float(array.sum())


def passed_on(config):
    return float(config["data"][0, 0])


def summed(arrays):
    return sum(arrays)


READ = {
    "element": lambda x: train(x) * LARGE[0, 0],
    "element of an item": lambda x: x * CONFIG["data"][0, 0],
    "method": lambda x: x * LARGE.mean(),
    "function of NumPy": lambda x: x * np.mean(LARGE),
    "arithmetic": lambda x: x * float((LARGE + 1)[0, 0]),
    "passed": lambda x: x * passed(LARGE),
    "passed in a dict": lambda x: x * passed_on(CONFIG),
    "got by get": lambda x: x * CONFIG.get("data")[0, 0],
    "object's item": lambda x: x * LEARNER[0, 0],
    "property": lambda x: x * LEARNER.first,
    "property, then an element": lambda x: x * LEARNER.all_of_it[0, 0],
    "loop": lambda x: x * float(next(part for part in CONFIG["parts"] if len([part]))[0, 0]),
    "unpacked": lambda x: sum(x * a[0, 0] * b for a, b in [CONFIG["parts"]]),
    "values of a dict": lambda x: x * float(tuple(CONFIG.values())[:1][0][0, 0]),
    "sum of a list in C": lambda x: x * float(summed([1.0, 0.0]) + sum(CONFIG["parts"])[0, 0]),
    "concatenated": lambda x: x * float(np.concatenate(CONFIG["parts"][:1])[0, 0]),
    "mapped": lambda x: x * next(map(np.max, CONFIG["parts"])),
    "attrgetter": lambda x: x * operator.attrgetter("data")(LEARNER)[0, 0],
    "partial": functools.partial(lambda array, x: x * array[0, 0], LARGE),
    "bound method": lambda x, mean=LARGE.mean: x * mean(),
    "vars": lambda x: x * vars(LEARNER)["data"][0, 0],
    "getattr": lambda x: x * getattr(LEARNER, "da" + "ta")[0, 0],
    "truth of a slice": lambda x: x * (2.0 if LARGE[0, 0] > 1 else 1.0),
    "in": lambda x: x * (2.0 if 2.0 in LARGE else 1.0),
    "text": lambda x: x * len(f"{LARGE}"),
    "op": lambda x: x + (rv.ones(600) * LARGE).sum(),
    "keyword": lambda x: x * np.max(a=LARGE),
    "star": lambda x: x * np.max(*[LARGE]),
    "memory": lambda x: x * memoryview(LARGE)[0, 0],
    "iterated": lambda x: x * next(iter(LARGE))[0],
    "format": lambda x: x * len("{}".format(LARGE)),  # noqa: UP032
    "reduced in C": lambda x: x * functools.reduce(operator.mul, CONFIG["parts"])[0, 0],
    "copied dict": lambda x: x * dict(CONFIG)["data"][0, 0],
    "merged dict": lambda x: x * {**CONFIG}["data"][0, 0],
    "star of a list": lambda x: x * passed(*CONFIG["parts"][:1]),
    "keywords of a dict": lambda x: x * (lambda data, scale, parts: data[0, 0])(**CONFIG),
    "zipped": lambda x: x * next(zip(CONFIG["parts"], [1], strict=False))[0][0, 0],
    "slice of a list": lambda x: x * CONFIG["parts"][0:1][0][0, 0],
    "added lists": lambda x: x * (CONFIG["parts"] + [1.0])[0][0, 0],
    "walrus": lambda x: x * ((array := LARGE)[0, 0] + array[0, 1]),
    "largest of a list": lambda x: x * max(CONFIG["parts"], key=np.max)[0, 0],
    "named tuple": lambda x: x * PAIR.data[0, 0],
    "named tuple, unpacked": lambda x: x * unpacked(PAIR),
    "default": lambda x, array=LARGE: x * array[0, 0],
    "matched": lambda x: x * matched(),
    "augmented": lambda x: x * augmented(),
    "slot": lambda x: x * SLOTTED.data[0, 0],
    "stored elsewhere": lambda x: x * stored(),
    "raised": lambda x: x * raised(),
}


class Slotted:
    __slots__ = ("data",)


Pair = collections.namedtuple("Pair", "data scale")
PAIR, SLOTTED = Pair(LARGE, 2.0), Slotted()
SLOTTED.data = LARGE


def unpacked(pair):
    data, scale = pair
    return data[0, 0] * scale


def matched():
    match CONFIG:
        case {"data": data}:
            return data[0, 0]
    return 1.0


def augmented():
    total = 1.0
    total += LARGE
    return total[0, 0]


def stored():
    here = types.SimpleNamespace()
    here.array = LARGE
    return here.array[0, 0]


def raised():
    try:
        raise ValueError(LARGE)
    except ValueError as error:
        return error.args[0][0, 0]


@pytest.mark.parametrize("name", NOT_READ)
def test_arrays_that_are_not_read(name):
    step = rv.compile(NOT_READ[name])
    for number in range(5):  # recorded, checked at calls 2 and 4, replayed
        LARGE[5, 5] = number
        step(X)
    assert len(step.programs) == 1
    assert step._latest is not None  # replays


@pytest.mark.parametrize("name", READ)
def test_arrays_that_are_read(name):
    step = rv.compile(READ[name])
    step(X)  # this call finds the array
    with pytest.raises(rv.CaptureError, match="make it a Tensor outside the step"):
        step(X)
    assert not step.programs


@pytest.mark.parametrize("change", ["rebound", "reshaped"])
def test_another_form(change, monkeypatch):
    owner = types.SimpleNamespace(data=np.ones((600, 600), np.float32))
    step = rv.compile(lambda x: x * len(owner.data))
    assert [step(X)[0, 0].item() for _ in range(5)] == [600.0] * 5
    if change == "rebound":
        owner.data = np.ones((900, 600), np.float32)
    else:
        owner.data.shape = (900, 400)
    assert [step(X)[0, 0].item() for _ in range(5)] == [900.0] * 5


def test_a_step_that_reads_later():
    owner = types.SimpleNamespace(data=np.ones((600, 600), np.float32), reads=False)
    step = rv.compile(lambda x: x * (owner.data[0, 0] if owner.reads else 2.0))
    assert [step(X)[0, 0].item() for _ in range(6)] == [2.0] * 6
    owner.reads = True
    assert step(X)[0, 0].item() == 1.0
    with pytest.raises(rv.CaptureError, match="make it a Tensor outside the step"):
        step(X)


def test_a_debugger_sees_the_step_and_the_array_counts_as_read():
    seen = []

    def trace(frame, event, arg):
        seen.append(event)

    step = rv.compile(NOT_READ["length"])
    step(X)
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with pytest.raises(rv.CaptureError, match="make it a Tensor"):
            step(X)
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)
    assert seen


def test_the_remedy():
    tensor = rv.tensor(LARGE)
    step = rv.compile(lambda i: tensor[i].sum())
    for number in range(6):
        tensor.data[0, 0] = number
        assert step(np.array([0])).item() == tensor[0].sum().item()


def test_another_thread_that_loads_the_array():
    running = True

    def load():
        while running:
            LARGE.sum()
            time.sleep(0.001)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        step = rv.compile(NOT_READ["length"])
        for _ in range(12):
            step(X)
    finally:
        running = False
        thread.join()
    assert len(step.programs) == 1


def fitted(compiled):
    rv.manual_seed(0)
    model, error = nn.Linear(3, 2), nn.MSELoss()

    def loss(output, target):
        return error(output, target) + (model.weight**2).sum() / len(LARGE)

    trainer = rv.Trainer(model, loss, rv.optim.SGD(model.parameters(), lr=0.1), compile=compiled)
    x = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.fit(x, np.zeros((8, 2), np.float32), epochs=5, batch_size=4)
    return model.weight.tolist()


def test_a_fit_beside_large_arrays():
    """A loss with the length of the data, as variational networks have it."""
    assert fitted(True) == fitted(False)
