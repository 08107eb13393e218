"""Functions, methods, classes and modules that are rebound or patched, or get new code or defaults."""

from compile.staleness.rows import TWICE, tables

ROWS = r"""
# made | changed -> what the step does
== functions: make | change -> read @ TWICE
globals().update(CHOICE=once) | globals().update(CHOICE=FUNCTIONS[n]) -> CHOICE(1.5)
once | o = FUNCTIONS[n] -> o(1.5)
def o(value): return value * 1.0 | o.__code__ = FUNCTIONS[n].__code__ -> o(1.5)
scaled | o.__defaults__ = (2.0 + n,) -> o(1.5)
def o(value, *, factor=2.0): return value * factor | o.__kwdefaults__ = {'factor': 2.0 + n} -> o(1.5)
def o(value, factors=[2.0]): return value * factors[-1] | o.__defaults__[0].append(2.0 + n) -> o(1.5)
o = closure(2.0) | o.__closure__[0].cell_contents = 2.0 + n -> o(1.5)
o = [closure(2.0)] | o[0] = closure(2.0 + n) -> o[0](1.5)
o, bind = bound_later() | bind(2.0 + n) -> o()
[closure(2.0)] | o.append(lambda v: v + n) -> functools.reduce(lambda factor, call: call(factor), o, 1.0)
o, k = {'a': once, 'b': scaled}, ['a'] | o['b'] = FUNCTIONS[2] if n == 2 else scaled; k[0] = 'bba'[n - 1] ->
    o[k[0]](1.5)
operator.mul | o = (None, operator.add, operator.sub, operator.truediv)[n] -> o(x, 2.0)
!s = {'__builtins__': {'rate': v}}; exec('def o(): return rate', s); o = s['o'] |
    o.__builtins__['rate'] = new -> o()
!Plain(1.0); call = functools.lru_cache(lambda key: o.value) | o.value = new; call.cache_clear() ->
    call('key')
!functools.singledispatch(lambda value: 1.0) | o.register(float, lambda value: value + n) -> o(1.5)
functools.partial(scaled, factor=2.0) | o.keywords.update(factor=2.0 + n) -> o(1.5)
functools.partial(scaled, factor=2.0) | o.__setstate__((scaled, (), {'factor': 2.0 + n}, {})) -> o(1.5)
functools.partial(scaled); o.rate = v | o.rate = new -> o.rate * o(1.5)
functools.partial(scaled); o.rate = v | o.__setstate__((scaled, (), {}, {'rate': new})) -> o.rate * o(1.5)
[functools.partial(Rich.get, Rich(v))] | o[0].args[0].value = new -> o[0]()
[property(lambda self: v)] | v = new -> o[0].fget(None)
[staticmethod(lambda: v)] | v = new -> o[0]()
[classmethod(lambda kind: v)] | v = new -> o[0].__func__(None)
2.5 | patch(builtins, 'pow', (None, min, max, math.atan2)[n]) -> pow(o, 1.5)
[1.0, 2.5] | globals().update(max=(None, min, sum, len)[n]) -> max(o)
globals().update(abs=lambda v: 3.0) |
    globals().pop('abs') if n == 1 else globals().update(abs=lambda v: n * 1.0) -> abs(-1.5)
patch(builtins, 'shown', v) | globals().update(shown=new) if n < 3 else globals().pop('shown') -> shown
math | patch(math, 'sqrt', (None, math.exp, math.sin, math.cos)[n]) -> math.sqrt(2.25)
module(call=once) | o.call = FUNCTIONS[n] -> o.call(1.5)
module('tools', SCALING.format('*')) | o.FACTOR = 2.0 + n -> o.call(1.5)
module('tools', SCALING.format('*')) | exec(SCALING.format('+'), vars(o)); o.FACTOR = 2.0 + n -> o.call(1.5)
module('tools', READING) | o.table[0] = new -> o.read()
imported(patch, value=v) | imported(patch, value=new) ->
    !alone!import staleness_config\nreturn staleness_config.value
package(patch, value=2.0); call = of_package('from .config import value; return value') | o.value = 2.0 + n ->
    !alone!call()
package(patch, value=2.0); call = of_package('from . import config; return config.value') |
    o.value = 2.0 + n -> !alone!call()
imported(patch, 'staleness_a', value=2.0) | o.value = 2.0 + n ->
    !importlib.import_module('staleness_' + 'aa'[:1]).value; !sys.modules['staleness_' + 'aa'[:1]].value
F | patch(F, 'relu', (None, F.tanh, F.gelu, F.sigmoid)[n]) -> F.relu(x)
rv | patch(rv, 'relu', (None, rv.tanh, rv.exp, rv.sigmoid)[n]) -> rv.relu(x)
patch(rv.Tensor, 'tanh', rv.Tensor.tanh) | patch(rv.Tensor, 'tanh', (None, rv.sigmoid, rv.exp, rv.relu)[n]) ->
    x.tanh()
o, leaky = nn.LeakyReLU(0.1), ops.leaky_relu |
    patch(ops, 'leaky_relu', lambda x, *_, **__: leaky(x, 0.1 * new)) -> o(x)
!nn.Linear(3, 3); k = [2.0]; of_layer = sys.modules['ranvier.nn.linear'] |
    k[0] = 1.0 + n\n
    if n == 1: patch(of_layer, 'ops', SimpleNamespace(linear=lambda *args: ops.linear(*args) * k[0])) -> o(x)
Plain(2.0) | o.value = 2.0 + n -> float(np.sqrt(o.value))
    !alone!class Local: factor = o.value\nreturn Local.factor; !alone!Maker(o.value).value
    def local(factor=o.value): return factor + o.value\nreturn local()
!Maker | Maker.__init__ = lambda self: setattr(self, 'value', new) -> Maker().value
Maker(0.0); made_so = Maker | Maker.factor = 5.0 + n -> !alone!made_so().value
o = Plain(2.0); kind = record_with(lambda: o.value) | o.value = 2.0 + n -> !alone!kind().more
== methods: make | change -> read @ TWICE
Base() | Base.call = lambda self, value: value * n * 2 -> o.call(1.5)
Base() | o.call = lambda value: value * n * 2 -> o.call(1.5)
Base() | o.call = types.MethodType(lambda self, value: value * self.factor * n * 2, o) -> o.call(1.5)
Base | o.static = staticmethod(lambda value: value * n * 2) -> o.static(1.5)
Base | o.of_class = classmethod(lambda cls, value: value * n * 2) -> o.of_class(1.5)
Derived() | Base.call = lambda self, value: value * n * 2 -> o.call(1.5)
Base(); call = o.call | o.factor = new -> call(1.5)
one, other = Base(), Base(); other.factor = 4.0; o = Plain(one.call) |
    o.value = (other if n % 2 else one).call -> o.value(1.5)
Plain(Rich(1.0)) | o.value = Rich(new) -> o.value()
Base() | Base.__call__ = lambda self, value: value * 2 * n -> o(1.5)
Derived() | Base.factor = new -> o.kept().factor
First(); o.value = 5.0 | if 'value' in vars(o): del o.value\nelse: o.value = 3.0 -> o.value
Plain(v) | o.__dict__ = {'value': new} -> o.value
Heir() | Heir.__bases__ = (Second if n % 2 else First,) -> o.value; 1.0 + isinstance(o, Second)
    1.0 + issubclass(Heir, Second)
Heir | o.__bases__ = (First, Second) if n % 2 else (First,) -> 1.0 + len(o.__mro__)
Plain(v) | Plain.value = property(lambda self: new) -> o.value
Plain(v) | Plain.value = DataDescriptor(new) -> o.value
!Plain(v) | Plain.__getattribute__ = lambda self, name: new -> o.value
Base() | Base.__getattr__ = lambda self, name: new -> getattr(o, 'value', 1.0)
Plain(v) | Plain.__bool__ = lambda self: n % 2 == 0 -> 2.0 if o else 3.0
Plain(v) | Plain.__len__ = lambda self: (n + 1) % 2 -> 2.0 if o else 3.0
Plain(v) | Plain.__eq__ = lambda self, other: n % 2 == 1 -> 2.0 if o == 1 else 3.0
type('Own', (), {}); k = abc.ABCMeta('M', (), {}); ask = isinstance | k.register(o) ->
    match o():\n    case k(): return 2.0\nreturn 1.0; 2.0 if ask(o(), k) else 1.0
!k = [0]; o = abc.ABCMeta('M', (), {'__subclasshook__': classmethod(lambda *_: k[0] > 0)})
    isinstance(5, o) | k[0] = n % 2\no._abc_caches_clear() -> 2.0 if isinstance(5, o) else 1.0
!Plain(v) | vars(o).update(more=1) if n != 2 else vars(o).pop('more') ->
    2.0 if isinstance(o, HasMore) else 3.0
collections.namedtuple('Pair', 'a b', defaults=(1.0, 2.0)) | o.__new__.__defaults__ = (1.0, 2.0 + n) -> o().b
collections.namedtuple('Pair', 'a b') | o._fields = ('a',) if n % 2 else ('a', 'b') ->
    float(len(o(1, 2)._asdict()))
Rate | o._member_map_['LOW'] = o.HIGH if n % 2 else o(1.0) -> o['LOW'].value
Rate | o._value2member_map_[1.0] = o.HIGH if n % 2 else o.LOW -> o(1.0).value
Rate | o._missing_ = classmethod(lambda kind, value: kind.LOW if n % 2 else kind.HIGH) ->
    try: return o(5.0).value\nexcept ValueError: return 3.0
!type('Hints', (), {'__annotations__': {}}) | o.__annotations__[f'v{n}'] = int ->
    1.0 + len(typing.get_type_hints(o))
def o(): pass | o.__name__ = o.__doc__ = 'a' * n -> float(len(o.__name__)); float(len(o.__doc__ or ''))
type('Kind', (), {}) | o.__name__ = 'a' * n -> float(len(o.__name__))
type('Own', (nn.LeakyReLU,), {'negative_slope': v}); k = o(); del k.negative_slope |
    o.negative_slope = 0.1 * new -> k(x)
type('Own', (nn.LeakyReLU,), {'negative_slope': v}); k = o(0.2) |
    vars(k).pop('negative_slope', None); o.negative_slope = 0.1 * new -> k(x)
type('Base', (), {'p': 0.5}); k = type('Own', (o, nn.Dropout), {})(); del k.p | o.p = 0.1 * new -> k(x)
type('Own', (nn.HuberLoss,), {'delta': 0.5}); k = o(); del k.delta | o.delta = 0.1 * new ->
    x * k(x, rv.zeros(4, 3))
p = property(lambda self: v, lambda *_: None); o = type('Own', (nn.LeakyReLU,), {'negative_slope': p})() |
    v = 0.1 * new -> o(x)
nn.LeakyReLU(0.1) | o.__class__ = nn.ReLU if n % 2 else nn.LeakyReLU -> o(x)
type('Own', (string.Template,), {}); k = o('$a'); p = o.pattern |
    o.pattern = re.compile(p.pattern.replace('[_a-z]', 'z')) if n % 2 else p ->
    1.0 + (k.safe_substitute(a='') == '')
== super: kind | becomes -> name
. make: Top, Middle, Other, Last = family(); o = Last()
. read: o.method() + o.of_class() + o.value
. change: <kind>.<name> = <becomes>
Top | lambda self: 4.0 + new -> method
Middle | lambda self: 4.0 + new -> method
Other | lambda self: 4.0 + new -> method
Top | classmethod(lambda cls: 4.0 + new) -> of_class
Middle | classmethod(lambda cls: 4.0 + new) -> of_class
Top | property(lambda self: 4.0 + new) -> value
Other | property(lambda self: 4.0 + new) -> value
Middle | 6.0 + new -> gain
# special methods that the class gets later: what it has before | name | the method -> what the step reads
== later: before | name | body -> read
. make: k = type('Base', (), dict(<before>)); o = type('Own', (k,), {})
. change: o.__<name>__ = lambda <body>
__float__=lambda s: 2.5 | floor | s: 4 + n -> math.floor(o())
value=1.0 | copy | s: Plain(4.0 + n) -> copy.copy(o()).value
value=1.0 | deepcopy | *_: Plain(4.0 + n) -> copy.deepcopy(o()).value
__mod__=lambda *_: 2.0 | imod | *_: 4.0 + n -> k = o()\nk %= 1\nreturn k
__rshift__=lambda *_: 2.0 | rrshift | *_: 4.0 + n -> k() >> o()
__iter__=lambda s: iter([2]) | bytes | s: bytes([4 + n]) -> float(bytes(o())[0])
value=1.0 | delattr | *_: None -> k = o()\nk.value = 2.0\ndel k.value\nreturn k.value
== unread: make | change -> read
. flags: neutral
Plain(once); o.other = once | o.other = FUNCTIONS[n] -> o.value(1.5)
!Plain(1.0); call = functools.cache(lambda key: o.value); call('key') | o.value = new -> call('key')
"""
tables(ROWS, TWICE=TWICE)
