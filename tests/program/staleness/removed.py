"""What a step reads is deleted, shadowed, or replaced in another way than by an assignment."""

import abc
import builtins
import sys
import types

from program.staleness.judge import Case, add, scenario
from program.staleness.small import Small, reading

HERE = sys.modules[__name__]
VALUE = 1.0


def gone(make):
    """`make` gives (read, remove, put back): a step that raises in some calls."""

    def build(patch):
        read, remove, put = make(patch)
        return reading(read, lambda n: remove() if n % 2 else put(1.0 + n), raises=True)

    return build


def attribute(patch):
    obj = types.SimpleNamespace(value=1.0)
    return lambda: obj.value, lambda: delattr(obj, "value"), lambda v: setattr(obj, "value", v)


def dict_key(patch):
    table = {"value": 1.0}
    return lambda: table["value"], table.clear, lambda v: table.update(value=v)


def list_item(patch):
    values = [1.0]
    return lambda: values[0], values.clear, values.append


def global_name(patch):
    patch(HERE, "VALUE", 1.0)
    return lambda: VALUE, lambda: delattr(HERE, "VALUE"), lambda v: setattr(HERE, "VALUE", v)


def cell(patch):
    value = 1.0

    def remove():
        nonlocal value
        del value

    def put(v):
        nonlocal value
        value = v

    return lambda: value, remove, put


def method(patch):
    class Holder:
        def get(self):
            return 1.0

    holder = Holder()
    return (
        lambda: holder.get(),
        lambda: delattr(Holder, "get"),
        lambda v: setattr(Holder, "get", lambda self: v),
    )


def module_name(patch):
    tools = types.ModuleType("tools")
    tools.value = 1.0
    return lambda: tools.value, lambda: delattr(tools, "value"), lambda v: setattr(tools, "value", v)


def imported(patch):
    tools = types.ModuleType("staleness_tools")
    tools.value = 1.0
    patch.item(sys.modules, "staleness_tools", tools)

    def read():
        import staleness_tools

        return staleness_tools.value

    def put(v):
        tools.value = v
        sys.modules["staleness_tools"] = tools

    return read, lambda: sys.modules.pop("staleness_tools"), put


def to_none(patch):
    obj = types.SimpleNamespace(value=1.0)
    return lambda: obj.value * 2.0, lambda: setattr(obj, "value", None), lambda v: setattr(obj, "value", v)


for make in (attribute, dict_key, list_item, global_name, cell, method, module_name, imported, to_none):
    add(f"removed/{make.__name__}", gone(make), "either")


@scenario()
def attribute_deleted_shows_the_class():
    class Holder:
        value = 2.0

    holder = Holder()
    holder.value = 1.0

    def change(n):
        if "value" in vars(holder):
            del holder.value
        else:
            holder.value = 3.0

    return reading(lambda: holder.value, change)


@scenario("either")
def dict_of_an_object_replaced():
    holder = type("Holder", (), {})()
    holder.value = 1.0
    return reading(lambda: holder.value, lambda n: setattr(holder, "__dict__", {"value": 1.0 + n}))


@scenario("either")
def bases_of_a_class_replaced():
    class First:
        value = 1.0

    class Second:
        value = 2.0

    class Holder(First):
        pass

    holder = Holder()
    return reading(
        lambda: holder.value, lambda n: setattr(Holder, "__bases__", (Second if n % 2 else First,))
    )


class Descriptor:
    def __init__(self, value):
        self.value = value

    def __get__(self, owner, kind=None):
        return self.value

    def __set__(self, owner, value):
        raise AttributeError


def put_on_the_class(name, made):
    """The class of an object with the attribute `value` gets another attribute."""

    def build():
        holder = type("Holder", (), {})()
        if name != "__getattr__":  # which is called for a missing attribute
            holder.value = 1.0
        return reading(
            lambda: getattr(holder, "value", 1.0), lambda n: setattr(type(holder), name, made(1.0 + n))
        )

    return build


PUT_ON_THE_CLASS = {
    "property": ("value", lambda v: property(lambda self: v)),
    "descriptor": ("value", Descriptor),
    "getattribute": ("__getattribute__", lambda v: lambda self, name: v),
    "getattr": ("__getattr__", lambda v: lambda self, name: v),
}
for what, (name, made) in PUT_ON_THE_CLASS.items():
    add(f"removed/{what}_put_on_the_class", put_on_the_class(name, made), "either")


def special(name, read, function):
    """A special method is put on the class of an object."""

    def build():
        class Holder:
            value = 1

            def __init__(self):
                self.items = [1]

        holder = Holder()
        return reading(lambda: read(holder), lambda n: setattr(Holder, name, function(n)))

    return build


SPECIAL = {
    "__bool__": (lambda h: 2.0 if h else 3.0, lambda n: lambda self: n % 2 == 0),
    "__len__": (lambda h: 2.0 if h else 3.0, lambda n: lambda self: (n + 1) % 2),
    "__eq__": (lambda h: 2.0 if h == 1 else 3.0, lambda n: lambda self, other: n % 2 == 1),
    "__contains__": (
        lambda h: 2.0 if hasattr(type(h), "__contains__") and 1 in h else 3.0,
        lambda n: lambda self, other: n % 2 == 1,
    ),
}
for name, (read, function) in SPECIAL.items():
    add(f"removed/special_{name}", special(name, read, function), "either")


@scenario("either")
def class_registered_with_an_abstract_one():
    class Kind(abc.ABC):  # noqa: B024
        pass

    class Holder:
        pass

    holder = Holder()
    return reading(
        lambda: 2.0 if isinstance(holder, Kind) else 3.0, lambda n: Kind.register(Holder) if n == 1 else None
    )


@scenario()
def module_in_sys_modules_replaced(patch):
    def module(value):
        made = types.ModuleType("staleness_tools")
        made.value = value
        return made

    patch.item(sys.modules, "staleness_tools", module(1.0))
    small = Small()

    def step(x):
        import staleness_tools

        return small.train(x, staleness_tools.value)

    return Case(step, lambda n: sys.modules.__setitem__("staleness_tools", module(1.0 + n)), small.watch)


@scenario()
def function_of_another_module_with_its_own_globals():
    tools = types.ModuleType("tools")
    exec(
        "table = {'value': 1.0}\ndef read():\n    return inner()\ndef inner():\n    return table['value']",
        vars(tools),
    )
    return reading(lambda: tools.read(), lambda n: tools.table.update(value=1.0 + n))


@scenario()
def global_shadowed_in_builtins(patch):
    """A builtin becomes visible when the global of the same name is deleted, and the reverse."""
    patch(builtins, "staleness_shown", 1.0)
    small = Small()

    def step(x):
        return small.train(x, staleness_shown)  # noqa: F821

    def change(n):
        if n == 1:
            patch(HERE, "staleness_shown", 2.0)
        elif n == 2:
            HERE.staleness_shown = 3.0
        else:
            del HERE.staleness_shown
            builtins.staleness_shown = 4.0

    return Case(step, change, small.watch)
