"""Steps that read or change what is in none of their variables, that keep results, or have side effects."""

from compile.staleness.rows import TWICE, tables, texts

# Sources whose numbers differ from run to run: the test is only that no replay uses an old number.
UNREPEATABLE = (
    *("time.time() % 1.0", "float(time.time_ns() % 10**6)", "time.perf_counter() % 1.0"),
    *("time.monotonic() % 1.0", "time.process_time_ns() % 10**6 * 1.0", "float(uuid.uuid4().int % 10**6)"),
    *(
        "float(os.urandom(1)[0])",
        "random.SystemRandom().random()",
        "datetime.datetime.now().microsecond * 1.0",
    ),
    "float(np.random.default_rng().random())",
)

ACTS = """
def step(x):
    r = x.sum(), x * 2.0
    <act>
    return r
m = Own(step)
"""
EITHER_STEP = {"": {}, "alone": texts(more=ACTS.strip(), step="compile_step(m, alone=True)")}

ROWS = r"""
# kinds and functions that are given up: the step runs eagerly. made | changed -> read
== given_up: make | change -> read
!undone(patch, lambda p=decimal.getcontext().prec: setattr(decimal.getcontext(), 'prec', p)) |
    decimal.getcontext().prec = 5 - n -> float(decimal.Decimal(1) / 3); float(decimal.Decimal('1') / 3)
    float(decimal.getcontext().prec)
!o, kept = Plain(), [] | kept.append(weakref.ref(o, lambda gone: None)) -> 1.0 + weakref.getweakrefcount(o)
!np.ones(3) | o.setflags(write=not o.flags.writeable) -> 2.0 if o.flags.writeable else 1.0
!np.ones((2, 2)) | o = np.ones((2, 2)).T if n % 2 else np.ones((2, 2)) -> float(o.strides[0])
!undone(patch, lambda before=np.geterr(): np.seterr(**before)) |
    np.seterr(divide='ignore' if n % 2 else 'warn') -> 2.0 if np.geterr()['divide'] == 'warn' else 1.0
undone(patch, lambda before=np.geterr(): np.seterr(**before)); o = np.float64(0.0)
    np.seterr(divide='ignore') | np.seterr(divide='raise' if n % 2 else 'ignore') ->
    try: return 2.0 if np.float64(1.0) / o > 1 else 3.0\nexcept FloatingPointError: return 1.0
!undone(patch, lambda before=np.get_printoptions(): np.set_printoptions(**before), np.array([1.0]) / 3) |
    np.set_printoptions(precision=n) -> float(np.get_printoptions()['precision']); float(len(str(o)))
!np.random.RandomState(0) | o.rand(n) -> o.get_state()[2] * 0.01
!d = {'a': 1.0}; o = d.values() | d.update({'a': new, 'b' * n: 3.0}) -> sum(o)
!d = {'a': 1.0}; o = d.items() | d.update({'a': new, 'b' * n: 3.0}) -> sum(value for _, value in o)
    float(len(o))
!d = {'a': Plain(v)}; o = d.values() | d['a'].value = new -> next(iter(o)).value
!types.MappingProxyType({'a': [1.0]}) | o['a'].insert(0, new) -> o['a'][0]
!collections.deque([0.0]) | o[0] = 0.0 if n % 2 == 0 else -0.0 -> math.copysign(2.0, o[0])
!collections.deque([Plain(v)]) | o[0].value = new -> o[0].value
!collections.deque([v]); get = o.__getitem__ | o.appendleft(new) -> get(0)
{1.0} | o.clear(); o.add(True if n % 2 else 1.0) -> 2.0 if type(next(iter(o))) is bool else 1.0
{Plain(v)} | next(iter(o)).value = new -> next(iter(o)).value
frozenset({Plain(v)}) | next(iter(o)).value = new -> next(iter(o)).value
!slice(Plain(v), None) | o.start.value = new -> o.start.value
!slice('value', None) | o = slice('b' * n, None) -> float(len(o.start))
!collections.OrderedDict(a=1.0, bb=2.0) | o.move_to_end(next(iter(o))) -> float(len(next(iter(o))))
!collections.defaultdict(lambda: 1.0) | o.default_factory = lambda: new -> d = o.copy()\nreturn d['missing']
!o = contextvars.ContextVar('variable'); get = o.get; o.set(v); k = type('Own', (), {'__call__': get})() |
    o.set(new) -> [*itertools.starmap(get, [()])][0]; k(); float(np.frompyfunc(get, 1, 1)(5))
    float(np.vectorize(get)(5))
!ElementTree.fromstring('<a><b>1</b></a>') | o[0].text = str(1 + n) -> float(o[0].text)
!undone(patch, lambda: None, Path(tempfile.mkdtemp()) / 'flag') | o.touch() if n % 2 else o.unlink() ->
    2.0 if o.exists() else 1.0
!o = Path(tempfile.mkdtemp()) / 'value'; o.write_text('[1.5]') | o.write_text(f'[{new}]') ->
    float(o.read_text()[1:-1]); with open(o) as file: return json.load(file)[0]
!Plain('[1.5]') | o.value = f'[{new}]' -> json.loads(o.value)[0]
!o = os.getcwd(); patch.after(lambda: os.chdir(o)) | os.chdir((o, '/', tempfile.gettempdir(), '/')[n]) ->
    float(len(os.getcwd()))
!o = sys.getrecursionlimit(); patch.after(lambda: sys.setrecursionlimit(o)) |
    sys.setrecursionlimit(o + 1000 * n) -> sys.getrecursionlimit() / 1000
!o, more = Plain(), [] | more.extend([o] * 50) -> float(sys.getrefcount(o) > 40) + 1.0
!o = threading.current_thread(); undone(patch, lambda name=o.name: setattr(o, 'name', name)) |
    o.name = 'x' * (30 + n) -> float(len(threading.current_thread().name))
!patch.after(gc.enable) | gc.disable() if n % 2 else gc.enable() -> 2.0 if gc.isenabled() else 1.0
!o = logging.getLogger('ranvier.staleness'); o.setLevel(logging.WARNING) |
    o.setLevel(logging.INFO if n % 2 else logging.WARNING) -> 2.0 if o.isEnabledFor(logging.INFO) else 1.0
!array.array('f', [v]) | o[0] = new -> o[0]; sum(o); o.__getitem__(0)
!bytearray([1] * 2000) | o[0] = o[1500] = 1 + n -> float(o[0]); float(o[1500]); float(o.__getitem__(0))
!memoryview(bytearray([1])) | o[0] = 1 + n -> float(o[0])
!bytearray(struct.pack('f', v)) | o[:] = struct.pack('f', new) -> struct.unpack('f', o)[0]
!ctypes.c_float(1.0) | o.value = new -> o.value
!type('S', (ctypes.Structure,), {'_fields_': (('value', ctypes.c_float),)})(1.0) | o.value = new -> o.value
!np.zeros(1, [('a', 'f4')]) | o['a'] = new -> float(o['a'][0]) + 1.0; float(o[0]['a']) + 2.0
!np.array(v) | o.fill(new) -> float(o); o.__float__()
!np.ones(3) | o.fill(new) -> o[1].item(); o.tolist()[1]; 2.0 if (o > 2.5).any() else 3.0
    (lambda a, b, c: float(a + b))(*o); float(o[1:].base[0]); float(sum(a for a in o)); o.__getitem__(0) * 1.0
    x * len(o) * o
!o = np.empty(1, object); o[0] = [v] | o[0][0] = new -> float(o[0][0])
!np.ones(1 << 18) | o.fill(new) -> float(o[7])
!np.poly1d([1.0, 2.0]) | o.coeffs[0] = new -> float(o(2.0))
Plain(re.compile('a')) | o.value = re.compile('b' if n % 2 else 'ab') -> 2.0 if o.value.match('ab') else 3.0
!Plain(v) | setattr(o, f'more{new}', 1) -> float(len(vars(o))); float(len(''.join(vars(o))))
    float(len(dir(o)))
!Plain(v) | setattr(Plain, f'more{new}', 1) -> float(len(dir(o)))
!given(ValueError(v), more=v) | o.more = new; o.args = (new,) -> o.more; o.args[0]
!Rich(v); get = Rich.get.__get__ | o.value = new -> get(o)()
!def o(a=1.0): return a | o.__defaults__ = (new,) -> o.__defaults__[0]
def o(): return 1.0 | o.__code__ = (lambda: 3.0).__code__ if n % 2 else (lambda: 2.0).__code__ ->
    o.__code__.co_consts[-1]
types.ModuleType('made', 'k') |
    vars(o).pop('k', None); o.__class__ = type('K', (types.ModuleType,), {'k': 2.0}) -> getattr(o, 'k', 1.0)
!nn.Parameter(rv.ones(1)) | o.detach().add_(1.0) -> 1.0 + o._version
Odd(0); get = operator.itemgetter(o) | o.value = n -> get([1.0, 2.0, 3.0, 4.0])
!nn.Parameter(rv.ones(3)) | o.data.copy_(rv.full((3,), float((-1) ** n))) -> 2.0 if '-' in repr(o) else 3.0
!functools.partial(sys.getrecursionlimit); k = o(); patch.after(lambda: sys.setrecursionlimit(k)) |
    sys.setrecursionlimit(k + 1000 * n) -> o() / 1000
patch(sys, 'argv', ['a']) | sys.argv.append('b') -> float(len(sys.argv))
contextlib.nullcontext(Plain(v)) | o.enter_result.value = new ->
    with contextlib.ExitStack() as s: return s.enter_context(o).value
SimpleNamespace(a=v); other = SimpleNamespace(a=v) | o.b = new -> 2.0 if o == other else 3.0
patch.after(lambda: rv.manual_seed(7)) | rv.manual_seed(n) -> x + rv.randn(4, 3) * 0.1
    !1.0 + rv.initial_seed()
# each call gives another number: made -> read
== sources: make -> read @ TWICE
!forever() -> next(o); [v for v, _ in zip(o, 'ab')][-1]
!iter(NUMBERS) -> next(o); next(o, 9.0); [*zip('a', o)][0][1]; o.__next__()
!itertools.cycle([1.0, 2.0, 3.0]) -> next(o)
!map(float, range(1, 30)) -> next(o)
!zip(NUMBERS, NUMBERS) -> next(o)[1]
!summing(); next(o) -> o.send(1.0)
!Counter() -> next(o); [*zip('a', o)][0][1]; o(); o.value; float(len(o)); o[0]; 2.0 if o() % 5 == 0 else 3.0
!type('Wheel', (), {'value': Counter()})() -> o.value
!calls = 0\ndef o():\n    nonlocal calls\n    calls += 1\n    return float(calls) -> o()
!globals().update(G=0.0) -> global G\nG += 1\nreturn G
!def o(calls=[0]):\n    calls[0] += 1\n    return float(calls[0]) -> o()
!def o(): pass -> o.value = getattr(o, 'value', 0.0) + 1\nreturn o.value
!Base -> o.factor += 1.0\nreturn o.factor
!Plain(0.0) -> o.value += 1.0\nreturn o.value; o.value = not o.value\nreturn 2.0 if o.value else 3.0
!collections.Counter() -> o['calls'] += 1\nreturn float(o['calls'])
!np.zeros(1) -> o[0] += 1\nreturn float(o[0])
!list(NUMBERS) -> o.pop()
![] -> o.append(1.0)\nreturn float(len(o))
!{} -> o[len(o)] = 1\nreturn float(len(o)); if o: return 3.0\no['value'] = 3.0\nreturn 2.0
!set() -> o.add(len(o))\nreturn float(len(o))
!collections.deque(NUMBERS) -> o.rotate(1)\nreturn o[0]
!queue.SimpleQueue(); any(map(o.put, NUMBERS)) -> o.get()
!tempfile.TemporaryFile('w+'); o.write(chr(10).join(map(str, NUMBERS))); o.seek(0) -> float(o.readline())
!io.StringIO(chr(10).join(map(str, NUMBERS))) -> float(o.readline())
!None -> random.random(); random.choice(NUMBERS); random.gauss(0, 1); float(np.random.rand())
    x[rv.randperm(4)]
!random.Random(0).random -> o()
!np.random.default_rng(0) -> float(o.random()); float(o.standard_normal())
!c = []; f = nn.Linear.forward; o = nn.Linear(3, 3)
    patch(nn.Linear, 'forward', lambda self, x: (c.append(1), f(self, x) * len(c))[1]) -> o(x)
!c = []; f = nn.Module.__call__; o = nn.Linear(3, 3)
    patch(nn.Module, '__call__', lambda self, x: (c.append(1), f(self, x) * len(c))[1]) -> o(x)
!o, keys = [], itertools.cycle([1, 2])
    call = functools.lru_cache(1)(lambda k: o.append(k) or float(len(o))) -> call(next(keys))
!rv -> x * (2.0 if x.sum() > 0 else 3.0); x * 2 if (x * x).mean().item() > 1 else x; x * float(len(str(x)))
    x * float(f'{x.mean()}'.strip('tensor()') or 0); rv.manual_seed(3)\nreturn x + rv.randn(4, 3) * 0.1
== sources: make -> read
rv.float64 -> x.to(o) + rv.finfo(x.dtype).eps if x.dtype.is_floating_point else x; x if x.dtype == o else -x
    x * rv.ones(3, dtype=rv.promote_types(x.dtype, rv.int64))
None -> 2.0 if rv.memory_stats() else 1.0; x + rv.randn(4, 3) * 0.1
type('Out', (), {'__init__': lambda self, y: super(o, self).__setattr__('y', y)}) -> o(1.5).y
3 -> sum(dict(enumerate([x * float(k) for k in range(o)])).values())
# side effects of a keeper `k`, with the step's argument and its (loss, y); the same in each call but for them
# what a step stores and does not read; the caller takes it away
== stores: kind -> act @ EITHER_STEP
. make: k = keeper(patch); k.called, count = 0, [0]; patch(KEEP, 'called', 0)
.. def of_closure():
..     nonlocal count
..     count = [1]
.. def of_globals():
..     global G
..     G = 1
. change: k.called = count[0] = KEEP.called = 0; k.items.clear(); k.table.clear(); globals().update(G=None)
. more: def step(x):
..     r = small.train(x, 1.5)
..     <act>
..     return r
. step: step
. watch: [*small.watch, k, KEEP.called, count, G]
. flags: neutral
effect -> !k.called = 1; !k.items[:] = [1]; !k.table['called'] = 1; !alone!count[0] = 1; !of_closure()
    !alone!KEEP.called = 1; !alone!of_globals(); !globals().update(G=1); !setattr(k, 'called', 1)
    !vars(k)['called'] = 1; !k.__dict__.update(called=1); !object.__setattr__(k, 'called', 1)
    !k.__setattr__('called', 1); !type(k).__setattr__(k, 'called', 1)
    !functools.partial(setattr, k)('called', 1)
    !with contextlib.ExitStack() as stack: stack.callback(setattr, k, 'called', 1)
    !any(map(setattr, [k], ['called'], [1])); !k.items.append(1) if not k.items else None
== effects: kind -> act @ EITHER_STEP
. make: k = keeper(patch)
. more: def step(x):
..     r = small.train(x, 1.5)
..     <act>
..     return r
. step: step
. watch: [*small.watch, k, k.text.getvalue()]
!effect -> k.calls += 1; k.items.append(1.0); k.table.update(n=len(k.table) + k.calls)
    k.table[len(k.table)] = 1; k.text.write('step '); print('step', file=k.text, flush=True); print('step')
    sys.stdout.write('step '); k.logger.info('step %d', 1); k.last = r[1]; k.items.append(r[0].detach())
    k.last = r[0].item(); k.items.append(float(r[0])); k.items.append(str(r[0])); k.items.append(repr(r[0]))
    k.items.append(f'{r[0]}'); k.items.append(f'{r[0]:.3f}'); k.items.append('%s' % r[0])
    k.items.append(tuple(x.shape)); k.last = x; k.last = x[0]; k.last = [1.0] * len(k.items)
    vars(k).pop('gone', None); k.items.append(r[1].tolist()); k.items.append(r[0].detach().numpy().copy())
    k.items.append(bool(r[0] > 0)); r[0].note = 1; random.random(); k.items.append(bool(x.isfinite().all()))
    k.items.append(tuple(x[x > 0].shape)); np.random.rand(); k.items.append(rv.randperm(3).tolist())
    k.items.append(0.0 in r[1]); k.items.append(len([v for v in x]))
    k.items.append(copy.deepcopy(r[1].detach())); k.items.append(np.asarray(r[1].detach()).copy())
    k.items.append(rv.equal(x, x * 1.0)); k.items.append(bool(rv.allclose(x, x * 1.0)))
# Tensors that the step changes, and the caller between two calls
== changing: kind -> act @ EITHER_STEP
. make: o = nn.Linear(3, 3); t = rv.zeros(3)
. each: o.weight.detach().mul_(1.5)
. more: def step(x):
..     r = x.sum(), x * 2.0
..     <act>
..     return r
. step: step
. watch: [o, t]
tensor -> t.mul_(0.5).add_(x.mean(0), alpha=0.5); !t.copy_(x.mul_(0.5).mean(0)); o.weight.detach().mul_(0.5)
    !nn.init.xavier_uniform_(o.weight); !nn.init.normal_(o.weight); !nn.init.eye_(o.weight)
    !nn.init.orthogonal_(o.weight)
== kept: way | look -> which
. make: k, w = Keeper(), small.w
.. def keep(): pass
.. keep.last = None
. more: def step(x):
..     loss, y = small.train(x, 1.5)
..     t = <which>
..     <way>
..     return loss, y
. step: step
. watch: [*small.watch, <look>]
% SOME
    !x; !loss.detach(); !y * 2.0
% ALL
    !x; !loss.detach(); !y * 2.0; !x[0]; !x * 1.0; !loss; !y[0]; !w.grad; !w.grad.clone(); !w.detach().clone()
    !rv.randn(2)
k.last = t | k.last -> <ALL>
k.items.append(t) | k.items -> <ALL>
setattr(k, 'inner', SimpleNamespace(last=t)) | k.inner.last -> <SOME>
Keeper.shared = t | Keeper.shared -> <SOME>
k.items[:] = [t] | k.items -> <SOME>
k.table.update(last=t) | k.table -> <SOME>
k.last = (t, 1) | k.last -> <SOME>
KEEP.last = t | KEEP.last -> <SOME>
keep.last = t | keep.last -> <SOME>
k.last = lambda: t | k.last and k.last() -> <SOME>
k.last = (circle := [t]).append(circle) | k.last -> x; loss.detach(); y * 2.0
!k.last = t.detach().numpy() | k.last -> loss.detach(); y * 2.0
k.last = weakref.ref(t) | callable(k.last) and k.last() -> <SOME>
"""
tables(ROWS, TWICE=TWICE, EITHER_STEP=EITHER_STEP)
