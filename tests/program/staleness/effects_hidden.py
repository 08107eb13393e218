"""Steps that read a state that is in none of their variables: of a thread, NumPy, views and modules."""

import collections
import decimal
import importlib
import math
import sys
import types
import weakref
import xml.etree.ElementTree as ElementTree

import numpy as np
from program.staleness.judge import add, scenario
from program.staleness.small import reading

PART = "ranvier_staleness_"


class Holder:
    value = 2.0


def precision(read):
    def build(patch):
        context = decimal.getcontext()
        patch.after(lambda before=context.prec: setattr(context, "prec", before))
        return reading(read, lambda n: setattr(decimal.getcontext(), "prec", 5 - n))

    return build


ONE = decimal.Decimal(1)
add("effects/decimal_precision", precision(lambda: float(ONE / decimal.Decimal(3))))
add("effects/decimal_made_inside", precision(lambda: float(decimal.Decimal("1") / 3)))
add("effects/decimal_context_read", precision(lambda: float(decimal.getcontext().prec)), "either")


@scenario()
def module_imported_by_a_computed_name(patch):
    module = types.ModuleType(PART + "a")
    module.value = 2.0
    patch.item(sys.modules, module.__name__, module)
    end = "a"
    return reading(
        lambda: importlib.import_module(PART + end).value, lambda n: setattr(module, "value", 2.0 + n)
    )


@scenario()
def module_replaced_that_was_imported_by_a_computed_name(patch):
    end = "b"

    def put(n):
        module = types.ModuleType(PART + end)
        module.value = 2.0 + n
        patch.item(sys.modules, module.__name__, module)

    put(0)
    return reading(lambda: importlib.import_module(PART + end).value, put)


@scenario()
def module_found_by_a_computed_name(patch):
    module = types.ModuleType(PART + "c")
    module.value = 2.0
    patch.item(sys.modules, module.__name__, module)
    end = "c"
    return reading(lambda: sys.modules[PART + end].value, lambda n: setattr(module, "value", 2.0 + n))


def _relative(patch, statement, expression):
    package, module = types.ModuleType(PART + "package"), types.ModuleType(PART + "package.config")
    package.__path__, package.config, module.value = [], module, 2.0
    for one in (package, module):
        patch.item(sys.modules, one.__name__, one)
    space = {"__package__": package.__name__, "__name__": package.__name__ + ".step"}
    exec(f"def read():\n    {statement}\n    return {expression}\n", space)
    return reading(space["read"], lambda n: setattr(module, "value", 2.0 + n))


@scenario()
def relative_import_of_a_name(patch):
    return _relative(patch, "from .config import value", "value")


@scenario()
def relative_import_of_a_module(patch):
    return _relative(patch, "from . import config", "config.value")


@scenario("either")
def weak_references_counted():
    owner, kept = Holder(), []
    return reading(
        lambda: 1.0 + weakref.getweakrefcount(owner),
        lambda n: kept.append(weakref.ref(owner, lambda gone: None)),
    )


@scenario("either")
def weak_proxy():
    owner = Holder()
    proxy = weakref.proxy(owner)
    return reading(lambda: proxy.value, lambda n: setattr(owner, "value", 2.0 + n))


@scenario()
def array_made_read_only():
    array = np.ones(3)
    return reading(
        lambda: 2.0 if array.flags.writeable else 1.0,
        lambda n: array.setflags(write=not array.flags.writeable),
    )


@scenario()
def numpy_errors(patch):
    before = np.geterr()
    patch.after(lambda: np.seterr(**before))
    return reading(
        lambda: 2.0 if np.geterr()["divide"] == "warn" else 1.0,
        lambda n: np.seterr(divide="ignore" if n % 2 else "warn"),
    )


@scenario()
def numpy_errors_of_a_scalar(patch):
    before, zero = np.seterr(divide="ignore"), np.float64(0.0)
    patch.after(lambda: np.seterr(**before))

    def read():
        try:
            return 2.0 if np.float64(1.0) / zero > 1 else 3.0
        except FloatingPointError:
            return 1.0

    return reading(read, lambda n: np.seterr(divide="raise" if n % 2 else "ignore"))


@scenario()
def numpy_print_options(patch):
    before = np.get_printoptions()
    patch.after(lambda: np.set_printoptions(**before))
    return reading(
        lambda: float(np.get_printoptions()["precision"]), lambda n: np.set_printoptions(precision=n)
    )


@scenario()
def text_of_an_array(patch):
    before, array = np.get_printoptions(), np.array([1.0]) / 3
    patch.after(lambda: np.set_printoptions(**before))
    return reading(lambda: float(len(str(array))), lambda n: np.set_printoptions(precision=n))


@scenario("either")
def state_of_a_random_state():
    generator = np.random.RandomState(0)
    return reading(lambda: generator.get_state()[2] * 0.01, lambda n: generator.rand(n))


@scenario("either")
def state_of_a_generator():
    generator = np.random.default_rng(0)
    return reading(
        lambda: float(generator.bit_generator.state["state"]["state"] % 7) + 1, lambda n: generator.random(n)
    )


def _viewed(view, read):
    config = {"a": 1.0}
    seen = view(config)
    return reading(lambda: read(seen), lambda n: config.update({"a": 2.0 + n, "b" * n: 3.0}))


@scenario()
def values_of_a_dict():
    return _viewed(dict.values, sum)


@scenario()
def keys_of_a_dict():
    return _viewed(dict.keys, lambda keys: float(len(keys)))


@scenario()
def items_of_a_dict():
    return _viewed(dict.items, lambda items: sum(value for _, value in items))


@scenario()
def values_within_a_view():
    config = {"a": [1.0]}
    values = config.values()
    return reading(lambda: next(iter(values))[0], lambda n: config["a"].insert(0, 2.0 + n))


@scenario()
def list_within_a_proxy():
    proxy = types.MappingProxyType({"a": [1.0]})
    return reading(lambda: proxy["a"][0], lambda n: proxy["a"].insert(0, 2.0 + n))


@scenario()
def sign_of_zero_in_a_deque():
    queue = collections.deque([0.0])
    return reading(
        lambda: math.copysign(2.0, queue[0]), lambda n: queue.__setitem__(0, 0.0 if n % 2 == 0 else -0.0)
    )


@scenario()
def kind_of_one_in_a_set():
    numbers = {1.0}

    def change(n):
        numbers.clear()
        numbers.add(True if n % 2 else 1.0)

    return reading(lambda: 2.0 if type(next(iter(numbers))) is bool else 1.0, change)


@scenario()
def name_of_a_function():
    def named():
        pass

    return reading(lambda: float(len(named.__name__)), lambda n: setattr(named, "__name__", "a" * n))


@scenario()
def text_of_a_function():
    def named():
        """Two."""

    return reading(lambda: float(len(named.__doc__)), lambda n: setattr(named, "__doc__", "a" * n))


@scenario()
def name_of_a_class():
    kind = type("Kind", (), {})
    return reading(lambda: float(len(kind.__name__)), lambda n: setattr(kind, "__name__", "a" * n))


@scenario("either")
def element_made_in_c():
    element = ElementTree.fromstring("<a><b>1</b></a>")
    return reading(lambda: float(element[0].text), lambda n: setattr(element[0], "text", str(1 + n)))


@scenario("either")
def element_that_is_counted():
    element = ElementTree.fromstring("<a><b/></a>")
    return reading(lambda: float(len(element)), lambda n: element.append(ElementTree.Element("b")))
