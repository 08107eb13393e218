"""Steps that read or change a state that is in none of their variables: of threads, files, modules."""

from compile.staleness.judge import Case, add
from compile.staleness.rows import add_rows, function, space, table
from compile.staleness.small import Small

DIGITS = "undone(patch, lambda p=decimal.getcontext().prec: setattr(decimal.getcontext(), 'prec', p))"
LESS = "decimal.getcontext().prec = 5 - n"
PRINTS = (
    "undone(patch, lambda before=np.get_printoptions(): np.set_printoptions(**before), np.array([1.0]) / 3)"
)
ERRORS = "undone(patch, lambda before=np.geterr(): np.seterr(**before))"
FILE = "undone(patch, lambda: None, Path(tempfile.mkdtemp()) / 'flag')"
TEXT = "o = Path(tempfile.mkdtemp()) / 'value'; o.write_text('[1.5]')"
HERE = "o = os.getcwd(); patch.after(lambda: os.chdir(o))"
READS = table(
    r"""
decimal_precision | <DIGITS> | float(ONE / decimal.Decimal(3)) | <LESS>
decimal_made_inside | <DIGITS> | float(decimal.Decimal('1') / 3) | <LESS>
decimal_context_read | <DIGITS> | float(decimal.getcontext().prec) | <LESS>
module_imported_by_a_computed_name | imported(patch, 'staleness_a', value=2.0)
  | importlib.import_module('staleness_' + 'aa'[:1]).value | o.value = 2.0 + n
module_replaced_that_was_imported_by_a_computed_name | imported(patch, 'staleness_b', value=2.0)
  | importlib.import_module('staleness_' + 'bb'[:1]).value | imported(patch, 'staleness_b', value=2.0 + n)
module_found_by_a_computed_name | o, end = imported(patch, 'staleness_c', value=2.0), 'c'
  | sys.modules['staleness_' + end].value | o.value = 2.0 + n
relative_import_of_a_name
  | o = package(patch, value=2.0); call = of_package('from .config import value; return value') | call()
  | o.value = 2.0 + n
relative_import_of_a_module
  | o = package(patch, value=2.0); call = of_package('from . import config; return config.value') | call()
  | o.value = 2.0 + n
weak_references_counted | o, kept = Plain(), [] | 1.0 + weakref.getweakrefcount(o)
  | kept.append(weakref.ref(o, lambda gone: None))
weak_proxy | o = Plain(2.0); proxy = weakref.proxy(o) | proxy.value | o.value = 2.0 + n
array_made_read_only | np.ones(3) | 2.0 if o.flags.writeable else 1.0
  | o.setflags(write=not o.flags.writeable)
array_of_other_strides | np.ones((2, 2)) | float(o.strides[0])
  | o = np.ones((2, 2)).T if n % 2 else np.ones((2, 2))
numpy_errors | <ERRORS> | 2.0 if np.geterr()['divide'] == 'warn' else 1.0
  | np.seterr(divide='ignore' if n % 2 else 'warn')
numpy_errors_of_a_scalar | <ERRORS>; o = np.float64(0.0); np.seterr(divide='ignore')
  | try: return 2.0 if np.float64(1.0) / o > 1 else 3.0\nexcept FloatingPointError: return 1.0
  | np.seterr(divide='raise' if n % 2 else 'ignore')
numpy_print_options | <PRINTS> | float(np.get_printoptions()['precision']) | np.set_printoptions(precision=n)
text_of_an_array | <PRINTS> | float(len(str(o))) | np.set_printoptions(precision=n)
state_of_a_random_state | np.random.RandomState(0) | o.get_state()[2] * 0.01 | o.rand(n)
state_of_a_generator | np.random.default_rng(0) | float(o.bit_generator.state['state']['state'] % 7) + 1
  | o.random(n)
values_of_a_dict | d = {'a': 1.0}; o = d.values() | sum(o) | d.update({'a': new, 'b' * n: 3.0})
keys_of_a_dict | d = {'a': 1.0}; o = d.keys() | float(len(o)) | d.update({'b' * n: 3.0})
items_of_a_dict | d = {'a': 1.0}; o = d.items() | sum(value for _, value in o)
  | d.update({'a': new, 'b' * n: 3.0})
values_within_a_view | d = {'a': [1.0]}; o = d.values() | next(iter(o))[0] | d['a'].insert(0, new)
list_within_a_proxy | types.MappingProxyType({'a': [1.0]}) | o['a'][0] | o['a'].insert(0, new)
sign_of_zero_in_a_deque | collections.deque([0.0]) | math.copysign(2.0, o[0])
  | o[0] = 0.0 if n % 2 == 0 else -0.0
kind_of_one_in_a_set | {1.0} | 2.0 if type(next(iter(o))) is bool else 1.0
  | o.clear(); o.add(True if n % 2 else 1.0)
order_of_an_ordered_dict | collections.OrderedDict(a=1.0, bb=2.0) | float(len(next(iter(o))))
  | o.move_to_end(next(iter(o)))
factory_of_a_default_dict | collections.defaultdict(lambda: 1.0) | d = o.copy(); return d['missing']
  | o.default_factory = lambda: new
name_of_a_function | def o(): pass | float(len(o.__name__)) | o.__name__ = 'a' * n
text_of_a_function | def o(): 'Two.' | float(len(o.__doc__)) | o.__doc__ = 'a' * n
name_of_a_class | type('Kind', (), {}) | float(len(o.__name__)) | o.__name__ = 'a' * n
called_by_starmap | <GET> | [*itertools.starmap(get, [()])][0] | o.set(new)
called_by_a_class | <GET>; k = type('Own', (), {'__call__': get})() | k() | o.set(new)
called_by_a_ufunc | <GET>; k = np.frompyfunc(get, 1, 1) | float(k(5)) | o.set(new)
called_by_vectorize | <GET> | float(np.vectorize(get)(5)) | o.set(new)
called_for_an_axis | <GET> | float(np.apply_along_axis(get, 0, np.ones(1))) | o.set(new)
element_made_in_c | ElementTree.fromstring('<a><b>1</b></a>') | float(o[0].text) | o[0].text = str(1 + n)
element_that_is_counted | ElementTree.fromstring('<a><b/></a>') | float(len(o))
  | o.append(ElementTree.Element('b'))
file_exists | <FILE> | 2.0 if o.exists() else 1.0 | o.touch() if n % 2 else o.unlink()
file_read | <TEXT> | float(o.read_text()[1:-1]) | o.write_text(f'[{new}]')
json_file_read | <TEXT> | with open(o) as file: return json.load(file)[0] | o.write_text(f'[{new}]')
json_text_read | Plain('[1.5]') | json.loads(o.value)[0] | o.value = f'[{new}]'
working_directory | <HERE> | float(len(os.getcwd())) | os.chdir((o, '/', tempfile.gettempdir(), '/')[n])
program_arguments | patch(sys, 'argv', ['a']) | float(len(sys.argv)) | sys.argv.append('b')
recursion_limit | o = sys.getrecursionlimit(); patch.after(lambda: sys.setrecursionlimit(o))
  | sys.getrecursionlimit() / 1000 | sys.setrecursionlimit(o + 1000 * n)
reference_count | o, more = Plain(), [] | float(sys.getrefcount(o) > 40) + 1.0 | more.extend([o] * 50)
thread_name | o = threading.current_thread(); undone(patch, lambda name=o.name: setattr(o, 'name', name))
  | float(len(threading.current_thread().name)) | o.name = 'x' * (30 + n)
garbage_collector_flag | patch.after(gc.enable) | 2.0 if gc.isenabled() else 1.0
  | gc.disable() if n % 2 else gc.enable()
logger_level_changed | o = logging.getLogger('ranvier.staleness'); o.setLevel(logging.WARNING)
  | 2.0 if o.isEnabledFor(logging.INFO) else 1.0 | o.setLevel(logging.INFO if n % 2 else logging.WARNING)
value_decides | None | x * (2.0 if x.sum() > 0 else 3.0)
loss_value_decides | None | x * 2 if (x * x).mean().item() > 1 else x
text_of_a_value_decides | None | x * float(len(str(x)))
format_of_a_mean_decides | None | x * float(f'{x.mean()}'.strip('tensor()') or 0)
text_of_a_parameter_decides | nn.Parameter(rv.ones(3)) | 2.0 if '-' in repr(o) else 3.0
  | o.data.copy_(rv.full((3,), float((-1) ** n)))
memory_statistics | None | 2.0 if rv.memory_stats() else 1.0
random_numbers_of_the_library | None | x + rv.randn(4, 3) * 0.1 | rv.manual_seed(n)
random_integers_of_the_library | None | x[rv.randperm(4)]
seeded_inside_the_step | None | rv.manual_seed(3); return x + rv.randn(4, 3) * 0.1
lists_made_in_the_step | 3 | sum(dict(enumerate([x * float(k) for k in range(o)])).values())
""",
    DIGITS=DIGITS,
    ERRORS=ERRORS,
    FILE=FILE,
    GET="o = contextvars.ContextVar('variable'); get = o.get; o.set(v)",
    HERE=HERE,
    LESS=LESS,
    PRINTS=PRINTS,
    TEXT=TEXT,
)
add_rows("effects", READS)
RAISES = table(r"""
exception_in_some_calls | Plain(1.5) | if not o.value: raise ValueError\nreturn 1.5 | o.value = n % 2 == 0
assertion_in_some_calls | Plain(5) | assert o.value > 3, 'too small'; return 1.5 | o.value = 5 - 2 * n
""")
add_rows("effects", RAISES, raises=True)

# each read gives a new number
CALLS = "o.value = getattr(o, 'value', 0.0) + 1; return o.value"
SOURCES = table(
    r"""
generator | forever() | next(o)
iterator_of_a_list | iter(NUMBERS) | next(o)
iterator_with_a_default | iter(NUMBERS[:3]) | next(o, 9.0)
cycle | itertools.cycle([1.0, 2.0, 3.0]) | next(o)
count | itertools.count(1.0) | next(o)
map_object | map(float, range(1, 30)) | next(o)
enumerate_object | enumerate(NUMBERS) | next(o)[1]
zip_object | zip(NUMBERS, NUMBERS) | next(o)[1]
for_loop_over_a_generator | forever() | [v for v, _ in zip(o, 'ab')][-1]
for_over_an_iterator | iter(NUMBERS) | first(o)
sent_generator | started(summing()) | o.send(1.0)
own_iterator | Counter() | next(o)
own_iterator_in_a_loop | Counter() | first(o)
call_counts | Counter() | o()
property_counts | Counter() | o.value
descriptor_counts | Wheel() | o.value
len_counts | Counter() | float(len(o))
getitem_counts | Counter() | o[0]
cell_counts | calls = 0\ndef o():\n    nonlocal calls\n    calls += 1\n    return float(calls) | o()
global_counts | globals().update(G=0.0) | global G; G += 1; return G
default_counts | def o(calls=[0]):\n    calls[0] += 1\n    return float(calls[0]) | o()
function_attribute_counts | def o(): pass | <CALLS>
class_attribute_counts | Base | <CALLS>
attribute_grows | Plain(0.0) | <CALLS>
counter_counts | collections.Counter() | o['calls'] += 1; return float(o['calls'])
array_changed | np.zeros(1) | o[0] += 1; return float(o[0])
list_pop | list(NUMBERS) | o.pop()
list_append | [] | o.append(1.0); return float(len(o))
dict_grows | {} | o[len(o)] = 1; return float(len(o))
set_grows | set() | o.add(len(o)); return float(len(o))
deque_rotates | collections.deque(NUMBERS) | o.rotate(1); return o[0]
queue | o = queue.SimpleQueue(); any(map(o.put, NUMBERS)) | o.get()
file | o = tempfile.TemporaryFile('w+'); o.write(chr(10).join(map(str, NUMBERS))); o.seek(0)
  | float(o.readline())
text_stream | io.StringIO(chr(10).join(map(str, NUMBERS))) | float(o.readline())
random | None | random.random()
random_choice | None | random.choice(NUMBERS)
random_gauss | None | random.gauss(0, 1)
random_object | random.Random(0).random | o()
numpy_random | None | float(np.random.rand())
numpy_generator | np.random.default_rng(0) | float(o.random())
numpy_generator_normal | np.random.default_rng(0) | float(o.standard_normal())
cache
  | o, keys = [], itertools.cycle([1, 2]); call = functools.lru_cache(1)(lambda k: o.append(k) or
    float(len(o)))
  | call(next(keys))
first_time_only | {} | if o: return 3.0\no['value'] = 3.0\nreturn 2.0
every_other_call | Plain(False) | o.value = not o.value; return 2.0 if o.value else 3.0
every_fifth_call | Counter() | 2.0 if o() % 5 == 0 else 3.0
next_of_a_cycle | itertools.cycle([1.0, 2.0]).__next__ | o()
next_of_a_count | itertools.count().__next__ | 1.0 + o()
next_of_a_list | iter(NUMBERS).__next__ | o()
""",
    CALLS=CALLS,
)
add_rows("effects", SOURCES)
# Sources whose numbers differ from run to run: the test is only that no replay uses an old number.
UNREPEATABLE = {
    "time": "time.time() % 1.0",
    "time_ns": "float(time.time_ns() % 10**6)",
    "perf_counter": "time.perf_counter() % 1.0",
    "monotonic": "time.monotonic() % 1.0",
    "process_time": "time.process_time_ns() % 10**6 * 1.0",
    "datetime_now": "datetime.datetime.now().microsecond * 1.0",
    "uuid": "float(uuid.uuid4().int % 10**6)",
    "urandom": "float(os.urandom(1)[0])",
    "system_random": "random.SystemRandom().random()",
    "unseeded_generator": "float(np.random.default_rng().random())",
}

# --- side effects: of a keeper, with the step's argument and its (loss, y)
LEFT = {
    "counter": "k.calls += 1",
    "list_appended": "k.items.append(1.0)",
    "dict_item": "k.table.update(n=len(k.table) + k.calls)",
    "dict_grows": "k.table[len(k.table)] = 1",
    "text_written": "k.text.write('step ')",
    "print_to_a_file": "print('step', file=k.text, flush=True)",
    "printed_plainly": "print('step')",
    "written_to_the_standard_output": "sys.stdout.write('step ')",
    "logged": "k.logger.info('step %d', 1)",
    "tensor_kept": "k.last = r[1]",
    "tensor_appended": "k.items.append(r[0].detach())",
    "value_kept": "k.last = r[0].item()",
    "value_appended": "k.items.append(float(r[0]))",
    "text_of_tensor": "k.items.append(str(r[0]))",
    "repr_of_tensor": "k.items.append(repr(r[0]))",
    "format_of_tensor": "k.items.append(f'{r[0]}')",
    "format_of_tensor_with_digits": "k.items.append(f'{r[0]:.3f}')",
    "percent_of_tensor": "k.items.append('%s' % r[0])",
    "shape_kept": "k.items.append(tuple(x.shape))",
    "argument_kept": "k.last = x",
    "argument_view_kept": "k.last = x[0]",
    "attribute_set_to_a_new_object": "k.last = [1.0] * len(k.items)",
    "attribute_deleted": "vars(k).pop('gone', None)",
    "numpy_written": "k.items.append(r[0].detach().numpy().copy())",
    "tolist": "k.items.append(r[1].tolist())",
    "bool_of_tensor": "k.items.append(bool(r[0] > 0))",
    "all_finite": "k.items.append(bool(x.isfinite().all()))",
    "mask_of_tensor": "k.items.append(tuple(x[x > 0].shape))",
    "permutation": "k.items.append(rv.randperm(3).tolist())",
    "in_tensor": "k.items.append(0.0 in r[1])",
    "iterated_tensor": "k.items.append(len([v for v in x]))",
    "copied_tensor": "k.items.append(copy.deepcopy(r[1].detach()))",
    "array_of_tensor": "k.items.append(np.asarray(r[1].detach()).copy())",
    "comparison_equal": "k.items.append(rv.equal(x, x * 1.0))",
    "allclose": "k.items.append(bool(rv.allclose(x, x * 1.0)))",
    "random_state": "random.random()",
    "random_state_of_numpy": "np.random.rand()",
    "attribute_of_the_result": "r[0].note = 1",
}


def leaves(effect):
    """The step's factor does not change; its side effects must be those of eager steps."""

    def build(patch):
        small, kept, act = Small(), space()["keeper"](patch), function("k, x, r", effect)

        def step(x):
            result = small.train(x, 1.5)
            act(kept, x, result)
            return result

        return Case(step, None, lambda: [*small.watch, kept, kept.text.getvalue()])

    return build


for name, effect in LEFT.items():
    add(f"effects/left-{name}", leaves(effect))
