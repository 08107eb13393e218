"""Values of several kinds, the places from which a step reads them, and how these places are changed."""

from compile.staleness.rows import TWICE, tables, texts

# kinds of values: four values, the number that a step makes of one
KINDS = {
    "float": texts(values="2.0, 3.0, 2.0, -1.5"),
    "text": texts(values="'relu', 'tanh', 'gelu', 'relu'", use="{'relu': 1.0, 'tanh': 2.0, 'gelu': 3.0}[v]"),
    "int": texts(values="2, 3, 1000, 2"),
    "flag": texts(values="True, False, True, False", use="2.0 if v else 0.5"),
    "none": texts(values="None, 2.0, None, 3.0", use="1.0 if v is None else v"),
    "zeros": texts(values="0.0, -0.0, 0.0, -0.0"),
    "nan": texts(values="1.0, NAN, 2.0, NAN"),
    "one": texts(values="1, True, 1.0, True", use="{bool: 2.0, int: 3.0, float: 4.0}[type(v)] * v"),
    "huge_int": texts(values="10**40, 10**40 + 1, 10**12, 10**12 + 1", use="v % 1000 + 1.0"),
    "close_floats": texts(values="1.0, 1.0 + 2**-20, INF, 1.0 - 2**-20"),
    "complex": texts(values="1j, 1 + 1j, 2 + 1j, 1j", use="v.real + 1.0"),
    "bytes": texts(values="b'a', b'b', b'cc', b'a'", use="float(v[0] - 90)"),
    "tuple": texts(values="(1.0, 2.0), (1.0, 3.0), (2.0,), (1.0, 2.0)", use="float(sum(v))"),
    "function": texts(values="abs, float, lambda z: 2 * z, abs", use="v(1.5)"),
    "range": texts(values="range(2), range(3), range(0, 6, 2), range(2)", use="float(sum(v))"),
}
# where a container or an object is: in a closure, an argument, in a model, in the loss of a Trainer
TAKEN = "lambda x, o: small.train(x, read(o))"
AS_KEYWORD = texts(step=TAKEN, inputs="(default_inputs(n), {'o': o})")
IN_MODEL = texts(more="m = Configured(o, read)", step="descends(squares(m), sgd(m, 0.05))", watch="m")
FIT = texts(more="t = regression(compiled, read)", step="lambda: fitted(t, 'callback', put, Z)", inputs="()")
WAYS = {
    "": {},
    "argument": texts(takes="o", step=TAKEN, inputs="(*default_inputs(n), o)"),
    "keyword": AS_KEYWORD | texts(takes="o"),
    "model": IN_MODEL | texts(takes="o"),
    "loss": FIT | texts(watch="[t.model, t.optimizer]", flags="within once"),
    "alone": IN_MODEL | texts(takes="o", step="compile_step(m, alone=True)"),
}

ROWS = r"""
# made | changed -> read
== places: make | change -> read @ KINDS
globals().update(G=v) | globals().update(G=new) -> !taped!G
v | o = new -> !taped!o; (lambda: (lambda: o)())()
def o(v=v): return v | o.__defaults__ = (new,) -> o()
def o(*, v=v): return v | o.__kwdefaults__.update(v=new) -> o()
module(value=v) | o.value = new -> o.value
imported(patch, value=v) | o.value = new -> import staleness_config\nreturn staleness_config.value
    from staleness_config import value\nreturn value
Plain(v) | o.value = new -> !taped!o.value
{'value': v} | o.update(value=new) -> o['value']
[1.0, v, 2.0] | o[1] = new -> o[1]
!o, d = module(), {'value': v}\no.__getattr__ = lambda name: d[name] | d.update(value=new) -> o.value
# containers and objects, also as an argument, as a keyword, in a model, in the loss function of a Trainer
== containers: make | change -> read @ WAYS
Plain(v) | o.value = new -> !taped!o.value; !vars(o)['value']; !,loss!o.__dict__['value']
    !loss!getattr(o, 'value'); copy.copy(o).value; !float('{0.value}'.format(o)); float(f'{o.value:.2f}')
    !alone!float(max([o, Plain(2.5)], key=lambda p: p.value).value); !sum(vars(o).values())
    1.0 if o.value < 2.5 else 0.5; !alone!sum(1.0 for _ in range(int(o.value)))
    !operator.attrgetter('value')(o); !loss!getattr(o, ''.join(('val', 'ue'))); !eval('o.value', {'o': o})
    datetime.timedelta(seconds=o.value).total_seconds(); float(string.Template('$a').substitute(a=o.value))
Rich(v) | o.value = new -> o.get(); o(); float(str(o)); float('%s' % o); sum(map(Rich.get, [o]))
    !alone!sorted([Rich(2.5), o])[0].value; Rich.get(o); !operator.methodcaller('get')(o)
    with o as w: return w
Rich(v).get | o.__self__.value = new -> o()
{'value': v} | o.update(value=new) -> o['value']; o.get('value', 9.0); list(o.values())[0]
    [w for name, w in o.items() if name == 'value'][0]; (lambda value: value)(**o)
    operator.itemgetter('value')(o); try: return o['missing']\nexcept KeyError: return o['value']
    match o:\n    case {'value': w}: return w
{'a': 1.0} | o[str(new)] = new -> float(len(o))
{'a': {'b': [{'value': v}]}} | o['a']['b'][0]['value'] = new -> o['a']['b'][0]['value']
[1.0, v] | o[1] = new -> o[-1]; (lambda a, b: b)(*o); [w for w in o][-1]; !alone!tuple(w for w in o)[-1]
    o[1:2][0]; dict(zip(['a', 'b'], o))['b']; [w for i, w in enumerate(o) if i == 1][0]
    functools.reduce(lambda a, b: b, o); _, w = o\nreturn w
    !alone!def all_of(): yield from o\nreturn list(all_of())[-1]
[1.0] | o.append(new) -> o[-1]; float(len(o)); max(o)
[[v]] | o[0][0] = new -> o[0][0]
([v],) | o[0][0] = new -> o[0][0]
[v]; o.append(o) | o[0] = new -> !argument,keyword!o[1][1][0]
[Settings(v)] | o[0].value = new -> o[0].value
{'a': Settings(v)} | o['a'].value = new -> o['a'].value
Settings(v) | o.value = new -> o.value; !dataclasses.asdict(o)['value']; !dataclasses.astuple(o)[0]
    !alone!dataclasses.replace(o).value; !alone!2.0 if o == Settings(1.0) else 3.0 + o.value
    !match o:\n    case Settings(w, _): return w; !loss!float(repr(o)[15:18])
Settings(v) | o.more.append(n) -> s = copy.deepcopy(o)\nreturn s.value + sum(s.more)
SlottedSettings(v) | o.value = new -> o.value
SimpleNamespace(inner=SimpleNamespace(value=v)) | o.inner.value = new -> o.inner.value
SimpleNamespace(values=[v]) | o.values.append(new) -> max(o.values)
Plain(Named(v)) | o.value = Named(new) -> o.value.value
Plain((1.0, (v, 2.0))) | o.value = 1.0, (new, 2.0) -> o.value[1][0]
Slotted([v]) | o.value[0] = new -> o.value[0]
type('Own', (dict,), {'__getattr__': dict.__getitem__})(rate=v) | o['rate'] = new -> o.rate; o['rate']
Tree({'a': {'rate': v}}) | o._content['a'].update(rate=new) -> !alone!o.a.rate; !alone!o['a']['rate']
argparse.Namespace(rate=v) | o.rate = new -> o.rate; !vars(o)['rate']
Plain(f'{v},2') | o.value = f'{new},2' -> float(o.value.split(',')[0])
Plain('exp') | o.value = 'log1p' if n % 2 else 'exp' -> !loss!getattr(rv, o.value)(rv.ones(1))
!collections.OrderedDict(f=v) | o['f'] = new -> o['f']
!collections.deque([v]) | o[0] = new -> o[0]
{1} | o.add(new) -> !loss!float(len(o))
!o = configparser.ConfigParser(); o.read_dict({'train': {'rate': str(v)}}) |
    o.set('train', 'rate', str(new)) -> float(o['train']['rate']); o.getfloat('train', 'rate')
functools.partial(functools.partial(lambda a, b: a * b, 2.0), b=v) | o.keywords.update(b=new) -> !loss!o()
rv.full((1,), v) | o.fill_(new) -> o
!np.full(1, v) | o.fill(new) -> float(o[0])
== places: make | change -> read @ TWICE
Plain(Plain(v)) | o.value.value = new -> o.value.value
Plain(Plain(v)) | o.value = Plain(new) -> o.value.value
Plain(Plain(Plain(Plain(v)))) | o.value.value.value.value = new -> o.value.value.value.value
type('Own', (Plain,), {'hidden': property(lambda self: self.value)})(v) | o.value = new -> o.hidden
Base(); Base.value = property(lambda self: v) | Base.value = property(lambda self: new) -> o.value
!type('Own', (Plain,), {'__getattribute__': lambda self, name: object.__getattribute__(self, 'value')})(v) |
    o.value = new -> o.other
Base(); Base.value = Descriptor(v) | vars(Base)['value'].kept = new -> o.value
!k = functools.cached_property(lambda self: self.gain)
    o = type('Own', (Plain,), {'cached': k, 'gain': v})() |
    k.__set_name__(type(o), 'cached') if n > 3 else 0; type(o).gain = new; vars(o).pop('cached', None) ->
    o.cached
Derived(); Base.value = v | Base.value = new -> o.value; Base.value; Derived.value; o.of_type()
Derived(); Base.value = v | Derived.value = new -> o.value
Derived(); Base.value = v | o.value = new -> o.value
Derived(); Base.value = v | o.__class__ = type('Other', (Derived,), {'value': new}) -> o.value
Base; Base.value = v; o.of_class = classmethod(lambda cls: cls.value) | Base.value = new -> o.of_class()
SubRich(v) | o.value = new -> o.get()
Meta('K', (), {'hidden': v}) | o.hidden = new -> o.value
Frozen(v) | o = dataclasses.replace(o, value=new) -> o.value
Frozen(v) | vars(o).update(value=new) -> !alone!sum(getattr(o, f.name) for f in dataclasses.fields(o))
    o.value
Plain(Pair(0, v)) | o.value = o.value._replace(value=new) -> o.value.value
[1.0, Plain(Color.RED), {Color.RED: v}] |
    o[2].update({Color.GREEN: new, Color.RED: new}); o[1].value = Color.GREEN -> o[2][o[1].value]
{'a': {'value': v}} | o.update(a={'value': new}) -> o['a']['value']
[{'a': v}, Plain('a')] | o[0].update(b=new, a=new); o[1].value = 'b' -> o[0][o[1].value]
!collections.defaultdict(float, value=v) | o['value'] = new -> o['value']
collections.UserDict(value=v) | o['value'] = new -> o['value']
collections.ChainMap({}, {'value': v}) | o['value'] = new -> o['value']
collections.Counter(value=v) | o['value'] = new -> o['value']
type('Config', (dict,), {})(value=v) | o['value'] = new -> o['value']
type('Items', (list,), {})([v]) | o[0] = new -> o[0]
!d = {'value': v}; o = types.MappingProxyType(d) | d.update(value=new) -> o['value']
OddList([1.0]); o.hidden = v | o.hidden = new -> o[0]
type('Own', (Plain,), {'__getitem__': lambda self, i: self.value})(v) | o.value = new -> o[0]
!Plain(Plain(v)); get = operator.attrgetter('value.value') | o.value.value = new -> get(o)
Plain(v); which = Plain('value') | o.value = new -> getattr(o, which.value)
!Plain(v); get = vars; name = 'value' | o.value = new -> get(o)[name]
functools.partial(lambda value: value, value=v) | o.keywords.update(value=new) -> o()
Plain(functools.partial(lambda value: value, v)) | o.value = functools.partial(o.value.func, new) -> o.value()
[lambda: v] | o[0] = lambda: new -> o[0]()
Plain(lambda: v) | o.value = lambda: new -> o.value()
def o(): return o.value\no.value = v | o.value = new -> o()
Plain(v); call = wrapping(lambda: o.value) | o.value = new -> call(); next(iter(map(lambda _: o.value, [0])))
k = {'value': v}; o = Plain(); o.__dict__ = k | k.update(value=new) -> o.value
patch(builtins, 'staleness_value', v) | builtins.staleness_value = new -> staleness_value
patch(sys, 'staleness_value', v) | sys.staleness_value = new -> sys.staleness_value
patch(sys, 'staleness_value', [v]) | sys.staleness_value[0] = new -> sys.staleness_value[0]
!contextvars.ContextVar('variable', default=v) | o.set(new) -> o.get()
!threading.local(); o.value = v | o.value = new -> o.value
!type('Own', (threading.local,), {})(); o.value = v | o.value = new -> o.value
{'value': v}; get = o.get | o.update(value=new) -> get('value')
!Plain(v); r = weakref.ref(o) | o.value = new -> r().value
!Plain(2.0); r = weakref.proxy(o) | o.value = 2.0 + n -> r.value
patch.item(os.environ, 'STALENESS', str(v)) | os.environ['STALENESS'] = str(new) ->
    float(os.environ['STALENESS']); !float(os.getenv('STALENESS', '')); float(os.environ.get('STALENESS', ''))
# 1024 items are compared, more are not
[v] * 1024 | o[1 + n] = new -> sum(o)
![v] * 1025 | o[1020] = new -> o[1020]
(v,) * 1024 | o = (new,) * 1024 -> o[7]
!(v,) * 1025 | o = (new,) * 1025 -> o[7]
!dict.fromkeys(range(1025), v) | o[7] = new -> o[7]
dict.fromkeys(range(1024), v) | o[7 * n] = 50.0 -> !alone!sum(o[k] for k in range(0, 1000, 7)) / 100
SimpleNamespace(**{f'v{k}': v for k in range(100)}) | setattr(o, f'v{30 * n}', 5.0) ->
    !alone!sum(getattr(o, f'v{k}') for k in range(100)) / 100
SimpleNamespace(value=v); o.other = SimpleNamespace(other=o) | o.value = new -> o.other.other.value
Plain(v) | o.value = 5.0; o.value = 1.0 + n // 3 -> o.value
[Plain(v)] | o[0] = Plain(o[0].value); o[0].value = new if n > 1 else v -> o[0].value
SimpleNamespace(flag=True, b=v) | o.flag = False; o.b = new -> 1.0 if o.flag else o.b
SimpleNamespace(a=False, b=2.0) | o.a = n != 2; o.b = 2.0 + n -> (o.a and o.b) or 1.0
type('Gain', (float,), {})(1.0); o.extra = v | o.extra = new -> o.extra
type('Own', (type,), {'gain': v}); k = o('K', (), {}) | o.gain = new -> k.gain
!given(rv.Generator(), gain=v) | o.gain = new -> o.gain
given(nn.Parameter(rv.ones(3)), gain=v) | o.gain = new -> o.gain
optim.SGD([nn.Parameter(rv.ones(1))], lr=0.1); o.gain = v | o.gain = new -> o.gain
# by names that are made at run time, or by functions in C
o = Plain(Plain(v)); path = ['value', 'value']; part = functools.partial; look = object.__getattribute__
    held = [getattr]; bound = types.MethodType(getattr, o.value); taken = part(getattr, o.value)
    reduced = part(functools.reduce, getattr) | o.value.value = new -> functools.reduce(getattr, path, o)
    functools.reduce(getattr, 'value.value'.split('.'), o); functools.reduce([getattr][0], path, o)
    part(getattr, o.value)(path[1]); types.MethodType(getattr, o.value)(path[1])
    getattr.__call__(o.value, path[1]); [*map(getattr, [o.value], path[1:])][0]
    [*itertools.starmap(getattr, [(o.value, path[1])])][0]; [*itertools.accumulate([o, *path], getattr)][-1]
    !functools.reduce(look, path, o); !functools.reduce(held[0], path, o); !look(o.value, ''.join('value'))
    staticmethod(getattr)(o.value, ''.join('value')); ![*map(look, [o.value], path[1:])][0]; !reduced(path, o)
    !part(bound)(path[1]); !taken(path[1]); !bound(path[1]); !o.value.__getattribute__(path[1])
    !operator.methodcaller('__getattribute__', path[1])(o.value)
    !float(string.Formatter().format('{0.value}', o.value))
{'a': {'b': v}}; path = ['a', 'b'] | o['a']['b'] = new -> functools.reduce(operator.getitem, path, o)
    operator.itemgetter(path[1])(o['a'])
Renamed(v) | o.value = new -> o.size; getattr(o, 'val' + 'ue'); getattr(o, f'si{"ze"}')
Renamed(v); o.other = v | Renamed.names['size'] = ('value', 'other')[n % 2]; o.other = new -> o.size
Renamed(v); o.other = 5.0 | o.names = {'size': 'other'}; o.other = new -> o.size
!Plain(v) | o.__dict__.update(gain=new) -> o.__dict__['gain'] if 'gain' in o.__dict__ else 1.0
logging.getLogger('ranvier.staleness'); patch(o, 'disabled', False) | o.disabled = n % 2 == 1 ->
    2.0 if o.disabled else 3.0
Plain(v) | o.value = new -> !alone!Output(y=o.value, more=1.0).y; !alone!Output(y=1.0, more=o.value)['more']
Output | o.__post_init__ = lambda self: self.update(y=new) -> !alone!o(y=1.0, more=2.0)['y']
Base | o.call = (lambda self: 1, lambda self, value: 1, lambda self, a, b=1: 1)[n % 3] ->
    float(len(inspect.signature(o.call).parameters)); float(o.call.__code__.co_argcount)
    float(o().call.__func__.__code__.co_argcount)
patch(rv.relu, 'gain', v) | rv.relu.gain = new -> rv.relu.gain
patch(nn.Linear, 'gain', v) | nn.Linear.gain = new -> nn.Linear.gain
rv.compile(lambda x: x * 1.0); o.gain = v | o.gain = new -> o.gain
nn.Parameter(rv.ones(3)) | o.sum = lambda: new -> o.sum() * 1.0
nn.Linear(3, 3) | o.weight.mean = lambda: new -> o.weight.detach().mean() * 0 + o.weight.mean()
optim.SGD([nn.Parameter(rv.ones(3))], lr=0.5) | o.state = dict.fromkeys(range(n)) -> 1.0 + len(o.state)
optim.SGD([nn.Parameter(rv.ones(3))], lr=0.5) | o.state[n] = 'text' -> 1.0 + len(o.state)
optim.SGD([nn.Parameter(rv.ones(3))], lr=0.5) | o.param_groups = [{'lr': new}] -> o.param_groups[0]['lr']
== not_read: make | change -> read
. flags: neutral
dict.fromkeys(range(10), v) | o[4] = 50.0 -> o[3]
SimpleNamespace(a=v, b=v) | o.b = new -> o.a
SimpleNamespace(flag=True, b=v) | o.b = new -> 1.0 if o.flag else o.b
given(nn.Parameter(rv.ones(3)), a=v, b=v) | o.b = new -> o.a
# what is deleted, and put back at the second change: the step raises meanwhile
== removed: make | gone | back -> read @ TWICE
. change: if n % 2:
..     <gone>
.. else:
..     <back>
. flags: raises
Plain(v) | del o.value | o.value = new -> o.value
{'value': v} | o.clear() | o.update(value=new) -> o['value']
[v] | o.clear() | o.append(new) -> o[0]
globals().update(G=v) | globals().pop('G') | globals().update(G=new) -> G
v | del o | o = new -> o
Rich(v); Rich.get2 = Rich.get | del Rich.get2 | Rich.get2 = lambda self: new -> o.get2()
module(value=v) | del o.value | o.value = new -> o.value
imported(patch, value=v) | sys.modules.pop('staleness_config') |
    o.value = new; sys.modules['staleness_config'] = o ->
    !alone!import staleness_config\nreturn staleness_config.value
Plain(v) | o.value = None | o.value = new -> o.value * 2.0
# an attribute that does not exist at first: owner -> ways to read it
== later: make -> read @ TWICE
. change: if n == 2: del o.gain
.. else: o.gain = new
Base() -> try: return o.gain\nexcept AttributeError: return 1.0; try: return o.gain\nexcept: return 1.0
    o.gain if hasattr(o, 'gain') else 1.0; try: return o.gain\nexcept ERRORS: return 1.0
    getattr(o, 'gain', 1.0); with contextlib.suppress(AttributeError): return o.gain\nreturn 1.0
    getattr(o, ''.join(('ga', 'in')), 1.0)
Base -> try: return o.gain\nexcept AttributeError: return 1.0; getattr(o, 'gain', 1.0)
SimpleNamespace() -> try: return o.gain\nexcept AttributeError: return 1.0
    o.gain if hasattr(o, 'gain') else 1.0
type('Empty', (), {'__slots__': ('gain',)})() -> try: return o.gain\nexcept AttributeError: return 1.0
    getattr(o, 'gain', 1.0)
!threading.local() -> try: return o.gain\nexcept AttributeError: return 1.0; getattr(o, 'gain', 1.0)
module('staleness_settings') -> try: return o.gain\nexcept AttributeError: return 1.0; getattr(o, 'gain', 1.0)
lambda: 1 -> try: return o.gain\nexcept AttributeError: return 1.0; getattr(o, 'gain', 1.0)
nn.Linear(1, 1) -> try: return o.gain\nexcept AttributeError: return 1.0; getattr(o, 'gain', 1.0)
nn.Parameter(rv.ones(1)) -> try: return o.gain\nexcept AttributeError: return 1.0; getattr(o, 'gain', 1.0)
type('Own', (), {'__getattr__': lambda self, name: 1.0})() -> o.gain
!type('Own', (), {'__slots__': ('gain',), '__getattr__': lambda self, name: 1.0})() -> o.gain
"""
tables(ROWS, KINDS=KINDS, WAYS=WAYS, TWICE=TWICE)
