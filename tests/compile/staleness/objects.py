"""Objects that hold settings, are passed whole to the library or Python's own, or lack what is looked up."""

import ranvier as rv
from compile.staleness.judge import Case, add, default_inputs
from compile.staleness.rows import Row, add_rows, function, space, table
from compile.staleness.small import Small, descends, reading, squares
from ranvier import nn

# containers of settings, read by a step and by the forward of a model: (made of `v`, read of `o`, changed)
CONFIGS = table(r"""
argparse_vars | argparse.Namespace(rate=v) | vars(o)['rate'] | o.rate = new
attribute_dict_nested | AttributeDict(a=AttributeDict(rate=v)) | o.a.rate | o.a.rate = new
tree_by_attribute | Tree({'a': {'rate': v}}) | o.a.rate | o._content['a'].update(rate=new)
tree_by_item | Tree({'a': {'rate': v}}) | o['a']['rate'] | o._content['a'].update(rate=new)
mapping | Options(rate=v) | o['rate'] | o._content.update(rate=new)
mapping_as_keywords | Options(rate=v) | (lambda rate: rate)(**o) | o._content.update(rate=new)
slots | SlottedSettings(v) | o.value | o.value = new
derived_property | Doubled(v) | o.value | o.base = new
derived_list | Doubled(v) | o.both()[1] | o.base = new
named_tuple | Plain(Named(v)) | o.value.value | o.value = Named(new)
singleton | Singleton() | Singleton().value | Singleton.value = new
shared_state | Borg() | Borg().value | o._shared.update(value=new)
config_parser | parser(v) | float(o['train']['rate']) | o.set('train', 'rate', str(new))
config_parser_getfloat | parser(v) | o.getfloat('train', 'rate') | o.set('train', 'rate', str(new))
partial_of_partial | functools.partial(functools.partial(lambda a, b: a * b, 2.0), b=v) | o()
  | o.keywords.update(b=new)
string_of_numbers | Plain(f'{v},2') | float(o.value.split(',')[0]) | o.value = f'{new},2'
""")


def configured(texts, in_model):
    def build():
        names = space()
        config = function("v", texts[0], names)(1.0)
        read, change = function("o", texts[1], names), function("o, new", texts[2], names)

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer, self.config = nn.Linear(3, 3), config

            def forward(self, x):
                return self.layer(x) * read(self.config)

        if not in_model:
            return reading(lambda: read(config), lambda n: change(config, 1.0 + n))
        net = Net()
        step = descends(squares(net), rv.optim.SGD(net.parameters(), lr=0.05))
        return Case(step, lambda n: change(net.config, 1.0 + n), net)

    return build


for name, texts in CONFIGS.items():
    add(f"configs/{name}", configured(texts, False))
    add(f"configs/{name}-of_a_model", configured(texts, True))

STALENESS = (
    "patch.item(os.environ, 'STALENESS', '1')\n"
    "patch.after(lambda: [os.environ.pop(k) for k in list(os.environ) if k.startswith('STALENESS_')])"
)
SOMETIMES = "os.environ.pop('STALENESS', None) if n % 2 else os.environ.update(STALENESS='3')"
ENVIRONMENT: dict[str, Row] = {
    "missing": (STALENESS, "float(os.environ.get('STALENESS', '7'))", SOMETIMES),
    "member": (STALENESS, "2.0 if 'STALENESS' in os.environ else 3.0", SOMETIMES),
    "putenv": (STALENESS, "float(os.environ['STALENESS'])", "os.environ.update(STALENESS=str(n + 1))"),
    "number": (STALENESS, "float(len(os.environ))", "os.environ[f'STALENESS_{n}'] = '1'"),
}
add_rows("configs/environment_", ENVIRONMENT)

# objects that are passed whole to the library, built-in functions or the standard library
GROWS = "setattr(o, f'more{new}', 1)"
PASSED = table(
    r"""
format_attribute | Plain(v) | float('{0.value}'.format(o)) | o.value = new
f_string | Plain(v) | float(f'{o.value:.2f}') | o.value = new
str | Rich(v) | float(str(o)) | o.value = new
percent | Rich(v) | float('%s' % o) | o.value = new
method_caller | o = Rich(v); call = operator.methodcaller('get') | call(o) | o.value = new
map_of_methods | Rich(v) | sum(map(Rich.get, [o])) | o.value = new
max_by_key | Plain(v) | max([o, Plain(2.5)], key=lambda p: p.value).value | o.value = new
sorted_by_operator | Rich(v) | sorted([Rich(2.5), o])[0].value | o.value = new
unbound_method | Rich(v) | Rich.get(o) | o.value = new
as_tuple | Settings(v) | dataclasses.astuple(o)[0] | o.value = new
replace | Settings(v) | dataclasses.replace(o).value | o.value = new
fields | Frozen(v) | sum(getattr(o, f.name) for f in dataclasses.fields(o)) | vars(o).update(value=new)
equal_records | Settings(v) | 2.0 if o == Settings(1.0) else 3.0 + o.value | o.value = new
repr_of_record | Settings(v) | float(len(repr(o))) | o.value = '1' * n
vars | Plain(v) | sum(vars(o).values()) | o.value = new
length_of_vars | Plain(v) | float(len(vars(o))) | <GROWS>
names_in_vars | Plain(v) | float(len(''.join(vars(o)))) | <GROWS>
dir | Plain(v) | float(len(dir(o))) | <GROWS>
dir_of_its_class | Plain(v) | float(len(dir(o))) | setattr(Plain, f'more{new}', 1)
array_array | array.array('f', [v]) | o[0] | o[0] = new
array_array_sum | array.array('f', [v]) | sum(o) | o[0] = new
bytearray | bytearray([1]) | float(o[0]) | o[0] = 1 + n
memoryview | memoryview(bytearray([1])) | float(o[0]) | o[0] = 1 + n
ctypes_number | ctypes.c_float(1.0) | o.value | o.value = new
ctypes_structure | Struct(1.0) | o.value | o.value = new
struct_unpack | bytearray(struct.pack('f', v)) | struct.unpack('f', o)[0] | o[:] = struct.pack('f', new)
numpy_record | np.zeros(1, [('a', 'f4')]) | float(o['a'][0]) + 1.0 | o['a'] = new
numpy_row | np.ones(1, [('a', 'f4')])[0] | float(o['a']) | o['a'] = new
numpy_scalar_array | np.array(v) | float(o) | o.fill(new)
numpy_item | np.ones(3) | o[1].item() | o.fill(new)
numpy_tolist | np.ones(3) | o.tolist()[1] | o.fill(new)
numpy_any | np.ones(3) | 2.0 if (o > 2.5).any() else 3.0 | o.fill(new)
numpy_unpacked | np.ones(2) | (lambda a, b: float(a + b))(*o) | o.fill(new)
numpy_in_a_loop | np.ones(2) | float(sum(a for a in o)) | o.fill(new)
numpy_base | o = np.ones(2); view = o[:1] | float(view.base[1]) | o[1] = new
numpy_objects | o = np.empty(1, object); o[0] = [v] | float(o[0][0]) | o[0][0] = new
numpy_large | np.ones(1 << 18) | float(o[7]) | o.fill(new)
numpy_attribute | Plain(np.float32(v)) | float(o.value) | o.value = np.float32(new)
template | Plain(v) | float(string.Template('$a').substitute(a=o.value)) | o.value = new
pattern | Plain(re.compile('a')) | 2.0 if o.value.match('ab') else 3.0
  | o.value = re.compile('b' if n % 2 else 'ab')
closure_in_an_object | Plain(lambda: v) | o.value() | o.value = lambda: new
long_list | [v] * 2000 | o[1500] | o[1500] = new
long_bytes | bytearray([1] * 2000) | float(o[1500]) | o[1500] = 1 + n
set_of_objects | o = {Plain(v)} | next(iter(o)).value | next(iter(o)).value = new
frozenset_of_objects | frozenset({Plain(v)}) | next(iter(o)).value | next(iter(o)).value = new
deque_of_objects | collections.deque([Plain(v)]) | o[0].value | o[0].value = new
partial_of_objects | functools.partial(Rich.get, Rich(v)) | o() | o.args[0].value = new
view_of_objects | d = {'a': Plain(v)}; o = d.values() | next(iter(o)).value | d['a'].value = new
slice_of_a_text | slice('value', None) | float(len(o.start)) | o = slice('b' * n, None)
slice_of_objects | slice(Plain(v), None) | o.start.value | o.start.value = new
property_in_a_list | [property(lambda self: v)] | o[0].fget(None) | v = new
static_method_in_a_list | [staticmethod(lambda: v)] | o[0]() | v = new
class_method_in_a_list | [classmethod(lambda kind: v)] | o[0].__func__(None) | v = new
equal_namespaces | o, other = SimpleNamespace(a=v), SimpleNamespace(a=v) | 2.0 if o == other else 3.0
  | o.b = new
list_in_a_slot | Slotted([v]) | o.value[0] | o.value[0] = new
property_that_the_library_reads
  | p = property(lambda self: v, lambda *_: None); o = type('Own', (nn.LeakyReLU,), {'negative_slope': p})()
  | o(x) | v = 0.1 * new
class_of_a_layer | nn.LeakyReLU(0.1) | o(x) | o.__class__ = nn.ReLU if n % 2 else nn.LeakyReLU
partial_of_a_setting | o = functools.partial(sys.getrecursionlimit); k = o();
    patch.after(lambda: sys.setrecursionlimit(k))
  | o() / 1000 | sys.setrecursionlimit(k + 1000 * n)
partial_of_an_object_in_a_list | [functools.partial(Rich.get, Rich(v))] | o[0]() | o[0].args[0].value = new
protocol | o = Plain(v)\n@typing.runtime_checkable\nclass HasMore(typing.Protocol):\n    more: float
  | 2.0 if isinstance(o, HasMore) else 3.0 | vars(o).update(more=1) if n != 2 else vars(o).pop('more')
timedelta | Plain(v) | datetime.timedelta(seconds=o.value).total_seconds() | o.value = new
exit_stack | Plain(v)
  | with contextlib.ExitStack() as s: return s.enter_context(contextlib.nullcontext(o.value)) | o.value = new
deep_copied_list | Settings(v) | s = copy.deepcopy(o); return s.value + sum(s.more) | o.more.append(n)
module_parameter_count | nn.Sequential(nn.Linear(1, 1)) | float(sum(p.numel() for p in o.parameters()))
  | o.append(nn.Linear(1, 1))
module_text | nn.Sequential(nn.Linear(1, 1)) | len(repr(o)) / 10 | o.append(nn.Linear(1, 1))
module_length | nn.Sequential() | 1.0 + len(o) | o.append(nn.Linear(1, 1))
attribute_of_a_getter_of_another_name | get = getattr; name = 'value'; o = Plain(v) | get(o, name)
  | o.value = new
attribute_of_a_namespace_of_another_name | get = vars; name = 'value'; o = Plain(v) | get(o)[name]
  | o.value = new
attribute_of_a_number | o = type('Gain', (float,), {})(1.0); o.extra = v | o.extra | o.extra = new
attribute_of_a_class_of_classes | o = type('Own', (type,), {'gain': v}); k = o('K', (), {})
  | k.gain | o.gain = new
attribute_of_a_generator | given(rv.Generator(), gain=v) | o.gain | o.gain = new
attribute_of_a_parameter | given(nn.Parameter(rv.ones(3)), gain=v) | o.gain | o.gain = new
item_of_a_subclass_of_list | type('Items', (list,), {})([v]) | o[0] | o[0] = new
partial_set | functools.partial(max, v) | o(0.5) | o.__setstate__((max, (new,), {}, {}))
list_that_holds_itself | o = [v]; o.append(o) | o[1][1][0] | o[0] = new
objects_in_a_circle | o = SimpleNamespace(value=v); o.other = SimpleNamespace(other=o) | o.other.other.value
  | o.value = new
dict_that_holds_its_owner | o = SimpleNamespace(value=v, table={}); o.table['owner'] = o
  | o.table['owner'].value + len(o.table) | o.table.update({n: n}) if n == 2 else setattr(o, 'value', new)
value_set_back_within_one_gap | Plain(v) | o.value | o.value = 5.0; o.value = 1.0 + n // 3
list_item_replaced_by_an_equal_object | [Plain(v)] | o[0].value
  | o[0] = Plain(o[0].value); o[0].value = new if n > 1 else v
attribute_of_the_branch_taken_later | SimpleNamespace(flag=True, b=v) | 1.0 if o.flag else o.b
  | o.flag = False; o.b = new
short_circuit | SimpleNamespace(a=False, b=2.0) | (o.a and o.b) or 1.0 | o.a = n != 2; o.b = 2.0 + n
one_of_a_hundred_values | SimpleNamespace(**{f'v{k}': v for k in range(100)})
  | sum(getattr(o, f'v{k}') for k in range(100)) / 100 | setattr(o, f'v{30 * n}', 5.0)
one_of_a_thousand_items | dict.fromkeys(range(1000), v) | sum(o[k] for k in range(0, 1000, 7)) / 100
  | o[7 * n] = 50.0
""",
    GROWS=GROWS,
)
add_rows("passed/object_", PASSED)
NEUTRAL = table(r"""
item_that_is_not_read | dict.fromkeys(range(10), v) | o[3] | o[4] = 50.0
attribute_that_is_not_read | SimpleNamespace(a=v, b=v) | o.a | o.b = new
attribute_of_the_branch_not_taken | SimpleNamespace(flag=True, b=v) | 1.0 if o.flag else o.b | o.b = new
""")
add_rows("in", NEUTRAL, neutral=NEUTRAL)
UNREAD: dict[str, Row] = {
    "tensor_with_another": ("given(nn.Parameter(rv.ones(3)), a=v, b=v)", "o.a", "o.b = new")
}
add_rows("passed/object_", UNREAD, neutral=UNREAD)

# --- attributes that do not exist when the step is recorded
OWNERS = {
    "object": "Base()",
    "class": "Base",
    "namespace": "SimpleNamespace()",
    "slot": "Empty()",
    "of_thread": "threading.local()",
    "module": "module('staleness_settings')",
    "function": "lambda: 1",
    "layer": "nn.Linear(1, 1)",
    "parameter": "nn.Parameter(rv.ones(1))",
}
READERS = {
    "attribute_error": "try: return o.gain\nexcept AttributeError: return 1.0",
    "bare_except": "try: return o.gain\nexcept: return 1.0",
    "errors_by_name": "try: return o.gain\nexcept ERRORS: return 1.0",
    "suppressed": "with contextlib.suppress(AttributeError): return o.gain\nreturn 1.0",
    "hasattr": "o.gain if hasattr(o, 'gain') else 1.0",
    "getattr": "getattr(o, 'gain', 1.0)",
    "getattr_of_a_computed_name": "getattr(o, ''.join(('ga', 'in')), 1.0)",
}
GAIN = "if n == 2: del o.gain\nelse: o.gain = new"
for number, (owner, make) in enumerate(
    OWNERS.items()
):  # the first with all readers, the others with two in turn
    some = READERS if not number else [list(READERS)[(2 * number + k) % len(READERS)] for k in (0, 1)]
    add_rows("looked_up", {f"{owner}-{how}": (make, READERS[how], GAIN) for how in some})
add_rows("looked_up", {name: (f"{name}()", "o.gain", GAIN) for name in ("Fallback", "FallbackAfterSlot")})

# --- what super() finds
FAMILY = "Top, Middle, Other, Last = family(); o = Last()"
SUPER = {
    "method": ("o.method()", "lambda self: 4.0 + new"),
    "of_class": ("o.of_class()", "classmethod(lambda cls: 4.0 + new)"),
    "value": ("o.value", "property(lambda self: 4.0 + new)"),
}
for name, (read, put) in SUPER.items():
    for place, kind in {"base": "Top", "middle": "Middle", "sibling": "Other"}.items():
        add_rows("looked_up", {f"super-{name}-{place}": (FAMILY, read, f"{kind}.{name} = {put}")})
add_rows("looked_up", {"super_attribute": (FAMILY, "o.method()", "Middle.gain = 6.0 + new")})

# --- objects among the arguments, which the caller changes in place
ARGUMENTS: dict[str, Row] = {
    "namespace": ("SimpleNamespace(f=v)", "o.f", "o.f = new"),
    "dataclass": ("Settings(v)", "o.value", "o.value = new"),
    "slots": ("Slotted(v)", "o.value", "o.value = new"),
    "nested": ("SimpleNamespace(inner=Settings(v))", "o.inner.value", "o.inner.value = new"),
    "list": ("[v]", "o[0]", "o[0] = new"),
    "list_longer": ("[v]", "float(len(o))", "o.append(new)"),
    "dict": ("{'f': v}", "o['f']", "o['f'] = new"),
    "dict_key": ("{'f': v}", "float(len(o))", "o[str(new)] = new"),
    "set": ("{1}", "float(len(o))", "o.add(new)"),
    "nested_list": ("[[v]]", "o[0][0]", "o[0][0] = new"),
    "ordered_dict": ("collections.OrderedDict(f=v)", "o['f']", "o['f'] = new"),
    "deque": ("collections.deque([v])", "o[0]", "o[0] = new"),
    "list_of_an_object": ("SimpleNamespace(values=[v])", "max(o.values)", "o.values.append(new)"),
    "in_a_list": ("[Settings(v)]", "o[0].value", "o[0].value = new"),
    "in_a_dict": ("{'a': Settings(v)}", "o['a'].value", "o['a'].value = new"),
    "method": ("Rich(v).get", "o()", "o.__self__.value = new"),
}


def given(texts, how):
    def build():
        names, small = space(), Small()
        held = function("v", texts[0], names)(1.0)
        read, change = function("o", texts[1], names), function("o, new", texts[2], names)

        def inputs(n):
            return (
                ((*default_inputs(n), held), {})
                if how == "argument"
                else (default_inputs(n), {"config": held})
            )

        step = lambda x, config: small.train(x, read(config))  # noqa: E731
        return Case(step, lambda n: change(held, 1.0 + n), small.watch, inputs)

    return build


for name, texts in ARGUMENTS.items():
    for how in ("argument", "keyword"):
        add(f"calls/object_{name}-{how}", given(texts, how))
