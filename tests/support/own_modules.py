"""Modules as users write them: special methods, operators, slots, metaclasses."""

import abc

import ranvier as rv
from ranvier import nn


class Net(nn.Module):
    """A network with attributes that change its results."""

    head, steps, kinds = None, 0, ()

    def __init_subclass__(cls):
        super().__init_subclass__()
        Net.kinds += (cls.__name__,)

    def __init__(self, scale=1.0):
        super().__init__()
        self.body, self.scale, self.mask = nn.Linear(3, 3), scale, None
        self.register_buffer("shift", rv.zeros(3))

    def forward(self, x):
        y = self.body(x) * self.scale + self.shift
        y = y if self.mask is None else y * self.mask
        return y if self.head is None else self.head(y)

    def clone(self):
        other = type(self)(self.scale)
        other.load_state_dict(self.state_dict())
        return other

    @classmethod
    def make(cls, scale):
        return cls(scale)

    def double(self):
        self.scale *= 2
        return self

    def me(self):
        return [self, {"me": (self,)}]


class Holder(nn.Module):
    """A module with special methods that lead to its layers."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Tanh()})
        self.log, self.run = [], "a run"  # a name that compiled functions have, too

    def forward(self, x):
        for layer in self.layers.values():
            x = layer(x)
        return x

    def __contains__(self, name):
        return name in self.layers

    def __getitem__(self, name):
        return self.layers[name]

    def __setitem__(self, name, layer):
        self.layers[name] = layer

    def __delitem__(self, name):
        del self.layers[name]

    def __len__(self):
        return len(self.layers)

    def __iter__(self):
        return iter(self.layers)

    def __enter__(self):
        self.log.append("in")
        return self

    def __exit__(self, *error):
        self.log.append("out")
        return True


class Own(nn.Module):
    """A module with operators, slots, properties, and attributes that it looks up and sets in its own way."""

    __slots__ = ("empty", "slot")

    def __init__(self, value=2.0):
        super().__init__()
        self.body, self.value, self.sets, self.slot = nn.Linear(3, 3), value, 0, 1.0

    def forward(self, x):
        return self.body(x) * self.value * self.slot

    @property
    def gain(self):
        return self.value * 10

    @gain.setter
    def gain(self, gain):
        self.value = gain / 10

    @gain.deleter
    def gain(self):
        self.value = 0.5

    def __getattr__(self, name):
        if name == "alias":
            return self.value
        raise AttributeError(f"no {name}")

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name != "sets" and not name.startswith("_"):
            self.__dict__["sets"] = self.__dict__.get("sets", 0) + 1

    def __setstate__(self, state):
        for values in state:
            for name, value in values.items():
                object.__setattr__(self, name, value)

    def __add__(self, other):
        return Own(self.value + (other.value if isinstance(other, Own) else other))

    __radd__ = __add__

    def __iadd__(self, other):
        self.value += other
        return self

    def __neg__(self):
        return -self.value

    def __lt__(self, other):
        return self.value < other

    def __eq__(self, other):
        return self.value == getattr(other, "value", other)

    def __hash__(self):
        return hash(self.value)

    def __bool__(self):
        return self.value > 3

    def __float__(self):
        return self.value

    __index__ = __int__ = lambda self: int(self.value)

    def __str__(self):
        return f"Own of {self.value}"


class Registered(type):
    made = ()

    def __init__(cls, name, bases, own):
        super().__init__(name, bases, own)
        Registered.made += (name,)


class Strange(nn.Linear, metaclass=Registered):
    """A layer with a metaclass and a `__del__` of its own."""

    ended = 0

    def __init__(self):
        super().__init__(3, 3)

    def __del__(self):
        Strange.ended += 1


class Abstract(abc.ABC, nn.Module):
    @abc.abstractmethod
    def forward(self, x): ...


class Concrete(Abstract):
    def __init__(self):
        super().__init__()
        self.p = nn.Parameter(rv.ones(3))

    def forward(self, x):
        return x * self.p


class Backwards(nn.Sequential):
    number = 7

    def forward(self, x):
        for layer in reversed([*self]):
            x = layer(x)
        return x
