"""Values that a step reads from each place, with several kinds of values: rows of `rows.py`."""

from compile.staleness.judge import add
from compile.staleness.rows import Row, reads, table

# with all kinds of values
ANY = table(r"""
global_name | globals().update(G=v) | G | globals().update(G=new)
closure_cell | v | o | o = new
cell_of_a_cell | v | (lambda: (lambda: o)())() | o = new
default | def o(v=v): return v | o() | o.__defaults__ = (new,)
keyword_default | def o(*, v=v): return v | o() | o.__kwdefaults__.update(v=new)
module_attribute | module(value=v) | o.value | o.value = new
imported_inside | imported(patch, value=v) | import staleness_config; return staleness_config.value
  | o.value = new
imported_from_inside | imported(patch, value=v) | from staleness_config import value; return value
  | o.value = new
module_getattr | o, values = module(), {'value': v}; o.__getattr__ = lambda name: values[name] | o.value
  | values.update(value=new)
attribute_depth_1 | Plain(v) | o.value | o.value = new
dict_item | {'value': v} | o['value'] | o.update(value=new)
list_item | [1.0, v, 2.0] | o[1] | o[1] = new
""")
# with numbers or texts
SOME = table(r"""
module_getattr_hidden | o, get = module(), lambda name: v; o.__getattr__ = get | get; return o.value
  | o.value = new
attribute_depth_2 | Plain(Plain(v)) | o.value.value | o.value.value = new
attribute_depth_3 | Plain(Plain(Plain(v))) | o.value.value.value | o.value.value.value = new
attribute_depth_4 | last = Plain(v); o = Plain(Plain(Plain(last))) | o.value.value.value.value
  | last.value = new
attribute_of_a_replaced_object | Plain(Plain(v)) | o.value.value | o.value = Plain(new)
method_reads_self | Rich(v) | o.get() | o.value = new
call_reads_self | Rich(v) | o() | o.value = new
computed_property | Computed(v) | o.value | o.hidden = new
rebound_property | o = Base(); Base.value = property(lambda self: v) | o.value
  | Base.value = property(lambda self: new)
getattr_method | Fallen(v) | o.value | o.values.update(value=new)
getattribute_method | o = Hidden(); object.__setattr__(o, 'hidden_value', v) | o.value
  | object.__setattr__(o, 'hidden_value', new)
own_descriptor | o = Base(); Base.value = Descriptor(v) | o.value | vars(Base)['value'].kept = new
cached_property | o = Cached(); Cached.source = v | o.value | Cached.source = new; vars(o).pop('value', None)
slots | Slotted(v) | o.value | o.value = new
class_attribute | o = Derived(); Base.value = v | Base.value | Base.value = new
class_attribute_of_a_subclass | Base.value = v | Derived.value | Base.value = new
inherited_class_attribute | o = Derived(); Base.value = v | o.value | Base.value = new
class_attribute_shadowed_by_a_subclass | o = Derived(); Base.value = v | o.value | Derived.value = new
class_attribute_shadowed_by_the_instance | o = Derived(); Base.value = v | o.value | o.value = new
class_of_the_object_replaced | o = Derived(); Base.value = v | o.value
  | o.__class__ = type('Other', (Derived,), {'value': new})
type_of_self | o = Derived(); Base.value = v | o.of_type() | Base.value = new
class_method | Base.value = v; Base.of_class = classmethod(lambda cls: cls.value) | Base.of_class()
  | Base.value = new
super_call | Super(v) | o.get() | o.value = new
metaclass_attribute | OfMeta.hidden = v | OfMeta.value | OfMeta.hidden = new
dataclass_field | Settings(v) | o.value | o.value = new
frozen_dataclass_replaced | Frozen(v) | o.value | o = dataclasses.replace(o, value=new)
asdict | Settings(v) | dataclasses.asdict(o)['value'] | o.value = new
simple_namespace | SimpleNamespace(inner=SimpleNamespace(value=v)) | o.inner.value | o.inner.value = new
named_tuple_replaced | Plain(Pair(0, v)) | o.value.value | o.value = o.value._replace(value=new)
enum_member_chooses | o, table = Plain(Color.RED), {Color.RED: v} | table[o.value]
  | table.update({Color.GREEN: new, Color.RED: new}); o.value = Color.GREEN
nested_dict | {'a': {'b': [{'value': v}]}} | o['a']['b'][0]['value'] | o['a']['b'][0]['value'] = new
inner_dict_replaced | {'a': {'value': v}} | o['a']['value'] | o.update(a={'value': new})
dict_get | {'value': v} | o.get('value', 9.0) | o.update(value=new)
dict_values | {'other': 1.0, 'value': v} | list(o.values())[1] | o.update(value=new)
dict_items_loop | {'other': 1.0, 'value': v} | [found for name, found in o.items() if name == 'value'][0]
  | o.update(value=new)
key_from_a_variable | o, which = {'a': v}, Plain('a') | o[which.value]
  | o.update(b=new, a=new); which.value = 'b'
ordered_dict | collections.OrderedDict(value=v) | o['value'] | o['value'] = new
default_dict | collections.defaultdict(float, value=v) | o['value'] | o['value'] = new
user_dict | collections.UserDict(value=v) | o['value'] | o['value'] = new
chain_map | collections.ChainMap({}, {'value': v}) | o['value'] | o['value'] = new
dict_subclass | type('Config', (dict,), {})(value=v) | o['value'] | o['value'] = new
mapping_proxy | d = {'value': v}; o = types.MappingProxyType(d) | o['value'] | d.update(value=new)
attribute_dict | AttributeDict(value=v) | o.value | o.update(value=new)
list_item_from_the_end | [1.0, v] | o[-1] | o.append(new)
list_unpacked | [1.0, v] | _, second = o; return second | o[1] = new
list_as_arguments | [1.0, v] | (lambda a, b: b)(*o) | o[1] = new
dict_as_keywords | {'a': 1.0, 'b': v} | (lambda a, b: b)(**o) | o.update(b=new)
list_comprehension | [1.0, v] | [found for found in o][-1] | o[1] = new
generator_expression | [1.0, v] | tuple(found for found in o)[-1] | o[1] = new
generator_function | o = [1.0, v]\ndef each(): yield from o | list(each())[-1] | o[1] = new
tuple_replaced | Plain((1.0, (v, 2.0))) | o.value[1][0] | o.value = 1.0, (new, 2.0)
list_in_a_tuple | ([v],) | o[0][0] | o[0][0] = new
list_slice | [1.0, v, 2.0] | o[1:2][0] | o[1] = new
zipped | [1.0, v] | dict(zip(['a', 'b'], o))['b'] | o[1] = new
enumerated | [1.0, v] | [found for i, found in enumerate(o) if i == 1][0] | o[1] = new
deque | collections.deque([v], maxlen=2) | o[-1] | o.append(new)
list_subclass_getitem | o = OddList([1.0]); o.hidden = v | o[0] | o.hidden = new
own_getitem | o = OddItem(); o.hidden = v | o[0] | o.hidden = new
getattr_by_name | o, which = Plain(v), Plain('value') | getattr(o, which.value) | o.value = new
vars_of_an_object | Plain(v) | vars(o)['value'] | o.value = new
dict_of_an_object | Plain(v) | o.__dict__['value'] | o.value = new
attrgetter | o = Plain(Plain(v)); get = operator.attrgetter('value.value') | get(o) | o.value.value = new
itemgetter | o, get = {'value': v}, operator.itemgetter('value') | get(o) | o.update(value=new)
globals_call | globals().update(G=v) | globals()['G'] | globals().update(G=new)
evaluated_text | Plain(v) | eval('o.value', {'o': o}) | o.value = new
executed_text | Plain(v) | names = {'o': o}; exec('found = o.value', names); return names['found']
  | o.value = new
copied | Plain(v) | copy.copy(o).value | o.value = new
deep_copied | Plain([v]) | copy.deepcopy(o).value[0] | o.value = [new]
partial_keyword | functools.partial(lambda value: value, value=v) | o() | o.keywords.update(value=new)
partial_replaced | Plain(functools.partial(lambda value: value, v)) | o.value()
  | o.value = functools.partial(o.value.func, new)
lambda_in_a_list | [lambda: v] | o[0]() | o[0] = lambda: new
function_attribute | def o(): return o.value\no.value = v | o() | o.value = new
decorated_function | o = Plain(v); call = wrapping(lambda: o.value) | call() | o.value = new
map_and_lambda | Plain(v) | next(iter(map(lambda _: o.value, [0]))) | o.value = new
context_manager | Rich(v) | with o as found: return found | o.value = new
exception_path | {'value': v} | try: return o['missing']\nexcept KeyError: return o['value']
  | o.update(value=new)
name_that_falls_back_to_builtins | patch(builtins, 'staleness_value', v) | staleness_value
  | builtins.staleness_value = new
context_variable | contextvars.ContextVar('variable', default=v) | o.get() | o.set(new)
thread_local | o = threading.local(); o.value = v | o.value | o.value = new
bound_method_of_a_dict | o = {'value': v}; get = o.get | get('value') | o.update(value=new)
weak_reference | o = Plain(v); r = weakref.ref(o) | r().value | o.value = new
reduced | [1.0, v] | functools.reduce(lambda a, b: b, o) | o[1] = new
pattern_matched | {'value': v} | match o:\n    case {'value': found}: return found | o.update(value=new)
pattern_matched_by_position | Settings(v) | match o:\n    case Settings(found, _): return found
  | o.value = new
system_module | patch(sys, 'staleness_value', v) | sys.staleness_value | sys.staleness_value = new
list_of_a_system_module | patch(sys, 'staleness_value', [v]) | getattr(sys, 'staleness_value')[0]
  | sys.staleness_value[0] = new
system_module_by_name | patch(sys, 'staleness_value', v); which = Plain('staleness_value')
  | getattr(sys, which.value) | sys.staleness_value = new
""")
OF_NUMBERS: dict[str, Row] = {"counter": ("collections.Counter(value=v)", "o['value']", "o['value'] = new")}
ENVIRONMENT = "patch.item(os.environ, 'STALENESS', v)"
OF_TEXTS = table(
    r"""
environment_variable | <ENVIRONMENT> | os.environ['STALENESS'] | os.environ['STALENESS'] = new
environment_variable_by_getenv | <ENVIRONMENT> | os.getenv('STALENESS', '') | os.environ['STALENESS'] = new
environment_variable_by_get | <ENVIRONMENT> | os.environ.get('STALENESS', '') | os.environ['STALENESS'] = new
""",
    ENVIRONMENT=ENVIRONMENT,
)

NAN, INF = float("nan"), float("inf")
TEXTS = {"relu": 1.0, "tanh": 2.0, "gelu": 3.0}
# kinds of values: (four values, the number that a step makes of one)
KINDS = {
    "float": ((2.0, 3.0, 2.0, -1.5), None),
    "text": (("relu", "tanh", "gelu", "relu"), TEXTS.__getitem__),
    "int": ((2, 3, 1000, 2), None),
    "flag": ((True, False, True, False), lambda flag: 2.0 if flag else 0.5),
    "none": ((None, 2.0, None, 3.0), lambda v: 1.0 if v is None else v),
    "zeros": ((0.0, -0.0, 0.0, -0.0), None),
}
EXTRA = {
    "nan": ((1.0, NAN, 2.0, NAN), None),
    "inf": ((1.0, INF, -INF, 2.0), None),
    "one": ((1, True, 1.0, True), lambda v: {bool: 2.0, int: 3.0, float: 4.0}[type(v)] * v),
    "big_int": ((10**12, 10**12 + 1, 10**12 + 2, 10**12), lambda n: n % 1000 + 1.0),
    "huge_int": ((10**40, 10**40 + 1, 10**40 + 2, 10**40), lambda n: n % 1000 + 1.0),
    "close_floats": ((1.0, 1.0 + 2**-20, 1.0, 1.0 - 2**-20), None),
    "complex": ((1j, 1 + 1j, 2 + 1j, 1j), lambda z: z.real + 1.0),
    "bytes": ((b"a", b"b", b"cc", b"a"), lambda b: float(b[0] - 90)),
    "tuple": (((1.0, 2.0), (1.0, 3.0), (2.0,), (1.0, 2.0)), lambda t: float(sum(t))),
    "function": ((abs, float, lambda z: 2 * z, abs), lambda f: f(1.5)),
    "slice": ((slice(0, 2), slice(0, 3), slice(1, 2), slice(0, 2)), lambda s: len([1, 2, 3][s]) * 1.0),
    "range": ((range(2), range(3), range(0, 6, 2), range(2)), lambda r: float(sum(r))),
    "frozenset": ((frozenset({1}), frozenset({1, 2}), frozenset({4}), frozenset()), lambda s: 1.0 + sum(s)),
}
MOST = ("global_name", "closure_cell", "default", "attribute_depth_1", "dict_item", "list_item")
PARTS = ("deque", "mapping_proxy", "partial_keyword", "partial_replaced", "list_subclass_getitem", "slots")


def add_places(table, *kinds):
    """Each row with the kinds of the first of these tables, the next with those of the second, and so on."""
    for number, (name, texts) in enumerate(table.items()):
        for kind, (values, use) in kinds[number % len(kinds)].items():
            add(f"places/{name}-{kind}", reads(texts, values, use))


add_places(ANY, KINDS)
add_places(SOME, {"float": KINDS["float"]}, {"text": KINDS["text"]})
add_places(OF_NUMBERS, {"float": KINDS["float"]})
add_places(OF_TEXTS, {"text": KINDS["text"]})
thirds = [{kind: EXTRA[kind] for kind in list(EXTRA)[start::3]} for start in range(3)]
add_places({name: ANY[name] for name in MOST}, *thirds)
add_places({name: SOME[name] for name in PARTS}, {"zeros": KINDS["zeros"]}, {"one": EXTRA["one"]})
