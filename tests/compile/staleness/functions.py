"""Functions, methods, classes and caches that are rebound or patched, or get new code or defaults."""

import ranvier as rv
from compile.staleness.judge import Case, add, scenario
from compile.staleness.rows import Row, add_rows, function, space, table
from compile.staleness.small import Small, descends, squares
from ranvier import nn

ROWS = table(r"""
global_function_rebound | globals().update(CHOICE=once) | CHOICE(1.5) | globals().update(CHOICE=FUNCTIONS[n])
function_in_a_cell_rebound | once | o(1.5) | o = FUNCTIONS[n]
code_of_a_function_replaced | def o(value): return value * 1.0 | o(1.5) | o.__code__ = FUNCTIONS[n].__code__
defaults_replaced | scaled | o(1.5) | o.__defaults__ = (2.0 + n,)
keyword_defaults_replaced | def o(value, *, factor=2.0): return value * factor | o(1.5)
  | o.__kwdefaults__ = {'factor': 2.0 + n}
mutable_default | def o(value, factors=[2.0]): return value * factors[-1] | o(1.5)
  | o.__defaults__[0].append(2.0 + n)
content_of_a_cell_of_a_helper | def make(factor): return lambda value: value * factor\no = make(2.0) | o(1.5)
  | o.__closure__[0].cell_contents = 2.0 + n
another_closure_of_the_same_code | def make(factor): return lambda value: value * factor\no = [make(2.0)]
  | o[0](1.5) | o[0] = make(2.0 + n)
method_replaced_on_the_class | Base() | o.call(1.5) | Base.call = lambda self, value: value * n * 2
method_replaced_on_the_instance | Base() | o.call(1.5) | o.call = lambda value: value * n * 2
method_set_with_method_type | Base() | o.call(1.5)
  | o.call = types.MethodType(lambda self, value: value * self.factor * n * 2, o)
static_method_replaced | Base | o.static(1.5) | o.static = staticmethod(lambda value: value * n * 2)
class_method_replaced | Base | o.of_class(1.5) | o.of_class = classmethod(lambda cls, value: value * n * 2)
method_of_a_base_class_replaced | Derived() | o.call(1.5) | Base.call = lambda self, value: value * n * 2
bound_method_of_a_stateful_object | o = Base(); call = o.call | call(1.5) | o.factor = new
bound_method_of_another_object | one, other = Base(), Base(); other.factor = 4.0; o = Plain(one.call)
  | o.value(1.5) | o.value = (other if n % 2 else one).call
object_with_call_replaced | Plain(Rich(1.0)) | o.value() | o.value = Rich(new)
special_method_replaced_on_the_class | Base() | o(1.5) | Base.__call__ = lambda self, value: value * 2 * n
bases_of_a_class | class Left: pass\nclass Right: pass\nclass o(Left): pass | 1.0 + issubclass(o, Right)
  | o.__bases__ = (Right if n % 2 else Left,)
bases_of_the_class_of_an_object | class Left: pass\nclass Right: pass\nclass Own(Left): pass\no = Own()
  | 1.0 + isinstance(o, Right) | Own.__bases__ = (Right if n % 2 else Left,)
order_of_the_bases | class Left: pass\nclass Right: pass\nclass o(Left): pass | 1.0 + len(o.__mro__)
  | o.__bases__ = (Left, Right) if n % 2 else (Left,)
variable_of_a_closure_bound_later | o, bind = bound_later() | o() | bind(2.0 + n)
defaults_of_a_named_tuple | collections.namedtuple('Pair', 'a b', defaults=(1.0, 2.0)) | o().b
  | o.__new__.__defaults__ = (1.0, 2.0 + n)
names_of_an_enumeration | enum.Enum('Rate', {'LOW': 1.0, 'HIGH': 2.0}) | o['LOW'].value
  | o._member_map_['LOW'] = o.HIGH if n % 2 else o(1.0)
values_of_an_enumeration | enum.Enum('Rate', {'LOW': 1.0, 'HIGH': 2.0}) | o(1.0).value
  | o._value2member_map_[1.0] = o.HIGH if n % 2 else o.LOW
types_of_hints | class o: v: float | 1.0 + len(typing.get_type_hints(o))
  | o.__annotations__[f'v{n}'] = int
own_built_in_names | s = {'__builtins__': {'rate': v}}; exec('def o(): return rate', s); o = s['o']
  | o() | o.__builtins__['rate'] = new
attribute_of_an_optimizer | o = optim.SGD([nn.Parameter(rv.ones(1))], lr=0.1); o.factor = 2.0 | o.factor
  | o.factor = 2.0 + n
partial_with_other_keywords | functools.partial(scaled, factor=2.0) | o(1.5)
  | o.keywords.update(factor=2.0 + n)
partial_of_another_function | Plain(functools.partial(once)) | o.value(1.5)
  | o.value = functools.partial(FUNCTIONS[n])
partial_setstate | functools.partial(scaled, factor=2.0) | o(1.5)
  | o.__setstate__((scaled, (), {'factor': 2.0 + n}, {}))
lambdas_appended_to_a_list | [lambda v: v * 2.0] | functools.reduce(lambda factor, call: call(factor), o, 1.0)
  | o.append(lambda v: v + n)
dispatch_table | o, config = {'a': once, 'b': twice}, {'kind': 'a'} | o[config['kind']](1.5)
  | o['b'] = thrice if n == 2 else twice; config['kind'] = 'bba'[n - 1]
operator_function_rebound | operator.mul | o(x, 2.0)
  | o = (None, operator.add, operator.sub, operator.truediv)[n]
cached_function_cleared | o = Plain(1.0); call = functools.lru_cache(lambda key: o.value) | call('key')
  | o.value = new; call.cache_clear()
single_dispatch_registered | functools.singledispatch(lambda value: 1.0) | o(1.5)
  | o.register(float, lambda value: value + n)
numpy_function_on_numbers | Plain(2.0) | float(np.sqrt(o.value)) | o.value = 2.0 + n
class_made_in_the_step | Plain(2.0) | class Local: factor = o.value\nreturn Local.factor | o.value = 2.0 + n
function_made_in_the_step | Plain(2.0) | def local(factor=o.value): return factor + o.value\nreturn local()
  | o.value = 2.0 + n
object_made_in_the_step | Plain(2.0) | Maker(o.value).value
  | Maker.factor = 5.0; o.value = 2.0 + (n if n > 1 else 0)
init_of_a_class_replaced | Maker | Maker().value | Maker.__init__ = lambda self: setattr(self, 'value', new)
builtin_rebound | [1.0, 2.5] | max(o) | patch(builtins, 'max', (None, min, sum, len)[n])
builtin_shadowed_by_a_global | [1.0, 2.5] | max(o) | globals().update(max=(None, min, sum, len)[n])
global_deleted | globals().update(abs=lambda v: 3.0) | abs(-1.5)
  | globals().pop('abs') if n == 1 else globals().update(abs=lambda v: float(n))
function_of_the_math_module_replaced | math | math.sqrt(2.25)
  | patch(math, 'sqrt', (None, math.exp, math.sin, math.cos)[n])
own_module_function_replaced | module(call=once) | o.call(1.5) | o.call = FUNCTIONS[n]
module_global_of_another_module | tools(SCALING.format('*')) | o.call(1.5) | o.FACTOR = 2.0 + n
module_reloaded | tools(SCALING.format('*')) | o.call(1.5)
  | exec(SCALING.format('+'), vars(o)); o.FACTOR = 2.0 + n
function_of_another_module_with_its_own_globals | tools(READING) | o.read() | o.table[0] = new
library_function_replaced | F | F.relu(x) | patch(F, 'relu', (None, F.tanh, F.gelu, F.sigmoid)[n])
library_name_replaced | rv | rv.relu(x) | patch(rv, 'relu', (None, rv.tanh, rv.exp, rv.sigmoid)[n])
method_of_tensor_replaced | patch(rv.Tensor, 'tanh', rv.Tensor.tanh) | x.tanh()
  | patch(rv.Tensor, 'tanh', (None, rv.sigmoid, rv.exp, rv.relu)[n])
function_inside_the_library_replaced | o, leaky = nn.LeakyReLU(0.1), ops.leaky_relu | o(x)
  | patch(ops, 'leaky_relu', lambda x, *_, **__: leaky(x, 0.1 * new))
""")
add_rows("functions", ROWS)
# --- names that no code of the step has: the library's code reads them, or Python looks them up in the class
CLASSES = table(r"""
setting_in_the_class_of_a_layer
  | o = type('Own', (nn.LeakyReLU,), {'negative_slope': v}); k = o(); del k.negative_slope | k(x)
  | o.negative_slope = 0.1 * new
setting_in_a_base_of_a_layer
  | o = type('Base', (), {'p': 0.5}); k = type('Own', (o, nn.Dropout), {})(); del k.p
  | k(x) | o.p = 0.1 * new
setting_of_a_layer_deleted | o = type('Own', (nn.LeakyReLU,), {'negative_slope': 0.5}); k = o(0.2)
  | k(x) | vars(k).pop('negative_slope', None); o.negative_slope = 0.1 * new
setting_of_a_loss_in_its_class | o = type('Own', (nn.HuberLoss,), {'delta': 0.5}); k = o(); del k.delta
  | x * k(x, rv.zeros(4, 3)) | o.delta = 0.1 * new
pattern_of_a_template | o = type('Own', (string.Template,), {}); k = o('$a'); p = o.pattern
  | 1.0 + (k.safe_substitute(a='') == '')
  | o.pattern = re.compile(p.pattern.replace('[_a-z]', 'z')) if n % 2 else p
value_that_an_enumeration_lacks | enum.Enum('Rate', {'LOW': 1.0, 'HIGH': 2.0})
  | try: return o(5.0).value\nexcept ValueError: return 3.0
  | o._missing_ = classmethod(lambda kind, value: kind.LOW if n % 2 else kind.HIGH)
fields_of_a_named_tuple | collections.namedtuple('Pair', 'a b') | float(len(o(1, 2)._asdict()))
  | o._fields = ('a',) if n % 2 else ('a', 'b')
matched_by_an_abstract_class | m = abc.ABCMeta('M', (), {}); o = type('Own', (), {})
  | match o():\n    case m(): return 2.0\nreturn 1.0 | m.register(o)
abstract_class_by_another_name | ask = isinstance; m = abc.ABCMeta('M', (), {}); o = type('Own', (), {})
  | 2.0 if ask(o(), m) else 1.0 | m.register(o)
protocol_by_another_name
  | ask = isinstance; o = Plain(v)\n@typing.runtime_checkable\nclass HasMore(typing.Protocol): more: float
  | 2.0 if ask(o, HasMore) else 3.0 | vars(o).update(more=1) if n != 2 else vars(o).pop('more')
abstract_class_that_decides
  | y = [0]; k = classmethod(lambda *_: y[0] > 0);
    o = abc.ABCMeta('M', (), {'__subclasshook__': k}); isinstance(5, o)
  | 2.0 if isinstance(5, o) else 1.0 | y[0] = n % 2; o._abc_caches_clear()
""")
add_rows("functions", CLASSES)
LATER = {  # a special method that the class gets later: (what it has before, what the step reads, the method)
    "subclasscheck": ("", "2.0 if issubclass(int, o) else 1.0", "*_: n % 2 == 1"),
    "floor": ("__float__=lambda s: 2.5", "math.floor(o())", "s: 4 + n"),
    "copy": ("value=1.0", "copy.copy(o()).value", "s: Plain(4.0 + n)"),
    "deepcopy": ("value=1.0", "copy.deepcopy(o()).value", "*_: Plain(4.0 + n)"),
    "imod": ("__mod__=lambda *_: 2.0", "k = o(); k %= 1; return k", "*_: 4.0 + n"),
    "rrshift": ("__rshift__=lambda *_: 2.0", "k() >> o()", "*_: 4.0 + n"),
    "bytes": ("__iter__=lambda s: iter([2])", "float(bytes(o())[0])", "s: bytes([4 + n])"),
    "delattr": ("value=1.0", "k = o(); k.value = 2.0; del k.value; return k.value", "*_: None"),
}
for name, (before, read, method) in LATER.items():
    kind = "type" if name == "subclasscheck" else "object"
    make = f"k = type('Base', ({kind},), dict({before})); o = type('Own', (k,), {{}})"
    put = f"o.__{name}__ = lambda {method}"
    if name == "subclasscheck":
        make, put = f"{make}; k, o = o, o('Own', (), {{}})", f"k.__{name}__ = lambda {method}"
    add_rows("functions", {f"{name}_that_comes_later": (make, read, put)})
MADE: dict[str, Row] = {
    "dataclass_made_in_the_step": (
        "o = Plain(2.0)\n@dataclasses.dataclass\n"
        "class Made: more: float = dataclasses.field(default_factory=lambda: o.value)",
        "Made().more",
        "o.value = 2.0 + n",
    )
}
add_rows("functions", MADE)
NEUTRAL = table(r"""
cached_function_kept | o = Plain(1.0); call = functools.cache(lambda key: o.value); call('key') | call('key')
  | o.value = new
function_that_is_not_called | o = Plain(once); o.other = once | o.value(1.5) | o.other = FUNCTIONS[n]
""")
add_rows("functions", NEUTRAL, neutral=NEUTRAL)


@scenario()
def optimizer_wrapped_in_a_class_of_the_user():
    class Halving:
        def __init__(self, inner, share):
            self.inner, self.share = inner, share

        def zero_grad(self):
            self.inner.zero_grad()

        def step(self):
            for group in self.inner.param_groups:
                group["lr"] = 0.1 * self.share
            self.inner.step()

    small = Small()
    wrapper = Halving(small.optimizer, 1.0)
    step = descends(lambda x: (x * small.w).sum(), wrapper)
    return Case(step, lambda n: setattr(wrapper, "share", 1.0 + n), small.watch)


# --- methods of models and optimizers replaced


def tripled(kind):
    return type("Other", (kind,), {"forward": lambda self, x: kind.forward(self, x) * 3.0})


OF_MODELS = {
    "forward_replaced_on_the_instance": "model.forward = lambda x: model.inner(x) * n",
    "forward_replaced_on_the_class": "Net.forward = lambda self, x: self.inner(x) * n",
    "forward_of_a_library_layer_replaced_on_the_instance": (
        "inner = model.inner; inner.forward = lambda x: F.linear(x, inner.weight) * n"
    ),
    "forward_of_a_library_layer_replaced_on_the_class": (
        "patch(nn.Linear, 'forward', lambda self, x: F.linear(x, self.weight) * n)"
    ),
    "helper_of_a_model_replaced": "Net.helper = lambda self, x: x.sigmoid() * n",
    "call_of_a_model_class_replaced": "Net.__call__ = lambda self, x: self.inner(x) * n",
    "class_of_a_model_replaced": "model.__class__ = tripled(Net) if n % 2 else Net",
    "factor_of_a_model": "model.factor = 1.0 + n",
}


def own_step(self):
    with rv.no_grad():
        for p in self.param_groups[0]["params"]:
            p.sub_(p.grad * 0.5)


OF_OPTIMIZERS = {
    "step_of_an_optimizer_replaced_on_the_instance": "optimizer.step = lambda: own_step(optimizer)",
    "step_of_an_optimizer_replaced_on_the_class": "Own.step = own_step",
    "step_of_a_library_optimizer_replaced": "patch(rv.optim.SGD, 'step', lambda self, closure=None: None)",
    "zero_grad_replaced": "optimizer.zero_grad = lambda: None",
}


def of_model(text):
    def build(patch):
        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = nn.Linear(3, 3)
                self.factor = 1.0

            def forward(self, x):
                return self.helper(self.inner(x)) * self.factor

            def helper(self, x):
                return x.tanh()

        model = Net()
        change = function("n, model, Net, patch", text, {**space(), **globals()})
        step = descends(squares(model), rv.optim.SGD(model.parameters(), lr=0.1))
        return Case(step, lambda n: change(n, model, Net, patch), model)

    return build


def of_optimizer(text):
    def build(patch):
        Own = type("Own", (rv.optim.SGD,), {})
        small = Small()
        small.optimizer = (Own if "Own" in text else rv.optim.SGD)([small.w], lr=0.1)
        change = function("n, optimizer, Own, patch", text, {**space(), **globals()})
        return Case(lambda x: small.train(x, 1.5), lambda n: change(n, small.optimizer, Own, patch), small.w)

    return build


for name, text in OF_MODELS.items():
    add(f"functions/{name}", of_model(text))
for name, text in OF_OPTIMIZERS.items():
    add(f"functions/{name}", of_optimizer(text))
