"""Values that a step reads from classes, dataclasses and other objects."""

import collections
import dataclasses
import enum
import types

from program.staleness.places import PLACES, Plain, place


@place(kinds="some")
def slots(v, patch):
    class Holder:
        __slots__ = ("value",)

    holder = Holder()
    holder.value = v
    return lambda: holder.value, lambda new: setattr(holder, "value", new)


def attribute_of_classes(read, written):
    """read: of a class, its subclass and an object of the subclass; written: which of them gets the value."""

    def make(v, patch):
        base = type("Base", (), {"value": v})
        derived = type("Derived", (base,), {})
        things = base, derived, derived()
        return lambda: read(*things), lambda new: setattr(things[written], "value", new)

    return make


OF_CLASSES = {
    "class_attribute": (lambda base, derived, x: base.value, 0),
    "class_attribute_of_a_subclass": (lambda base, derived, x: derived.value, 0),
    "inherited_class_attribute": (lambda base, derived, x: x.value, 0),
    "class_attribute_shadowed_by_a_subclass": (lambda base, derived, x: x.value, 1),
    "class_attribute_shadowed_by_the_instance": (lambda base, derived, x: x.value, 2),
}
for name, (read, written) in OF_CLASSES.items():
    PLACES[name] = attribute_of_classes(read, written), "works", "some"


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
