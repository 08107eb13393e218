"""Each place with several kinds of values."""

from program.staleness import places_classes, places_containers, places_indirect, places_names  # noqa: F401
from program.staleness.judge import add
from program.staleness.places import PLACES
from program.staleness.small import reading

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
        read, write = where(values[0], patch)
        return reading(lambda: use(read()), lambda n: write(values[n]))

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
