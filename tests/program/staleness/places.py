"""Values that a step reads from everywhere that Python keeps values: each place with several kinds of values."""

from __future__ import annotations

import builtins
import collections
import contextvars
import copy
import dataclasses
import enum
import functools
import operator
import os
import sys
import threading
import types

from program.staleness.judge import Case, add
from program.staleness.small import Small

GLOBAL = None
PLACES = {}


def place(expects="works", kinds="all"):
    def take(function):
        PLACES[function.__name__] = function, expects, kinds
        return function

    return take


# A place is a function of (a first value, patch): it returns (read, write).


@place()
def global_name(v, patch):
    patch(sys.modules[__name__], "GLOBAL", v)
    return lambda: GLOBAL, lambda new: setattr(sys.modules[__name__], "GLOBAL", new)


@place()
def closure_cell(v, patch):
    def write(new):
        nonlocal v
        v = new

    return lambda: v, write


@place()
def cell_of_a_cell(v, patch):
    def outer():
        def inner():
            return v

        return inner()

    def write(new):
        nonlocal v
        v = new

    return outer, write


@place()
def default(v, patch):
    def read(v=v):
        return v

    def write(new):
        read.__defaults__ = (new,)

    return read, write


@place()
def keyword_default(v, patch):
    def read(*, v=v):
        return v

    return read, lambda new: read.__kwdefaults__.update(v=new)


@place()
def module_attribute(v, patch):
    config = types.ModuleType("config")
    config.value = v
    return lambda: config.value, lambda new: setattr(config, "value", new)


@place()
def imported_inside(v, patch):
    config = types.ModuleType("staleness_config")
    config.value = v
    patch.item(sys.modules, "staleness_config", config)

    def read():
        import staleness_config

        return staleness_config.value

    return read, lambda new: setattr(config, "value", new)


@place()
def imported_from_inside(v, patch):
    config = types.ModuleType("staleness_config")
    config.value = v
    patch.item(sys.modules, "staleness_config", config)

    def read():
        from staleness_config import value

        return value

    return read, lambda new: setattr(config, "value", new)


@place("either")
def module_getattr(v, patch):
    config, values = types.ModuleType("config"), {"value": v}
    config.__getattr__ = lambda name: values[name]
    return lambda: config.value, lambda new: values.update(value=new)


class Plain:
    value = None

    def __init__(self, value=None):
        self.value = value


def deep(depth):
    def make(v, patch):
        top = Plain()
        last = top
        for _ in range(depth - 1):
            last.value = Plain()
            last = last.value
        last.value = v
        reads = {
            1: lambda: top.value,
            2: lambda: top.value.value,
            3: lambda: top.value.value.value,
            4: lambda: top.value.value.value.value,
        }
        return reads[depth], lambda new: setattr(last, "value", new)

    return make


for depth in (1, 2, 3, 4):
    PLACES[f"attribute_depth_{depth}"] = deep(depth), "works", "all" if depth == 1 else "some"


@place(kinds="some")
def attribute_of_a_replaced_object(v, patch):
    top = Plain(Plain(v))
    return lambda: top.value.value, lambda new: setattr(top, "value", Plain(new))


@place(kinds="some")
def method_reads_self(v, patch):
    class Holder(Plain):
        def get(self):
            return self.value

    holder = Holder(v)
    return holder.get, lambda new: setattr(holder, "value", new)


@place(kinds="some")
def call_reads_self(v, patch):
    class Holder(Plain):
        def __call__(self):
            return self.value

    holder = Holder(v)
    return holder, lambda new: setattr(holder, "value", new)


@place(kinds="some")
def computed_property(v, patch):
    class Holder:
        def __init__(self):
            self._hidden = v

        @property
        def value(self):
            return self._hidden

    holder = Holder()
    return lambda: holder.value, lambda new: setattr(holder, "_hidden", new)


@place(kinds="some")
def rebound_property(v, patch):
    class Holder:
        value = property(lambda self: v)

    holder = Holder()
    return lambda: holder.value, lambda new: setattr(Holder, "value", property(lambda self: new))


@place(kinds="some")
def getattr_method(v, patch):
    class Holder:
        def __init__(self):
            self.values = {"value": v}

        def __getattr__(self, name):
            return self.__dict__["values"][name]

    holder = Holder()
    return lambda: holder.value, lambda new: holder.values.update(value=new)


@place(kinds="some")
def getattribute_method(v, patch):
    class Holder:
        def __getattribute__(self, name):
            return object.__getattribute__(self, "hidden_" + name)

    holder = Holder()
    object.__setattr__(holder, "hidden_value", v)
    return lambda: holder.value, lambda new: object.__setattr__(holder, "hidden_value", new)


@place(kinds="some")
def own_descriptor(v, patch):
    class Descriptor:
        def __init__(self):
            self.kept = v

        def __get__(self, owner, kind=None):
            return self.kept

    class Holder:
        value = Descriptor()

    holder = Holder()
    return lambda: holder.value, lambda new: setattr(vars(Holder)["value"], "kept", new)


@place("either", kinds="some")
def cached_property(v, patch):
    class Holder:
        source = v

        @functools.cached_property
        def value(self):
            return self.source

    holder = Holder()

    def write(new):
        Holder.source = new
        holder.__dict__.pop("value", None)

    return lambda: holder.value, write


@place(kinds="some")
def slots(v, patch):
    class Holder:
        __slots__ = ("value",)

    holder = Holder()
    holder.value = v
    return lambda: holder.value, lambda new: setattr(holder, "value", new)


@place(kinds="some")
def class_attribute(v, patch):
    class Holder:
        value = v

    return lambda: Holder.value, lambda new: setattr(Holder, "value", new)


@place(kinds="some")
def class_attribute_through_instance(v, patch):
    class Holder:
        value = v

    holder = Holder()
    return lambda: holder.value, lambda new: setattr(Holder, "value", new)


@place(kinds="some")
def inherited_class_attribute(v, patch):
    class Base:
        value = v

    class Holder(Base):
        pass

    holder = Holder()
    return lambda: holder.value, lambda new: setattr(Base, "value", new)


@place(kinds="some")
def class_attribute_shadowed_by_the_instance(v, patch):
    class Holder:
        value = v

    holder = Holder()
    return lambda: holder.value, lambda new: setattr(holder, "value", new)


@place(kinds="some")
def class_attribute_shadowed_by_a_subclass(v, patch):
    class Base:
        value = v

    class Holder(Base):
        pass

    holder = Holder()
    return lambda: holder.value, lambda new: setattr(Holder, "value", new)


@place(kinds="some")
def class_of_the_object_replaced(v, patch):
    class Holder:
        value = v

    holder = Holder()
    return lambda: holder.value, lambda new: setattr(
        holder, "__class__", type("Other", (Holder,), {"value": new})
    )


@place(kinds="some")
def type_of_self(v, patch):
    class Holder:
        value = v

        def get(self):
            return type(self).value

    return Holder().get, lambda new: setattr(Holder, "value", new)


@place(kinds="some")
def class_method(v, patch):
    class Holder:
        value = v

        @classmethod
        def get(cls):
            return cls.value

    return lambda: Holder.get(), lambda new: setattr(Holder, "value", new)


@place(kinds="some")
def super_call(v, patch):
    class Base:
        def get(self):
            return self.value

    class Holder(Base):
        def get(self):
            return super().get()

    holder = Holder()
    holder.value = v
    return holder.get, lambda new: setattr(holder, "value", new)


@place("either", kinds="some")
def metaclass_attribute(v, patch):
    class Meta(type):
        @property
        def value(cls):
            return cls.hidden

    class Holder(metaclass=Meta):
        hidden = v

    return lambda: Holder.value, lambda new: setattr(Holder, "hidden", new)


@dataclasses.dataclass
class Settings:
    value: object = None


@dataclasses.dataclass(frozen=True)
class Frozen:
    value: object = None


Pair = collections.namedtuple("Pair", "first value")


@place(kinds="some")
def dataclass_field(v, patch):
    settings = Settings(v)
    return lambda: settings.value, lambda new: setattr(settings, "value", new)


@place(kinds="some")
def frozen_dataclass_replaced(v, patch):
    settings = Frozen(v)

    def write(new):
        nonlocal settings
        settings = dataclasses.replace(settings, value=new)

    return lambda: settings.value, write


@place("either", kinds="some")
def asdict(v, patch):
    settings = Settings(v)
    return lambda: dataclasses.asdict(settings)["value"], lambda new: setattr(settings, "value", new)


@place(kinds="some")
def simple_namespace(v, patch):
    settings = types.SimpleNamespace(inner=types.SimpleNamespace(value=v))
    return lambda: settings.inner.value, lambda new: setattr(settings.inner, "value", new)


@place(kinds="some")
def named_tuple_replaced(v, patch):
    top = Plain(Pair(0, v))
    return lambda: top.value.value, lambda new: setattr(top, "value", top.value._replace(value=new))


@place(kinds="some")
def enum_member_chooses(v, patch):
    Choice = enum.Enum("Choice", "A B")
    table, top = {Choice.A: v}, Plain(Choice.A)

    def write(new):
        table[Choice.B] = table[Choice.A] = new
        top.value = Choice.B

    return lambda: table[top.value], write


# --- containers


@place()
def dict_item(v, patch):
    config = {"value": v}
    return lambda: config["value"], lambda new: config.update(value=new)


@place(kinds="some")
def nested_dict(v, patch):
    config = {"a": {"b": [{"value": v}]}}
    return lambda: config["a"]["b"][0]["value"], lambda new: config["a"]["b"][0].update(value=new)


@place(kinds="some")
def inner_dict_replaced(v, patch):
    config = {"a": {"value": v}}
    return lambda: config["a"]["value"], lambda new: config.update(a={"value": new})


@place(kinds="some")
def dict_get(v, patch):
    config = {"value": v}
    return lambda: config.get("value", 9.0), lambda new: config.update(value=new)


@place(kinds="some")
def dict_values(v, patch):
    config = {"other": 1.0, "value": v}
    return lambda: list(config.values())[1], lambda new: config.update(value=new)


@place(kinds="some")
def dict_items_loop(v, patch):
    config = {"other": 1.0, "value": v}

    def read():
        for name, found in config.items():
            if name == "value":
                return found
        return None

    return read, lambda new: config.update(value=new)


@place(kinds="some")
def key_from_a_variable(v, patch):
    config, which = {"a": v}, Plain("a")

    def write(new):
        config["b"] = new
        config["a"] = new
        which.value = "b"

    return lambda: config[which.value], write


def of_dict(kind):
    def make(v, patch):
        config = kind(value=v)
        return lambda: config["value"], lambda new: config.__setitem__("value", new)

    return make


KINDS_OF_DICT = {
    "ordered_dict": collections.OrderedDict,
    "default_dict": lambda **more: collections.defaultdict(float, **more),
    "user_dict": collections.UserDict,
    "chain_map": lambda **more: collections.ChainMap({}, more),
    "counter": collections.Counter,
    "dict_subclass": type("Config", (dict,), {}),
}
for name, kind in KINDS_OF_DICT.items():
    PLACES[name] = of_dict(kind), "either" if name in ("user_dict", "chain_map") else "works", "some"


@place("either", kinds="some")
def mapping_proxy(v, patch):
    config = {"value": v}
    view = types.MappingProxyType(config)
    return lambda: view["value"], lambda new: config.update(value=new)


@place(kinds="some")
def attribute_dict(v, patch):
    class Config(dict):
        __getattr__ = dict.__getitem__

    config = Config(value=v)
    return lambda: config.value, lambda new: config.update(value=new)


@place()
def list_item(v, patch):
    values = [1.0, v, 2.0]
    return lambda: values[1], lambda new: values.__setitem__(1, new)


@place(kinds="some")
def list_item_from_the_end(v, patch):
    values = [1.0, v]
    return lambda: values[-1], lambda new: values.append(new)


@place(kinds="some")
def list_unpacked(v, patch):
    values = [1.0, v]

    def read():
        _, second = values
        return second

    return read, lambda new: values.__setitem__(1, new)


@place(kinds="some")
def list_as_arguments(v, patch):
    values = [1.0, v]

    def pick(a, b):
        return b

    return lambda: pick(*values), lambda new: values.__setitem__(1, new)


@place(kinds="some")
def dict_as_keywords(v, patch):
    config = {"a": 1.0, "b": v}

    def pick(a, b):
        return b

    return lambda: pick(**config), lambda new: config.update(b=new)


@place(kinds="some")
def list_comprehension(v, patch):
    values = [1.0, v]
    return lambda: [found for found in values][-1], lambda new: values.__setitem__(1, new)  # noqa: C416


@place("either", kinds="some")
def generator_expression(v, patch):
    values = [1.0, v]
    return lambda: tuple(found for found in values)[-1], lambda new: values.__setitem__(1, new)


@place("either", kinds="some")
def generator_function(v, patch):
    values = [1.0, v]

    def each():
        yield from values

    return lambda: list(each())[-1], lambda new: values.__setitem__(1, new)


@place(kinds="some")
def tuple_replaced(v, patch):
    top = Plain((1.0, (v, 2.0)))
    return lambda: top.value[1][0], lambda new: setattr(top, "value", (1.0, (new, 2.0)))


@place(kinds="some")
def list_in_a_tuple(v, patch):
    values = ([v],)
    return lambda: values[0][0], lambda new: values[0].__setitem__(0, new)


@place(kinds="some")
def list_slice(v, patch):
    values = [1.0, v, 2.0]
    return lambda: values[1:2][0], lambda new: values.__setitem__(1, new)


@place(kinds="some")
def zipped(v, patch):
    names, values = ["a", "b"], [1.0, v]
    return lambda: dict(zip(names, values, strict=True))["b"], lambda new: values.__setitem__(1, new)


@place(kinds="some")
def enumerated(v, patch):
    values = [1.0, v]

    def read():
        found = None
        for i, found in enumerate(values):
            if i == 1:
                break
        return found

    return read, lambda new: values.__setitem__(1, new)


@place("either", kinds="some")
def deque(v, patch):
    values = collections.deque([v], maxlen=2)
    return lambda: values[-1], lambda new: values.append(new)


@place("either", kinds="some")
def list_subclass_getitem(v, patch):
    class Odd(list):
        def __getitem__(self, i):
            return self.hidden

    values = Odd([1.0])
    values.hidden = v
    return lambda: values[0], lambda new: setattr(values, "hidden", new)


@place(kinds="some")
def own_getitem(v, patch):
    class Odd:
        def __getitem__(self, i):
            return self.hidden

    values = Odd()
    values.hidden = v
    return lambda: values[0], lambda new: setattr(values, "hidden", new)


# --- by a roundabout way


@place(kinds="some")
def getattr_by_name(v, patch):
    top, which = Plain(v), Plain("value")
    return lambda: getattr(top, which.value), lambda new: setattr(top, "value", new)


@place(kinds="some")
def vars_of_an_object(v, patch):
    top = Plain(v)
    return lambda: vars(top)["value"], lambda new: setattr(top, "value", new)


@place(kinds="some")
def dict_of_an_object(v, patch):
    top = Plain(v)
    return lambda: top.__dict__["value"], lambda new: setattr(top, "value", new)


@place("either", kinds="some")
def attrgetter(v, patch):
    top = Plain(Plain(v))
    get = operator.attrgetter("value.value")
    return lambda: get(top), lambda new: setattr(top.value, "value", new)


@place("either", kinds="some")
def itemgetter(v, patch):
    config, get = {"value": v}, operator.itemgetter("value")
    return lambda: get(config), lambda new: config.update(value=new)


@place("either", kinds="some")
def globals_call(v, patch):
    patch(sys.modules[__name__], "GLOBAL", v)
    return lambda: globals()["GLOBAL"], lambda new: setattr(sys.modules[__name__], "GLOBAL", new)


@place("either", kinds="some")
def evaluated_text(v, patch):
    top = Plain(v)
    return lambda: eval("top.value", {"top": top}), lambda new: setattr(top, "value", new)


@place("either", kinds="some")
def executed_text(v, patch):
    top = Plain(v)

    def read():
        space = {"top": top}
        exec("found = top.value", space)
        return space["found"]

    return read, lambda new: setattr(top, "value", new)


@place("either", kinds="some")
def copied(v, patch):
    top = Plain(v)
    return lambda: copy.copy(top).value, lambda new: setattr(top, "value", new)


@place("either", kinds="some")
def deep_copied(v, patch):
    top = Plain([v])
    return lambda: copy.deepcopy(top).value[0], lambda new: setattr(top, "value", [new])


@place(kinds="some")
def partial_keyword(v, patch):
    def same(value):
        return value

    made = functools.partial(same, value=v)
    return lambda: made(), lambda new: made.keywords.update(value=new)


@place(kinds="some")
def partial_replaced(v, patch):
    def same(value):
        return value

    top = Plain(functools.partial(same, v))
    return lambda: top.value(), lambda new: setattr(top, "value", functools.partial(same, new))


@place(kinds="some")
def lambda_in_a_list(v, patch):
    calls = [lambda: v]
    return lambda: calls[0](), lambda new: calls.__setitem__(0, lambda: new)


@place(kinds="some")
def function_attribute(v, patch):
    def read():
        return read.value

    read.value = v
    return read, lambda new: setattr(read, "value", new)


@place(kinds="some")
def decorated_function(v, patch):
    top = Plain(v)

    def twice(function):
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            return function(*args, **kwargs)

        return wrapped

    @twice
    def read():
        return top.value

    return read, lambda new: setattr(top, "value", new)


@place("either", kinds="some")
def map_and_lambda(v, patch):
    top = Plain(v)
    return lambda: next(iter(map(lambda _: top.value, [0]))), lambda new: setattr(top, "value", new)  # noqa: C417


@place(kinds="some")
def context_manager(v, patch):
    class Holder(Plain):
        def __enter__(self):
            return self.value

        def __exit__(self, *_):
            pass

    holder = Holder(v)

    def read():
        with holder as found:
            return found

    return read, lambda new: setattr(holder, "value", new)


@place(kinds="some")
def exception_path(v, patch):
    config = {"value": v}

    def read():
        try:
            return config["missing"]
        except KeyError:
            return config["value"]

    return read, lambda new: config.update(value=new)


@place(kinds="some")
def name_that_falls_back_to_builtins(v, patch):
    patch(builtins, "staleness_value", v)
    return lambda: staleness_value, lambda new: setattr(builtins, "staleness_value", new)  # noqa: F821


@place("either", kinds="some")
def context_variable(v, patch):
    variable = contextvars.ContextVar("variable", default=v)
    return variable.get, variable.set


@place("either", kinds="some")
def thread_local(v, patch):
    local = threading.local()
    local.value = v
    return lambda: local.value, lambda new: setattr(local, "value", new)


@place("either", kinds="some")
def bound_method_of_a_dict(v, patch):
    config = {"value": v}
    get = config.get
    return lambda: get("value"), lambda new: config.update(value=new)


@place("either", kinds="some")
def weak_reference(v, patch):
    import weakref

    top = Plain(v)
    reference = weakref.ref(top)
    return lambda: reference().value, lambda new: setattr(top, "value", new)


@place("either", kinds="some")
def reduced(v, patch):
    values = [1.0, v]
    return lambda: functools.reduce(lambda a, b: b, values), lambda new: values.__setitem__(1, new)


@place("either", kinds="some")
def pattern_matched(v, patch):
    config = {"value": v}

    def read():
        match config:
            case {"value": found}:
                return found
        return None

    return read, lambda new: config.update(value=new)


@place("either", kinds="some")
def system_module(v, patch):
    patch(sys, "staleness_value", v)
    return lambda: sys.staleness_value, lambda new: setattr(sys, "staleness_value", new)


@place("works", kinds="text")
def environment_variable(v, patch):
    patch.item(os.environ, "STALENESS", v)
    return lambda: os.environ["STALENESS"], lambda new: os.environ.__setitem__("STALENESS", new)


@place("works", kinds="text")
def environment_variable_by_getenv(v, patch):
    patch.item(os.environ, "STALENESS", v)
    return lambda: os.getenv("STALENESS", ""), lambda new: os.environ.__setitem__("STALENESS", new)


@place("works", kinds="text")
def environment_variable_by_get(v, patch):
    patch.item(os.environ, "STALENESS", v)
    return lambda: os.environ.get("STALENESS", ""), lambda new: os.environ.__setitem__("STALENESS", new)


# --- kinds of values: (four values, the number that a step makes of one)

NAN, INF = float("nan"), float("inf")


def same(value):
    return value


def number_by_type(value):
    return {bool: 2.0, int: 3.0, float: 4.0}[type(value)] * value


def number_of_text(value):
    return {"relu": 1.0, "tanh": 2.0, "gelu": 3.0}[value]


def number_or_one(value):
    return 1.0 if value is None else value


KINDS = {
    "float": ((2.0, 3.0, 2.0, -1.5), same),
    "int": ((2, 3, 1000, 2), same),
    "text": (("relu", "tanh", "gelu", "relu"), number_of_text),
    "flag": ((True, False, True, False), lambda flag: 2.0 if flag else 0.5),
    "none": ((None, 2.0, None, 3.0), number_or_one),
    "zeros": ((0.0, -0.0, 0.0, -0.0), same),
}
EXTRA = {
    "nan": ((1.0, NAN, 2.0, NAN), same),
    "inf": ((1.0, INF, -INF, 2.0), same),
    "one": ((1, True, 1.0, True), number_by_type),
    "big_int": ((10**12, 10**12 + 1, 10**12 + 2, 10**12), lambda n: n % 1000 + 1.0),
    "huge_int": ((10**40, 10**40 + 1, 10**40 + 2, 10**40), lambda n: n % 1000 + 1.0),
    "close_floats": ((1.0, 1.0 + 2**-20, 1.0, 1.0 - 2**-20), same),
    "complex": ((1j, 1 + 1j, 2 + 1j, 1j), lambda z: z.real + 1.0),
    "bytes": ((b"a", b"b", b"cc", b"a"), lambda b: float(b[0] - 90)),
    "tuple": (((1.0, 2.0), (1.0, 3.0), (2.0,), (1.0, 2.0)), lambda t: float(sum(t))),
    "function": ((abs, float, lambda z: 2 * z, abs), lambda f: f(1.5)),
    "slice": ((slice(0, 2), slice(0, 3), slice(1, 2), slice(0, 2)), lambda s: len([1, 2, 3][s]) * 1.0),
    "range": ((range(2), range(3), range(0, 6, 2), range(2)), lambda r: float(sum(r))),
    "frozenset": ((frozenset({1}), frozenset({1, 2}), frozenset({4}), frozenset()), lambda s: 1.0 + sum(s)),
}


def made(where, kind, table):
    values, use = table[kind]

    def build(patch):
        small = Small()
        read, write = where(values[0], patch)

        def step(x):
            return small.train(x, use(read()))

        return Case(step, lambda n: write(values[n]), small.watch)

    return build


for name, (where, expects, wanted) in PLACES.items():
    for kind in KINDS:
        if (wanted == "text" and kind != "text") or (wanted == "some" and kind not in ("float", "text")):
            continue
        if name == "counter" and kind == "text":
            continue
        add(f"places/{name}-{kind}", made(where, kind, KINDS), expects)

for name in ("global_name", "closure_cell", "default", "attribute_depth_1", "dict_item", "list_item"):
    for kind in EXTRA:
        add(f"places/{name}-{kind}", made(PLACES[name][0], kind, EXTRA), PLACES[name][1])
