"""Values that a step reads from dicts, lists, tuples and other containers."""

import collections
import types

from program.staleness.places import PLACES, Plain, place

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
        for i, found in enumerate(values):
            if i == 1:
                return found
        return None

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
