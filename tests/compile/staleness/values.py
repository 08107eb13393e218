"""Decisions and numbers that a step takes from a value, in every way that Python has.

Each row has an expression of the value `v` and four values, of which neighbours may compare equal. The value
is an attribute that is replaced, the content of a list that stays the same object, or an argument.
"""

from compile.staleness.judge import Case, add, default_inputs
from compile.staleness.rows import function, space, table, uses_x
from compile.staleness.small import Small, trains

NUMBERS, BOOLS, WORDS = "1, 3, 2, 4", "True, False, True, False", "'sum', 'mean', 'sum', 'none'"
SCALE, MORE, SIZES = "[1.0], [2.0], [3.0, 4.0], [1.0]", "[1.0], [2.0], [3.0], [1.0]", "[1], [1, 2], [], [1]"
FLOATS = "1.0, 2.0, 3.0, 1.0"
# name: (what a step makes a number from, four values)
TESTS = {
    "if": ("1.0 if v else 3.0", BOOLS),
    "if_number": ("1.0 if v > 2 else 3.0", NUMBERS),
    "chained_comparison": ("1.0 if 1 < v < 4 else 3.0", NUMBERS),
    "and_or": ("float((v > 2 and 5) or v)", NUMBERS),
    "not": ("1.0 + (not v)", "0, 1, 0, 1"),
    "is_none": ("1.0 if v is None else 3.0", "None, 1, None, 1"),
    "conditional_import": ("math.sqrt(v) if v > 2 else float(v)", NUMBERS),
    "range_loop": ("counted(v)", NUMBERS),
    "while_loop": ("while_below(v)", NUMBERS),
    "recursion": ("recursion(v)", NUMBERS),
    "loop_with_else": ("loop_with_else(v)", "[1], [3], [], [4]"),
    "try_paths": ("tried(v)", NUMBERS),
    "star_unpacking": ("tail(v)", "[1], [1, 2], [3], [1, 2, 3]"),
    "equality_of_text": ("1.0 if v == 'sum' else 3.0", WORDS),
    "startswith": ("1.0 if v.startswith('s') else 3.0", WORDS),
    "in_text": ("1.0 if 'su' in v else 3.0", WORDS),
    "format": ("float(f'{v:.1f}')", FLOATS),
    "percent": ("float('%d' % v)", NUMBERS),
    "joined_text": ("float(len(','.join(v)))", "['a'], ['a', 'b'], ['ccc'], []"),
    "lookup": ("{1: 1.0, 2: 5.0, 3: 7.0}.get(v, 9.0)", NUMBERS),
    "enum_is": ("1.0 if v is Color.RED else 3.0", "Color.RED, Color.GREEN, Color.RED, Color.GREEN"),
    "enum_value": ("float(v.value)", "Color.RED, Color.GREEN, Color.RED, Color.GREEN"),
    "enum_name": ("float(len(v.name))", "Color.RED, Color.GREEN, Color.RED, Color.GREEN"),
    "int_enum": ("float(v)", "Level.ONE, Level.TWO, Level.ONE, Level.TWO"),
    "enum_flag": ("1.0 if Bits.A in v else 3.0", "Bits.A, Bits.B, Bits(3), Bits.B"),
    "len_list": ("float(len(v))", SIZES),
    "len_dict": ("float(len(v))", "{1: 1}, {1: 1, 2: 2}, {}, {1: 1}"),
    "len_set": ("float(len(v))", "{1}, {1, 2}, set(), {1}"),
    "len_text": ("float(len(v))", "'a', 'ab', '', 'a'"),
    "empty_list": ("1.0 if v else 3.0", "[], [1], [], [1]"),
    "in_set": ("1.0 if 2 in v else 3.0", "{1}, {1, 2}, {3}, {2}"),
    "in_frozenset": ("1.0 if 2 in v else 3.0", "*map(frozenset, ({1}, {1, 2}, (), {2})),"),
    "in_list": ("1.0 if 2 in v else 3.0", "[1], [1, 2], [], [2]"),
    "in_dict": ("1.0 if 2 in v else 3.0", "{1: 1}, {2: 1}, {}, {2: 2}"),
    "set_operations": ("float(len(v.union({1, 2})))", "{1}, {3}, {1}, {4, 5}"),
    "sum_of_list": ("float(sum(v))", SIZES),
    "max_of_list": ("float(max(v))", "[1], [1, 2], [3], [1]"),
    "sorted_list": ("float(sorted(v)[0])", "[1], [4, 2], [3], [1]"),
    "reversed_list": ("float(next(iter(reversed(v))))", "[1], [4, 2], [3], [1]"),
    "any_of": ("1.0 + any(v)", "[0], [0, 1], [], [1]"),
    "all_of": ("1.0 + all(v)", "[0], [1], [0], []"),
    "dict_order": ("float(next(iter(v)))", "{1: 0, 2: 0}, {2: 0, 1: 0}, {3: 0}, {1: 0}"),
    "dict_keys": ("float(sum(v))", "{1: 0, 2: 0}, {2: 0}, {3: 0}, {1: 0}"),
    "nested_list": ("float(v[0][0])", "[[1]], [[2]], [[3, 4]], [[1]]"),
    "isinstance": ("1.0 if isinstance(v, Derived) else 3.0", "Base(), Derived(), Base(), Derived()"),
    "isinstance_of_numbers": ("1.0 if isinstance(v, bool) else 3.0", "1, True, 1.0, True"),
    "type_is": ("1.0 if type(v) is int else 3.0", "1, 1.0, 1, True"),
    "hasattr": ("1.0 if hasattr(v, 'value') else 3.0", "*[Plain(1) if n % 2 else Base() for n in range(4)],"),
    "getattr_default": ("getattr(v, 'value', 3.0)", "*[Plain(n) if n % 2 else Base() for n in range(4)],"),
    "callable": ("1.0 if callable(v) else 3.0", "1, len, 2, abs"),
    "numpy_float": ("float(v) + 0.5", "*map(np.float32, (1, 2, 3, 1)),"),
    "numpy_int": ("counted(v)", "*map(np.int64, (1, 2, 3, 1)),"),
    "numpy_bool": ("1.0 if v else 3.0", "np.True_, np.False_, np.True_, np.False_"),
    "numpy_float_as_factor": ("v", "*map(np.float32, (1, 2, 3, 1)),"),
    "numpy_zeros": ("v", "*map(np.float64, (0.0, -0.0, 0.0, -0.0)),"),
    "numpy_scalar_dtype": ("float(v.itemsize)", "np.float32(1), np.float64(1), np.float16(1), np.float32(1)"),
    "numpy_dtype": ("float(v.itemsize)", "*map(np.dtype, ('f4', 'f8', 'f2', 'f4')),"),
    "fraction": ("float(v)", "*[fractions.Fraction(n, 3) for n in (1, 2, 4, 5)],"),
    "floor_and_ceil": ("float(math.floor(v) + math.ceil(v))", "1.5, 2.5, 3.0, 1.5"),
    "integer_arithmetic": ("float(v // 2 + v % 2 + (v << 1) + (v & 1))", NUMBERS),
    "namedtuple_field": ("float(v.first + len(v))", "*[Pair(n, 0) for n in (1, 2, 3, 1)],"),
}
SPECIAL = {  # of an object whose special methods all use its number
    "bool": "1.0 if v else 3.0",
    "len": "float(len(v))",
    "iter": "sum(v)",
    "contains": "1.0 if 3 in v else 3.0",
    "eq": "1.0 if v == 3 else 3.0",
    "ne": "1.0 if v != 3 else 3.0",
    "hash": "float(hash(v) % 100)",
    "lt": "1.0 if v < 3 else 3.0",
    "gt_reflected": "1.0 if 3 > v else 3.0",
    "float": "float(v)",
    "int": "int(v) * 1.0",
    "index": "counted(v)",
    "add": "v + 1.0",
    "radd": "1.0 + v",
    "rmul": "2.0 * v",
    "neg": "-v * 1.0",
    "abs": "abs(v) * 1.0",
    "round": "round(v) * 1.0",
    "str": "float(len(str(v)))",
    "repr": "float(len(repr(v)))",
    "format": "float(len(f'{v}'))",
    "getitem": "v[0] * 1.0",
    "call": "v() * 1.0",
    "in_list_by_eq": "1.0 if v in [3, 7] else 3.0",
    "sorted_by_lt": "1.0 if sorted([v, Odd(3)])[0] is v else 3.0",
}
# values that compare equal, or cannot be compared, although a step treats them differently
EQUAL = table(
    r"""
one | kinds(v) | 1, True, 1.0, 1
one_in_a_list | kinds(v) | [1], [True], [1.0], [1]
one_in_a_tuple | kinds(v) | (1, 0), (True, 0), (1.0, 0), (1, False)
one_in_a_set | kinds(v) | {1}, {True}, {1.0}, {1}
one_in_a_frozenset | kinds(v) | *[frozenset({one}) for one in (1, True, 1.0, 1)],
one_as_a_key | kinds(v) | {1: 0}, {True: 0}, {1.0: 0}, {1: 0}
one_as_an_item | kinds(v) | {'a': 1}, {'a': True}, {'a': 1.0}, {'a': 1}
one_deep_in_lists | kinds(v[0][0]['a']) | *[[[{'a': (one,)}]] for one in (1, True, 1.0, 1)],
zero | signs(v) | 0.0, -0.0, 0.0, -0.0
zero_in_a_list | signs(v) | [0.0], [-0.0], [0.0], [-0.0]
zero_in_a_tuple | signs(v) | (0.0,), (-0.0,), (0.0,), (-0.0,)
zero_in_a_dict | signs(v) | {'a': 0.0}, {'a': -0.0}, {'a': 0.0}, {'a': -0.0}
zero_of_numpy | signs(v) | *map(np.float32, (0.0, -0.0, 0.0, -0.0)),
zero_complex | signs([v.real, v.imag]) | 0j, complex(0.0, -0.0), complex(-0.0, 0.0), 0j
numpy_float | kinds(v) | 1.0, np.float64(1.0), np.float32(1.0), 1.0
numpy_int | kinds(v) | 1, np.int64(1), True, 1
int_enum | kinds(v) | 1, Level.ONE, 1, Level.ONE
text_subclass | getattr(v, 'extra', 1.0) | 'a', Text('a'), 'a', Text('a')
float_subclass | getattr(v, 'extra', 1.0) | 1.0, Number(1.0), 1.0, Number(1.0)
named_tuple | 2.0 if hasattr(v, '_fields') else 1.0 | (1, 2), Pair(1, 2), (1, 2), Pair(1, 2)
ordered_dict | 2.0 if type(v) is dict else 1.0 | *[kind(a=1) for kind in (dict, collections.OrderedDict) * 2],
order_of_a_dict | float(next(iter(v))) | *[{1: 0, 2: 0}, {2: 0, 1: 0}] * 2,
order_of_a_nested_dict | float(next(iter(v['a']))) | *[{'a': {1: 0, 2: 0}}, {'a': {2: 0, 1: 0}}] * 2,
range_stop | float(v.stop) | range(0, 3, 2), range(0, 4, 2), range(0, 3, 2), range(0, 4, 2)
range_step | float(v.step) | range(0, 1, 1), range(0, 1, 2), range(0, 1, 1), range(0, 1, 3)
slice_step | float(v.step) | slice(0, 1, 1), slice(0, 1, 2), slice(0, 1, 1), slice(0, 1, 3)
empty_range | float(v.stop) | range(0), range(2, 2), range(0), range(2, 2)
decimal_digits | float(len(str(v))) | *map(decimal.Decimal, ('1.0', '1.00', '1.0', '1')),
decimal_and_int | float(len(str(v))) | 1, decimal.Decimal('1.0'), 1, fractions.Fraction(1)
bytes_and_bytearray | 2.0 if type(v) is bytes else 1.0 | b'a', bytearray(b'a'), b'a', bytearray(b'a')
time_zones | float(v.hour) | *map(noon, (0, 2, 0, 1)),
nan_in_a_list | float(len(v)) if v[0] == v[0] else 5.0 | [1.0], [NAN], [NAN, NAN], [1.0]
always_equal | v.value | *map(Always, (<FLOATS>)),
always_equal_in_a_list | v[0].value | *[[Always(f)] for f in (<FLOATS>)],
always_equal_in_a_dict | v['a'].value | *[{'a': Always(f)} for f in (<FLOATS>)],
never_equal | v.value | *map(Never, (<FLOATS>)),
never_equal_in_a_list | v[0].value | *[[Never(f)] for f in (<FLOATS>)],
raises_when_compared | v.value | *map(Raises, (<FLOATS>)),
raises_in_a_list | v[0].value | *[[Raises(f)] for f in (<FLOATS>)],
arrays_in_a_list | float(v[1]) | *[[np.ones(3), f] for f in (<FLOATS>)],
another_class_by_property | v.value | *map(Texts, (<FLOATS>)),
functions_of_one_code | v() | *[(lambda f: lambda: f)(f) for f in (<FLOATS>)],
methods_of_equal_objects | v() | *[Always(f).get for f in (<FLOATS>)],
texts_of_other_case | float(v == 'a') + 1.0 | 'a', 'A', 'a', 'b'
long_list | float(v[700]) | *[[0.0] * 700 + [f] + [0.0] * 300 for f in (<FLOATS>)],
long_text | float(ord(v[700])) / 50 | *['a' * 700 + c + 'a' * 300 for c in 'bcdb'],
deeply_nested_list | innermost(v) | *[nested(f) for f in (<FLOATS>)],
slots | v.value | *map(Slotted, (<FLOATS>)),
plain_int | v * 3.0 | 1, 2, 3, 2
plain_float | v | 1.0, 2.0, 1.5, 1.0
plain_bool | 2.0 if v else 0.5 | <BOOLS>
plain_text | float(len(v)) | <WORDS>
plain_none | 1.5 if v is None else v | None, 1.0, None, 2.0
plain_tuple | float(sum(v)) + len(v) | (1.0, 2.0), (1.0, 3.0), (2.0,), (1.0, 2.0)
plain_list | float(sum(v)) + len(v) | [1.0, 2.0], [1.0, 3.0], [2.0], [1.0, 2.0]
plain_dict | sum(v.values()) + ('b' in v) | {'a': 1.0}, {'a': 2.0}, {'b': 1.0}, {'a': 1.0}
plain_set | float(sum(v)) + len(v) | {1, 2}, {1, 3}, {4}, {1, 2}
plain_bytes | float(sum(v)) / 99 | b'a', b'b', b'ab', b'a'
plain_big | float(v % 10**9) / 1e6 + 1.0 | 10**20, 10**20 + 10**6, 10**20, 3
plain_complex | v.real + 2 * v.imag | 1j, 2j, 1 + 1j, 1j
plain_nan | v | 1.0, NAN, 2.0, NAN
plain_slice | float(len([1, 2, 3][v])) | slice(0, 2), slice(0, 3), slice(1, 2), slice(0, 2)
plain_function | v(1.5) | abs, float, lambda a: a * 3, abs
plain_dtype | 2.0 if v == rv.float64 else 1.0 | rv.float32, rv.float64, rv.float32, rv.float64
plain_type | 1.0 if v is int else 2.0 | int, float, int, str
plain_ellipsis | 1.0 if v is ... else 2.0 | ..., None, ..., 1.0
""",
    BOOLS=BOOLS,
    FLOATS=FLOATS,
    WORDS=WORDS,
)
# uses of the input `x` and a list, which stays the same object and gets new content
LISTS = {
    "reshape": ("x.reshape(v)[0].mean() * x", "[4, 3], [12, 1], [6, 2, 1], [4, 3]"),
    "reshape_star": ("x.reshape(*v).sum(0).sum() * x", "[4, 3], [12, 1], [6, 2], [4, 3]"),
    "pad": ("x * F.pad(x, v).mean()", "[0, 0], [1, 0], [1, 2], [0, 0]"),
    "sum_dims": ("x * x.sum(tuple(v), keepdim=True)", "[0], [1], [0, 1], [0]"),
    "permute": ("x * x.permute(*v)[0, 0] + x * x.permute(*v)[0, 1]", "[0, 1], [1, 0], [0, 1], [1, 0]"),
    "index": ("x * x[:, v].sum()", "[0], [1], [0, 2], [0]"),
    "rows": ("x * x[v].sum()", "[0], [1], [0, 2], [0]"),
    "zeros": ("x * (rv.zeros(v) + 1).sum()", "[2], [2, 2], [3], [2]"),
    "full": ("x * rv.full((3,), v[0])", MORE),
    "split": ("x * rv.split(x, v)[0].sum()", "[1, 3], [2, 2], [3, 1], [1, 3]"),
    "flip": ("x * x.flip(v)", "[0], [1], [0, 1], [0]"),
    "roll": ("x * x.roll(v[0], 0)", "[1], [2], [3], [1]"),
    "expand": ("x * x.mean().expand(v).sum()", "[2], [3], [4], [2]"),
    "cat": ("x * rv.cat([x * a for a in v]).sum()", SCALE),
    "loop_of_ops": ("functools.reduce(lambda y, a: y * a, v, x)", SCALE),
    "tensor_of": ("x * rv.tensor(v).sum()", SCALE),
    "constant_of": ("x * rv.constant(v).sum()", SCALE),
    "numpy_of": ("x * float(np.sum(v))", SCALE),
    "numpy_array_of": ("x * rv.constant(np.array(v, np.float32)).sum()", MORE),
    "min_max": ("x * (max(v) - min(v) + 1)", "[1.0], [1.0, 2.0], [3.0, 9.0], [1.0]"),
    "max_key": ("x * max(v, key=lambda a: -a)", "[1.0], [3.0, 2.0], [3.0, 9.0], [1.0]"),
    "sorted_key": ("x * sorted(v, key=abs)[0]", "[1.0], [3.0, 2.0], [3.0, 9.0], [1.0]"),
    "tuple": ("x * tuple(v)[-1]", SCALE),
    "list": ("x * list(v)[-1]", SCALE),
    "set": ("x * len(set(v))", "[1], [1, 2], [1, 1], [1, 2, 3]"),
    "dict": ("x * dict(v)['a']", "[('a', 1.0)], [('a', 2.0)], [('a', 3.0)], [('a', 1.0)]"),
    "from_keys": ("x * len(dict.fromkeys(v))", "[1], [1, 2], [1, 1], [1, 2, 3]"),
    "zip": ("x * sum(a * b for a, b in zip(v, v))", SCALE),
    "map": ("x * sum(map(abs, v))", "[1.0], [-2.0], [3.0, -4.0], [1.0]"),
    "map_function": ("x * sum(map(lambda a: a * 2, v))", MORE),
    "filter": ("x * len(list(filter(None, v)))", "[1], [0, 1], [1, 1], [0]"),
    "enumerate": ("x * sum(i * a for i, a in enumerate(v))", "[0, 1.0], [0, 2.0], [0, 3.0], [0, 1.0]"),
    "format_star": ("x * float('{}.{}'.format(*v))", "['1', '5'], ['2', '5'], ['3', '5'], ['1', '5']"),
    "count": ("x * (1 + v.count(1))", "[1], [1, 1], [], [1]"),
    "index_of": ("x * (1 + v.index(7))", "[7], [1, 7], [1, 1, 7], [7]"),
    "copy": ("x * v.copy()[-1]", SCALE),
    "added": ("x * (v + [1.0])[0]", SCALE),
    "multiplied": ("x * len(v * 2)", SIZES),
    "compared": ("x * (2.0 if v == [1] else 3.0)", "[1], [2], [1], [2]"),
    "compared_in_order": ("x * (2.0 if v < [2] else 3.0)", "[1], [3], [1], [3]"),
    "chain": ("x * sum(itertools.chain(v, v))", SCALE),
    "product": ("x * sum(1 for _ in itertools.product(v, v))", "[1], [1, 2], [1, 2, 3], [1]"),
    "accumulate": ("x * list(itertools.accumulate(v))[-1]", SCALE),
    "math_prod": ("x * math.prod(v)", SCALE),
    "math_fsum": ("x * math.fsum(v)", SCALE),
    "mean": ("x * statistics.mean(v)", SCALE),
    "bisect": ("x * (1 + bisect.bisect(v, 1.5))", "[1.0], [1.0, 1.2], [1.0, 1.2, 1.4], [1.0]"),
    "nlargest": ("x * heapq.nlargest(1, v)[0]", SCALE),
    "counter": ("x * collections.Counter(v)[1]", "[1], [1, 1], [1, 1, 1], [1]"),
    "reduce": ("x * functools.reduce(operator.mul, v)", SCALE),
    "json": ("x * len(json.dumps(v))", SIZES),
    "deep_copy": ("x * copy.deepcopy(v)[-1]", SCALE),
    "repr": ("x * len(repr(v))", SIZES),
}


def number(text, values, how):
    """how: "replaced", "in_place" or "argument"."""

    def build():
        names = space("parts_values.py")
        four = function("", f"({values})", names)()
        read, small, owner = function("v", text, names), Small(), names["Plain"](four[0])
        if how == "argument":
            inputs = lambda n: (*default_inputs(n), four[n % 4])  # noqa: E731
            return Case(lambda x, value: small.train(x, read(value)), None, small.watch, inputs)
        if how == "replaced":
            return Case(
                lambda x: small.train(x, read(owner.value)),
                lambda n: setattr(owner, "value", four[n]),
                small.watch,
            )
        kept = type(four[0])(four[0])

        def change(n):
            kept.clear()
            (kept.extend if isinstance(kept, list) else kept.update)(four[n])

        if uses_x(text):
            use = function("x, v", text, names)
            return Case(lambda x: small.train(use(x, kept), 1.5), change, small.watch)
        return Case(lambda x: small.train(x, read(kept)), change, small.watch)

    return build


def special(text):
    def build():
        names = space("parts_values.py")
        read, odd = function("v", text, names), names["Odd"](1)
        return trains(lambda x: (x, read(odd)), lambda n: setattr(odd, "value", (1, 3, 2, 4)[n]))

    return build


for name, (text, values) in TESTS.items():
    add(f"branches/{name}", number(text, values, "replaced"))
    if values[0] in "[{":
        add(f"branches/{name}-in_place", number(text, values, "in_place"))
for name, text in SPECIAL.items():
    add(f"branches/special_{name}", special(text))
for name, (text, values) in EQUAL.items():
    add(f"equal/{name}", number(text, values, "replaced"))
    add(f"equal/{name}-argument", number(text, values, "argument"))
    if values[0] in "[{":
        add(f"equal/{name}-in_place", number(text, values, "in_place"))
for name, (text, values) in LISTS.items():
    add(f"passed/{name}", number(text, values, "in_place"))
