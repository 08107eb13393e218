"""What a step reads or stores without a name in its code: functions made in C that look names up, stores by
texts, modes, and attributes that hide those of a class. A change must show, captured and in a module that is
replayed by itself."""

import builtins
import collections
import contextlib
import dataclasses
import enum
import functools
import inspect  # noqa: F401  # in rows
import itertools
import logging
import operator
import string
import types

import pytest
import ranvier as rv
from compile.beside import outcome
from ranvier import nn, optim
from ranvier.compile import cache, looked_up
from ranvier.torch.compiler import is_compiling

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("replayed_soon")]


class Plain:
    scale = 2.0

    def __init__(self, **attributes):
        vars(self).update(attributes)

    def get(self):
        return 2.0


class Pair(collections.namedtuple("Pair", "a b")):
    scale = 2.0


class Looks:
    look = staticmethod(getattr)


def world():
    """Objects that a row may name, made anew; o.inner.scale is what most rows read."""
    o = Plain(inner=Plain(scale=2.0))
    p = nn.Parameter(rv.ones(3))
    return {
        **{module.__name__: module for module in (contextlib, functools, itertools, operator, string, types)},
        "o": o, "p": p, "n": nn.Linear(3, 3), "d": {"inner": {"scale": 2.0}}, "pair": Pair(1, 2), "rv": rv,
        "sgd": optim.SGD([p], lr=0.5), "look": object.__getattribute__, "x": rv.ones(3), "Looks": Looks,
        "bound": types.MethodType(getattr, o.inner), "made": staticmethod(getattr), "Pair": Pair, "nn": nn,
        "path": ["inner", "scale"], "held": {"get": getattr}, "taken": functools.partial(getattr, o.inner),
        "reduced": functools.partial(functools.reduce, getattr),
        "bound_too": functools.partial(types.MethodType(getattr, o.inner)),
        "late": functools.partial(lambda by: by, by=2.0),
        "store": nn.Module.__setattr__, "Forward": Forward, "mark": mark,
    }  # fmt: skip


SCALE = "o.inner.scale = 3.0"
# What changes, what is read (the factor of x), by `;`.
READS = f"""
{SCALE} | functools.reduce(getattr, path, o); functools.reduce(getattr, 'inner.scale'.split('.'), o)
{SCALE} | functools.reduce(look, path, o); look(o.inner, ''.join('scale')); made(o.inner, ''.join('scale'))
{SCALE} | functools.reduce(held['get'], path, o); functools.reduce([getattr][0], path, o)
{SCALE} | [*map(getattr, [o.inner], path[1:])][0]; [*map(look, [o.inner], path[1:])][0]
{SCALE} | [*itertools.starmap(getattr, [(o.inner, path[1])])][0]
{SCALE} | [*itertools.accumulate([o, *path], getattr)][-1]; functools.partial(getattr, o.inner)(path[1])
{SCALE} | reduced(path, o); bound_too(path[1])
late.keywords['by'] = 3.0 | late()
{SCALE} | taken(path[1]); bound(path[1]); Looks.look(o.inner, path[1])
{SCALE} | types.MethodType(getattr, o.inner)(path[1]); getattr.__call__(o.inner, path[1])
{SCALE} | operator.attrgetter('.'.join(path))(o); operator.methodcaller('__getattribute__', path[1])(o.inner)
{SCALE} | float(string.Formatter().format('{{0.scale}}', o.inner)); float('{{0.scale}}'.format(o.inner))
{SCALE} | sorted([o.inner], key=lambda i: 0)[0].scale; vars(o.inner)[path[1]]
{SCALE} | o.inner.__getattribute__(path[1])
d['inner']['scale'] = 3.0 | functools.reduce(operator.getitem, path, d)
d['inner']['scale'] = 3.0 | operator.itemgetter(path[1])(d['inner'])
o.inner.get = lambda: 3.0 | o.inner.get()
p.sum = lambda: 9.0 | p.sum()
n.weight.mean = lambda: 9.0 | n.weight.mean()
sgd.state = {{1: 2, 2: 3}} | len(sgd.state)
sgd.state[p] = 'text' | len(sgd.state)
sgd.param_groups = [{{'lr': 3.0}}] | sgd.param_groups[0]['lr']
"""
ROWS = [
    (change, read.strip())
    for row in READS.strip().splitlines()
    for change, reads in [row.split(" | ")]
    for read in reads.split(";")
]


def as_eager(make, change, calls=24):
    """make(): (a step that may be replayed, the same as it is written, arguments)."""
    cache._unpaid.clear()
    fast, slow, args = make()
    with rv.no_grad():
        for _ in range(calls):
            assert outcome(fast, *args) == outcome(slow, *args)
        before = outcome(slow, *args)
        change()
        assert outcome(fast, *args) == outcome(slow, *args) != before


class Forward(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)


def module(read, names):
    """A module whose forward pass has this code."""
    code = f"def forward(self, x):\n    self.linear(x)\n    return x * ({read})"
    exec(code, names)
    return type("Own", (Forward,), {"forward": names["forward"]})()


@pytest.mark.parametrize(("change", "read"), ROWS)
def test_changes_of_what_is_read(change, read):
    names = world()
    step = eval(f"lambda x: x * ({read})", names)
    as_eager(lambda: (rv.compile(step), step, [names["x"]]), lambda: exec(change, names))
    names = world()
    own = module(read, names)
    as_eager(lambda: (own, own.forward, [names["x"]]), lambda: exec(change, names))


@pytest.mark.parametrize(
    ("argument", "change", "read"),
    [
        ("x", "x.sum = lambda: 9.0", "x.sum()"),
        ("pair", "Pair.scale = 3.0", "pair.scale"),
        ("p", "p.sum = lambda: 9.0", "p.sum()"),
        ("o", "o.get = lambda: 9.0", "o.get()"),
        ("sgd", "sgd.state = {1: 2, 2: 3}", "len(sgd.state)"),
    ],
)
def test_an_attribute_of_an_argument_hides_one_of_its_class(argument, change, read, monkeypatch):
    monkeypatch.setattr(Pair, "scale", 2.0)
    names = world()
    step = eval(f"lambda {argument}: rv.ones(3) * ({read})", names)
    as_eager(lambda: (rv.compile(step), step, [names[argument]]), lambda: exec(change, names))


STORES = """
super(Forward, self).__setattr__('called', True); object.__setattr__(self, 'called', True)
nn.Module.__setattr__(self, 'called', True); store(self, 'called', True); self.__setattr__('called', True)
setattr(self, 'called', True); self.__dict__.update(called=True); vars(self)['called'] = True
with contextlib.ExitStack() as stack: stack.callback(setattr, self, 'called', True)
self.apply(lambda m: nn.Module.__setattr__(m, 'called', True)); self.apply(functools.partial(mark, True))
"""


def mark(value, m):
    m.called = value


@pytest.mark.parametrize("store", [s.strip() for s in STORES.replace("\n", ";").split(";") if s.strip()])
@pytest.mark.parametrize("compiled", [False, True])
def test_stores_come_at_each_call(store, compiled):
    names = world()
    exec(f"def forward(self, x):\n    {store}\n    return self.linear(x)", names)
    own = type("Own", (Forward,), {"forward": names["forward"], "called": False})()
    call = rv.compile(own.forward) if compiled else own
    with rv.no_grad():
        for _ in range(24):
            call(names["x"])
        assert own.called
        vars(own)["called"] = False
        call(names["x"])
    assert own.called


def test_texts_stored_into_new_objects_are_captured():
    """As data classes that cannot be changed do."""

    class Output:
        def __init__(self, y):
            super().__setattr__("y", y)

    step = rv.compile(lambda x: Output(x * 2).y, strict=True)
    assert [step(rv.ones(2)).tolist() for _ in range(4)] == 4 * [[2.0, 2.0]]
    assert step.programs


class Config:
    names = {"size": "width"}  # noqa: RUF012

    def __init__(self):
        self.width, self.depth = 2.0, 3.0

    def __getattribute__(self, key):
        names = super().__getattribute__("names")
        return super().__getattribute__(names.get(key, key))


class Mode(enum.Enum):
    FAST = 2.0
    SLOW = 3.0


@dataclasses.dataclass
class Out(collections.OrderedDict):
    y: object = None
    more: object = None

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if self.__dict__.get(field.name) is not None:
                self[field.name] = getattr(self, field.name)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.config, self.kinds, self.held = nn.Linear(3, 3), Config(), {"a", "b"}, {"k": 2.0}
        self.mode = Mode.FAST

    def helper(self, x, scale=2.0):
        return x * scale

    def written(self, x):
        return x * self.__dict__["gain"] if "gain" in self.__dict__ else x


# What forward reads by a name made at run time, or in Python's own objects; what changes it.
CAPTURED = """
x * getattr(self.config, "wi" + "dth") | self.config.width = 4.0
x * getattr(self.config, f"si{'ze'}") | self.config.width = 4.0
x * self.config.size | self.config.width = 4.0
x * self.config.size | Config.names["size"] = "depth"
x * self.config.size | self.config.names = {"size": "depth"}
x * getattr(self.config, "late" + "r", 5.0) | self.config.later = 6.0
x * (2.0 if hasattr(self.config, "la" + "ter") else 3.0) | self.config.later = 6.0
x * (2.0 if hasattr(self, "la" + "ter") else 3.0) | self.later = 6.0
x * functools.reduce(getattr, ["config", "wid" + "th"], self) | self.config.width = 4.0
x * (2.0 if "c" in self.kinds else 3.0) | self.kinds.add("c")
x * len(self.kinds) | self.kinds = {"a"}
x * getattr(self, "he" + "ld")["k"] | self.held["k"] = 4.0
x * Mode.FAST.value * self.mode.value | self.mode = Mode.SLOW
x * (2.0 if self.mode is Mode.FAST else 3.0) | self.mode = Mode.SLOW
x * Mode["FAST"].value | monkeypatch.setitem(Mode._member_map_, "FAST", Mode.SLOW)
x * Mode(2.0).value | monkeypatch.setitem(Mode._value2member_map_, 2.0, Mode.SLOW)
self.written(x) | self.gain = 3.0
x * len(inspect.signature(self.helper).parameters) | Layer.helper = lambda self, x: x
x * self.helper.__func__.__code__.co_argcount | Layer.helper = lambda self, x: x
Out(y=x * 2.0, more=self.held["k"]) | self.held["k"] = 4.0
Out(y=x * 2.0) | Out.__post_init__ = lambda self: None
x * (2.0 if log.disabled else 3.0) | log.disabled = True
"""


@pytest.mark.parametrize("row", CAPTURED.strip().splitlines())
def test_names_made_at_run_time_are_captured(row, monkeypatch):
    read, change = row.split(" | ")
    log = logging.getLogger("test_unnamed_reads")
    monkeypatch.setattr(log, "disabled", False)
    monkeypatch.setattr(Config, "names", dict(Config.names))
    for owner, name in ((Layer, "helper"), (Out, "__post_init__")):
        monkeypatch.setattr(owner, name, vars(owner)[name])
    names = {**globals(), "log": log, "monkeypatch": monkeypatch}
    exec(f"def forward(self, x):\n    x = self.linear(x)\n    return {read}", names)
    monkeypatch.setattr(Layer, "forward", names["forward"], raising=False)
    model, x = Layer().eval(), rv.ones(2, 3)
    fast, before = rv.compile(model, strict=True), None
    for call in range(12):
        if call == 6:
            exec(change, {**names, "self": model})
            assert outcome(model, x) != before
        before = outcome(model, x)
        assert outcome(fast, x) == before
    assert fast.programs
    assert all(getattr(builtins, n) is made for n, made in looked_up._made.items())


def test_the_program_is_told_that_it_is_compiled():
    step = rv.compile(lambda x: x * (3.0 if is_compiling() else 2.0), strict=True)
    assert [step(rv.ones(1)).item() for _ in range(5)] == 5 * [3.0]
    assert not is_compiling()


def test_inference_mode():
    linear, x = nn.Linear(3, 3), rv.ones(3)
    steps = {
        "the mode": lambda x: x * (2.0 if rv.is_inference_mode_enabled() else 3.0),
        "the tensor": lambda x: x * (2.0 if x.is_inference() else 3.0),
        "made inside": rv.inference_mode()(lambda x: (linear(x), 1.0)),
        "one made inside": rv.inference_mode()(linear.forward),
        "as around": lambda x: x * 2.0,
    }
    with rv.inference_mode():
        other = x.clone()
    for name, step in steps.items():
        own = type("Own", (Forward,), {"forward": lambda self, x, step=step: step(x)})()
        for fast in (rv.compile(step), own):
            for block in (rv.no_grad, rv.inference_mode, rv.no_grad):
                with block():
                    for given in 20 * [x] + [other, x]:
                        (found, *_), (expected, *_) = (
                            y if isinstance(y, tuple) else (y,) for y in (fast(given), step(given))
                        )
                        assert (found == expected).all(), name
                        assert found._cell[2] == expected._cell[2], name
