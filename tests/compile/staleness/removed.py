"""What a step reads is deleted, shadowed, of a kind that no table lists, or replaced in an unusual way."""

from compile.staleness.judge import Case, add
from compile.staleness.rows import add_rows, function, table
from compile.staleness.small import Small
from ranvier import optim

# made, read, removed at the first and third change, put back at the second: the step raises meanwhile
GONE = table(r"""
attribute | Plain(v) | o.value | del o.value | o.value = new
dict_key | {'value': v} | o['value'] | o.clear() | o.update(value=new)
list_item | [v] | o[0] | o.clear() | o.append(new)
global_name | globals().update(G=v) | G | globals().pop('G') | globals().update(G=new)
cell | v | o | del o | o = new
method | o = Rich(v); Rich.get2 = Rich.get | o.get2() | del Rich.get2 | Rich.get2 = lambda self: new
module_name | module(value=v) | o.value | del o.value | o.value = new
imported | imported(patch, value=v) | import staleness_config; return staleness_config.value
  | sys.modules.pop('staleness_config') | o.value = new; sys.modules['staleness_config'] = o
to_none | Plain(v) | o.value * 2.0 | o.value = None | o.value = new
""")
BOTH = "if n % 2:\n    {}\nelse:\n    {}"
add_rows("removed", {k: (a, b, BOTH.format(c, d)) for k, (a, b, c, d) in GONE.items()}, raises=True)
PUT = table(r"""
attribute_deleted_shows_the_class | o = First(); o.value = 5.0 | o.value
  | if 'value' in vars(o): del o.value\nelse: o.value = 3.0
dict_of_an_object_replaced | Plain(v) | o.value | o.__dict__ = {'value': new}
bases_of_a_class_replaced | Heir() | o.value | Heir.__bases__ = (Second if n % 2 else First,)
property_put_on_the_class | Plain(v) | o.value | Plain.value = property(lambda self: new)
descriptor_put_on_the_class | Plain(v) | o.value | Plain.value = DataDescriptor(new)
getattribute_put_on_the_class | Plain(v) | o.value | Plain.__getattribute__ = lambda self, name: new
getattr_put_on_the_class | Base() | getattr(o, 'value', 1.0) | Base.__getattr__ = lambda self, name: new
special___bool__ | Plain(v) | 2.0 if o else 3.0 | Plain.__bool__ = lambda self: n % 2 == 0
special___len__ | Plain(v) | 2.0 if o else 3.0 | Plain.__len__ = lambda self: (n + 1) % 2
special___eq__ | Plain(v) | 2.0 if o == 1 else 3.0 | Plain.__eq__ = lambda self, other: n % 2 == 1
special___contains__ | Plain(v) | 2.0 if hasattr(type(o), '__contains__') and 1 in o else 3.0
  | Plain.__contains__ = lambda self, other: n % 2 == 1
class_registered_with_an_abstract_one | Plain(v) | 2.0 if isinstance(o, Abstract) else 3.0
  | Abstract.register(Plain) if n == 1 else None
module_in_sys_modules_replaced | imported(patch, value=v)
  | import staleness_config; return staleness_config.value | imported(patch, value=new)
global_shadowed_in_builtins | patch(builtins, 'staleness_shown', v) | staleness_shown
  | globals().update(staleness_shown=new) if n < 3 else globals().pop('staleness_shown')
""")
add_rows("removed", PUT)

# values of kinds that no table lists
DENIED = table(r"""
thread_local_subclass | OfThread() | o.value | o.value = new
getitem_of_an_array | o = np.ones(2); get = o.__getitem__ | float(get(0)) | o.fill(new)
getitem_of_a_deque | o = collections.deque([v]); get = o.__getitem__ | get(0) | o.appendleft(new)
getitem_of_an_array_of_python | o = array.array('d', [v]); get = o.__getitem__ | get(0) | o[0] = new
getitem_of_a_bytearray | o = bytearray([1]); get = o.__getitem__ | float(get(0)) | o[0] = 1 + n
length_of_a_list | o = [0]; length = o.__len__ | float(length()) | o.append(n)
float_of_an_array | o = np.array(1.0); get = o.__float__ | get() | o.fill(new)
method_caller | o = [v]; get = operator.methodcaller('f', o) | get(OfSuper()) | o[0] = new
getter_made_inside | SimpleNamespace(k=v) | operator.attrgetter('k')(o) | o.k = new
getter_of_a_changing_index | o = Index(); get = operator.itemgetter(o) | get([1.0, 2.0, 3.0, 4.0]) | o.at = n
kept_super | OfSuper().kept() | o.factor | Base.factor = new
get_of_a_function | o = OfSuper(); get = OfSuper.f.__get__ | get(o)([getattr(o, 'k', 1.0)]) | o.k = new
attribute_of_an_exception | raised(v) | o.more | o.more = new
arguments_of_an_exception | raised(v) | o.args[0] | o.args = (new,)
defaults_of_a_function | def o(a=1.0): return a | o.__defaults__[0] | o.__defaults__ = (new,)
constants_of_code | types.FunctionType((lambda: 1.0).__code__, {}) | o.__code__.co_consts[-1]
  | o.__code__ = (lambda: 3.0).__code__ if n % 2 else (lambda: 2.0).__code__
class_of_a_module | types.ModuleType('made', 'k') | getattr(o, 'k', 1.0)
  | vars(o).pop('k', None); o.__class__ = CountedModule
version_of_a_parameter | nn.Parameter(rv.ones(1)) | 1.0 + o._version | o.detach().add_(1.0)
precision_of_products | undone(patch, lambda: rv.set_float32_matmul_precision('highest'))
  | len(rv.get_float32_matmul_precision())
  | rv.set_float32_matmul_precision(('highest', 'high', 'medium', 'high')[n])
place_of_a_distribution | distributions.Normal(rv.zeros(1), rv.ones(1), validate_args=False)
  | o.log_prob(rv.ones(1)).exp() | o.loc = rv.ones(1) * n
scale_of_a_transform | distributions.AffineTransform(0.0, 1.0) | o(rv.ones(1)) | o.scale = new
""")
add_rows("denied", DENIED)

# how the step reads the learning rate, which a schedule changes
RATES = {
    "get_lr": "s.get_lr()[0]",
    "get_last_lr": "s.get_last_lr()[0]",
    "param_groups": "o.param_groups[0]['lr']",
    "loop": "sum(group['lr'] for group in o.param_groups)",
    "defaults": "o.defaults['lr'] + s.get_last_lr()[0]",
    "getattr": "getattr(o, 'param_groups')[0]['lr']",
    "vars": "vars(o)['param_groups'][0]['lr']",
    "state_dict": "o.state_dict()['param_groups'][0]['lr']",
    "repr": "float(len(repr(o)))",
    "text": "float(len(f'{o}'))",
    "last_epoch": "1.0 + s.last_epoch",
}


def rate(text):
    def build():
        small, read = Small(), function("o, s", text)
        schedule = optim.lr_scheduler.ExponentialLR(small.optimizer, 0.5)
        step = lambda x: small.train(x, read(small.optimizer, schedule))  # noqa: E731
        return Case(step, lambda n: schedule.step(), small.watch)

    return build


for name, text in RATES.items():
    add(f"denied/rate_by_{name}", rate(text))

# what a step reads from the library's objects; `small` is what it trains
LIBRARY = table(r"""
momentum | small.optimizer | 2.0 if o.param_groups[0]['momentum'] else 1.0
  | o.param_groups[0].update(momentum=0.1 * (n % 2))
number_of_groups | optim.SGD([nn.Parameter(rv.ones(1))], lr=0.1) | float(len(o.param_groups))
  | o.add_param_group({'params': [nn.Parameter(rv.ones(1))]})
defaults_of_an_optimizer | small.optimizer | o.defaults['lr'] | o.defaults.update(lr=0.05 + 0.01 * n)
states_of_an_optimizer | optim.SGD([nn.Parameter(rv.ones(1))], lr=0.1) | 1.0 + len(o.state)
  | o.state.update({n: {}})
class_of_an_optimizer | optim.SGD([nn.Parameter(rv.ones(1))], lr=0.1)
  | 2.0 if isinstance(o, optim.SGD) else 3.0
  | o.__class__ = optim.Adam if n % 2 else optim.SGD
settings_in_vars | small.optimizer
  | [d['lr'] for d in vars(o).values() if type(d) is dict and 'lr' in d][0] | o.defaults.update(lr=0.01 * n)
attribute_of_an_own_optimizer
  | o = type('Own', (optim.SGD,), {})([nn.Parameter(rv.ones(1))], lr=0.1); o.gain = v
  | o.gain | o.gain = new
settings_named_by_an_attribute | o, which = small.optimizer, Plain('param_groups')
  | getattr(o, which.value)[0]['lr'] | o.param_groups[0].update(lr=0.01 * n)
settings_named_by_an_item | o, which = small.optimizer, ['param_groups']
  | getattr(o, which[0])[0]['lr'] | o.param_groups[0].update(lr=0.01 * n)
class_of_a_tensor | type('Own', (rv.Tensor,), {'gain': 1.0})(rv.ones(3)) | o.gain
  | o.__class__ = type('Other', (rv.Tensor,), {'gain': 1.0 + n})
tape_of_a_tensor | o = nn.Parameter(rv.ones(3)); t = o * 2.0
  | o.grad = None; (x * t).sum().backward(retain_graph=True); return x * o.grad | t[0].mul_(2.0)
training | nn.Linear(1, 1) | 2.0 if o.training else 3.0 | o.train(n % 2 == 0)
requires_grad | nn.Parameter(rv.ones(1)) | 2.0 if o.requires_grad else 3.0 | o.requires_grad_(n % 2 == 0)
grad_is_none | nn.Parameter(rv.ones(1)) | 2.0 if o.grad is None else 3.0
  | o.grad = rv.ones(1) if n % 2 else None
shape_of_a_tensor | Plain(rv.ones(1)) | float(o.value.shape[0]) | o.value = rv.ones(1 + n)
shape_after_data | rv.ones(1) | float(o.shape[0]) | o.data = rv.ones(1 + n)
length_of_a_tensor | Plain(rv.ones(1)) | float(len(o.value)) | o.value = rv.ones(1 + n)
dtype_of_a_tensor | Plain(rv.ones(1)) | 2.0 if o.value.dtype == rv.float64 else 3.0
  | o.value = rv.ones(1, dtype=rv.float64 if n % 2 else rv.float32)
out_features | nn.Sequential(nn.Linear(1, 1)) | float(o[0].out_features) | o[0] = nn.Linear(1, 1 + n)
kind_of_a_layer | nn.Sequential(nn.ReLU()) | 2.0 if isinstance(o[0], nn.ReLU) else 3.0
  | o[0] = nn.Tanh() if n % 2 else nn.ReLU()
names_of_parameters | nn.Sequential(nn.Linear(1, 1))
  | float(len([name for name, _ in o.named_parameters() if 'weight' in name])) | o.append(nn.Linear(1, 1))
has_a_head | nn.Sequential() | 2.0 if hasattr(o, 'head') else 3.0
  | vars(o).pop('head') if n == 2 else setattr(o, 'head', nn.Identity())
loss_weight_of_a_module | nn.CrossEntropyLoss() | 1.0 + o.label_smoothing | o.label_smoothing = 0.1 * n
threads_read | rv | float(rv.get_num_threads()) | rv.set_num_threads(1 + n % 2)
winograd_read | rv | 2.0 if rv.get_winograd() else 1.0 | rv.set_winograd(n % 2 == 0)
seed_in_force | patch.after(lambda: rv.manual_seed(7)) | 1.0 + rv.initial_seed() | rv.manual_seed(10 + n)
polynomial | np.poly1d([1.0, 2.0]) | float(o(2.0)) | o.coeffs[0] = new
""")
add_rows("library", LIBRARY)
