"""Containers of settings, read by steps and by the forward of models."""

import argparse
import collections
import configparser
import dataclasses
import functools
import types
import typing
from collections.abc import Mapping

import numpy as np
import ranvier as rv
from program.staleness.judge import Case, add
from program.staleness.small import descends, reading, sets, squares
from ranvier import nn


class AttributeDict(dict):
    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name, value):
        self[name] = value


class Tree:
    """Nested settings by attribute or item, over a dict of dicts."""

    def __init__(self, content):
        self._content = content

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name):
        value = self._content[name]
        return Tree(value) if isinstance(value, dict) else value


class Options(Mapping):
    def __init__(self, **content):
        self._content = content

    def __getitem__(self, name):
        return self._content[name]

    def __iter__(self):
        return iter(self._content)

    def __len__(self):
        return len(self._content)


@dataclasses.dataclass(slots=True)
class Slots:
    rate: float = 1.0


@dataclasses.dataclass
class Derived:
    base: float = 1.0

    @property
    def rate(self):
        return self.base * 2

    def doubled(self):
        return [self.rate, self.rate * 2]


class Named(typing.NamedTuple):
    rate: float = 1.0


class Singleton:
    _one = None
    rate = 1.0

    def __new__(cls):
        if cls._one is None:
            cls._one = super().__new__(cls)
        return cls._one


class Borg:
    _shared: typing.ClassVar[dict] = {"rate": 1.0}

    def __init__(self):
        self.__dict__ = self._shared


def parsed(value):
    parser = configparser.ConfigParser()
    parser.read_dict({"train": {"rate": str(value)}})
    return parser


def singleton(v):
    Singleton.rate = v
    return Singleton()


def borg(v):
    Borg._shared["rate"] = v
    return Borg()


def put_in_tree(config, value):
    config._content["train"].update(rate=value)


def put_in_options(config, value):
    config._content.update(rate=value)


def put_in_parser(config, value):
    config.set("train", "rate", str(value))


# name: (made of a first value, read, write)
CONFIGS = {
    "argparse": (lambda v: argparse.Namespace(rate=v), lambda c: c.rate, sets("rate")),
    "argparse_vars": (lambda v: argparse.Namespace(rate=v), lambda c: vars(c)["rate"], sets("rate")),
    "attribute_dict": (lambda v: AttributeDict(rate=v), lambda c: c.rate, sets("rate")),
    "attribute_dict_nested": (
        lambda v: AttributeDict(train=AttributeDict(rate=v)),
        lambda c: c.train.rate,
        lambda c, v: setattr(c.train, "rate", v),
    ),
    "tree_by_attribute": (lambda v: Tree({"train": {"rate": v}}), lambda c: c.train.rate, put_in_tree),
    "tree_by_item": (lambda v: Tree({"train": {"rate": v}}), lambda c: c["train"]["rate"], put_in_tree),
    "mapping": (lambda v: Options(rate=v), lambda c: c["rate"], put_in_options),
    "mapping_get": (lambda v: Options(rate=v), lambda c: c.get("rate", 1.0), put_in_options),
    "mapping_as_keywords": (lambda v: Options(rate=v), lambda c: (lambda rate: rate)(**c), put_in_options),
    "slots": (Slots, lambda c: c.rate, sets("rate")),
    "derived_property": (Derived, lambda c: c.rate, sets("base")),
    "derived_list": (Derived, lambda c: c.doubled()[1], sets("base")),
    "named_tuple": (
        lambda v: types.SimpleNamespace(c=Named(v)),
        lambda c: c.c.rate,
        lambda c, v: setattr(c, "c", Named(v)),
    ),
    "singleton": (singleton, lambda c: Singleton().rate, lambda c, v: setattr(Singleton, "rate", v)),
    "shared_state": (borg, lambda c: Borg().rate, lambda c, v: c._shared.update(rate=v)),
    "config_parser": (parsed, lambda c: float(c["train"]["rate"]), put_in_parser),
    "config_parser_getfloat": (parsed, lambda c: c.getfloat("train", "rate"), put_in_parser),
    "partial_of_partial": (
        lambda v: functools.partial(functools.partial(lambda a, b: a * b, 2.0), b=v),
        lambda c: c(),
        lambda c, v: c.keywords.update(b=v),
    ),
    "default_factory": (
        lambda v: collections.defaultdict(lambda: v, rate=v),
        lambda c: c["rate"],
        lambda c, v: c.update(rate=v),
    ),
    "chain_map": (
        lambda v: collections.ChainMap({}, {"rate": v}),
        lambda c: c["rate"],
        lambda c, v: c.__setitem__("rate", v),
    ),
    "string_of_numbers": (
        lambda v: types.SimpleNamespace(text=f"{v},2"),
        lambda c: float(c.text.split(",")[0]),
        lambda c, v: setattr(c, "text", f"{v},2"),
    ),
    "numpy_function": (
        lambda v: types.SimpleNamespace(dim=v),
        lambda c: 1 / float(np.sqrt(c.dim)),
        sets("dim"),
    ),
    "nested_function_chain": (
        lambda v: types.SimpleNamespace(rate=v),
        lambda c: (lambda a: (lambda b: (lambda: b.rate)())(a))(c),
        sets("rate"),
    ),
}
EITHER = ("config_parser", "config_parser_getfloat", "chain_map", "numpy_function")


def configured(make, read, write):
    def build():
        config = make(1.0)
        return reading(lambda: read(config), lambda n: write(config, 1.0 + n))

    return build


def of_a_model(make, read, write):
    """The same as an attribute of a module, read in its forward."""

    def build():
        class Net(nn.Module):
            def __init__(self, config):
                super().__init__()
                self.layer, self.config = nn.Linear(3, 3), config

            def forward(self, x):
                return self.layer(x) * read(self.config)

        net = Net(make(1.0))
        step = descends(squares(net), rv.optim.SGD(net.parameters(), lr=0.05))
        return Case(step, lambda n: write(net.config, 1.0 + n), net)

    return build


for name, (make, read, write) in CONFIGS.items():
    expects = "either" if name in EITHER else "works"
    add(f"configs/{name}", configured(make, read, write), expects)
    add(f"configs/{name}-of_a_model", of_a_model(make, read, write), expects)
