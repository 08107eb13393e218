"""Values that a step reads from names: globals, cells, defaults, modules, attributes."""

import functools
import sys
import types

from program.staleness.places import PLACES, Plain, place

GLOBAL = None


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
