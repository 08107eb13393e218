"""A compiled model is the module: the same statements do the same on both.

Each row is run with m, the module, and again with m, its compiled form; results, errors and the model's state
afterwards have to be equal.
"""

import ast
import copy
import gc
import inspect
import pickle
from unittest.mock import ANY

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.compile.compiled_model import module_of
from support import own_modules
from support.own_modules import Holder, Net, Own, Registered, Strange

X = rv.tensor(np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32))
# The class: statements on m. What the last one gives, and r, are compared.
ROWS = """
Sequential: m[1] = nn.Tanh(); len(m)
Sequential: del m[2]; [type(x) for x in m]
Sequential: m.append(nn.Sigmoid()) is m
Sequential: m.insert(0, nn.Tanh()); m[0]
Sequential: m.extend([nn.Tanh(), nn.ReLU()]); m[-2:]
Sequential: m += nn.Sequential(nn.Tanh()); len(m)
Sequential: m.pop(1)
Sequential: [x for x in m.modules() if x is not m]
Sequential: [(n, x is m) for n, x in m.named_modules()]
Sequential: m in {m: 1}, [*m.modules()].index(m), m == m, hash(m) == hash(m)
Sequential: list(m.children()), list(reversed([*m])), m[0] in m
Sequential: m[0].weight.requires_grad_(False); [p.requires_grad for p in m.parameters()]
Sequential: m.register_forward_hook(lambda m, a, y: y * 2); m(X)
Sequential: m.register_forward_pre_hook(lambda m, a: (a[0] + 1,)).remove(); m(X)
Sequential: h = m.register_forward_hook(lambda s, a, y: names[s]); names = {m: X}; m(X)
Sequential: m.apply(lambda x: seen.append(type(x) == nn.Sequential)) is m; seen
Sequential: m.train() is m, m.training, m.eval() is m, m.to("cpu") is m, m.cpu() is m
Sequential: m.double() is m, {p.dtype for p in m.parameters()}, m.float() is m
Sequential: m.load_state_dict({k: v * 2 for k, v in m.state_dict().items()}); m(X)
Sequential: isinstance(m, nn.Sequential), m.__class__ is nn.Sequential, type(m) == nn.Sequential
Sequential: type(m)(nn.Tanh()), m.__class__(nn.Tanh())
Sequential: issubclass(type(m), nn.Sequential), {nn.Sequential: 1}[type(m)], type(m) in (nn.Sequential,)
Sequential: isinstance(m, type(m)), isinstance(nn.Sequential(), type(m)), isinstance(nn.ReLU(), type(m))
Sequential: issubclass(nn.Sequential, type(m)), issubclass(nn.ReLU, type(m)), m == ANY, m != 1
Sequential: m.zero_grad(), bool(m), callable(m), m.extra_repr(), m._get_name(), dir(m)
Sequential: vars(m) is m.__dict__, [*vars(m)]
Sequential: m.get_submodule("0"), m.get_parameter("2.bias"), m.get_submodule("") is m
Sequential: m.set_submodule("1", nn.Tanh()); m[1]
Sequential: m.add_module("last", nn.Tanh()); m.last
Sequential: m._modules["1"] = nn.Tanh(); m[1]
Sequential: m.nothing
Sequential: m[7]
Sequential: m["a"]
Sequential: m.forward(X)
Sequential: m.config(), nn.Sequential(m, nn.Tanh())(X)
Sequential: m.__class__ = Backwards; m.number, m(X), m[0], type(m)
Net: m.scale = 2.0; m.scale
Net: m.temperature = 2.0; vars(m)["temperature"]
Net: m.head = nn.Linear(3, 2); [*m.state_dict()]
Net: m.head = nn.Linear(3, 2); del m.head; m.head
Net: m.mask = rv.tensor([1.0, 0.0, 1.0]); m(X)
Net: del m.mask; m.mask
Net: m.p = nn.Parameter(rv.ones(2)); [n for n, _ in m.named_parameters()]
Net: m.register_buffer("b", rv.ones(2)); [n for n, _ in m.named_buffers()]
Net: m.register_parameter("q", None); m.q
Net: m.shift = rv.ones(3); m.body.bias.data += 1; m(X)
Net: m.body = None; [*m.children()]
Net: m.body = 3
Net: delattr(m, "body"); setattr(m, "body", nn.Identity()); hasattr(m, "body"), getattr(m, "none", 7)
Net: m.forward = lambda x: x * 7; m(X)
Net: m.double() is m, m.double().scale, m.me()[1]["me"][0] is m
Net: m.clone()(X), type(m.clone()), m.make(3.0).scale, type(m).make(2.0).scale
Net: type(m).__new__(type(m)).__dict__, Net.kinds
Net: type(m).steps = 3; r = Net.steps, m.steps; del type(m).steps; Net.steps = 0
Net: m.steps += 1; m.steps, Net.steps
Net: m.__dict__["scale"] = 5.0; m.scale
Net: m.__init__(4.0); m.scale
Net: m.__setstate__({"scale": 7.0}); m(X)
Net: super(Net, m).train(True) is m; m.eval()
Net: m.body = rv.compile(m.body); rv.compile(m)(X), m.body
Net: m.body = nn.utils.weight_norm(m.body); m(X)
Net: str(m.body), m.__doc__, type(m).__name__, type(m).__qualname__, type(m).__module__
Net: rv.optim.SGD(m.parameters(), lr=0.1); nn.utils.parameters_to_vector(m.parameters())
Holder: "a" in m, "c" in m, m["a"], len(m), [*m], bool(m)
Holder: m["b"] = nn.ReLU(); m["b"]
Holder: del m["b"]; len(m)
Holder: m.layers["c"] = nn.Sigmoid(); "c" in m
Holder: m["none"]
Holder: m.run, hasattr(m, "latest")
Holder: m.programs = 3; m.programs
Holder: m.explain = m.me = 4; m.explain
Own: m + 1, 1 + m, (m + m).value, -m, m < 3, m == Own(2.0), hash(m), m != 2, m == 2.0
Own: m + 1.5 < 2
Own: m += 1; m.value
Own: bool(m), float(m), int(m), "abc"[m], str(m)
Own: m * 2
Own: m - 2
Own: m[0]
Own: len(m)
Own: [*m]
Own: 1 in m
Own: m.gain = 70.0; m.value
Own: m.gain, m.alias, m.sets
Own: del m.gain; m.value
Own: m.other
Own: m.value = 3.0; m.sets
Own: m.slot = 4.0; m.slot
Own: m.empty
Own: m.empty = 1; del m.empty; m.empty
Own: del m.slot; m.slot
Own: copy.copy(m).slot, copy.deepcopy(m)(X)
Strange: isinstance(m, Strange), Registered.made, isinstance(type(m), Registered), m.weight
Strange: ends(form)
Strange: nn.utils.weight_norm(m) is m; m(X), m.weight
Strange: nn.utils.weight_norm(m); nn.utils.remove_weight_norm(m); m.weight
Strange: type(m) == Strange, m.in_features
Concrete: isinstance(m, abc.ABC), m(X), type(m)().p
"""
WITH = """
Holder: with m as n: n["b"] = nn.ReLU(); r = n is m, n.log
Holder: with m: raise ValueError
Holder: for n in m: r = n
Sequential: for i, n in enumerate(m): n.number = i
Sequential: with m: pass
Sequential: if m: r = [*m][-1]
"""
CASES = [line for line in (ROWS + WITH).splitlines() if line]


def ends(form):
    """How often an object has ended after one of its two compiled forms is gone, and after both."""
    one = form(Strange())
    two = form(module_of(one))
    del one
    gc.collect()
    before = Strange.ended
    del two
    gc.collect()
    return before, Strange.ended


def plain(value, m):
    """A value for a comparison of two runs."""
    if value is m:
        return "the model"
    if isinstance(value, rv.Tensor):
        return value.shape, value.detach().numpy().tobytes()
    if isinstance(value, nn.Module):
        return repr(value).replace("compiled ", ""), state_of(value)
    if isinstance(value, dict):
        return [(plain(k, m), plain(v, m)) for k, v in value.items()]
    if isinstance(value, (list, tuple)):
        return [plain(v, m) for v in value]
    return (
        value.__name__ if isinstance(value, type) else value if isinstance(value, (set, str)) else repr(value)
    )


def state_of(m):
    return [(k, v.numpy().tobytes()) for k, v in m.state_dict().items()], [n for n, _ in m.named_modules()]


def outcome(names, text, m):
    """The result of the last statement, the variable r, or the error."""
    try:
        *first, last = ast.parse(text).body
        exec(compile(ast.Module(first, []), "", "exec"), names)
        if isinstance(last, ast.Expr):
            names["r"] = eval(compile(ast.Expression(last.value), "", "eval"), names)
        else:
            exec(compile(ast.Module([last], []), "", "exec"), names)
    except Exception as error:
        return type(error).__name__, str(error)
    return plain(names.get("r"), names["m"])


def model_of(name):
    rv.manual_seed(0)
    layers = [nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3)] if name == "Sequential" else []
    return getattr(own_modules, name, nn.Sequential)(*layers).eval()


def story(case, compiled):
    """The result of the statements, and the model before and after."""
    name, _, text = case.partition(": ")
    form = rv.compile if compiled else lambda m: m
    m = form(model_of(name))
    names = {**vars(own_modules), "ANY": ANY, **globals(), "m": m, "seen": [], "form": form}
    with rv.no_grad():
        found = [m(X).numpy().tobytes() for _ in range(4)]
        found.append(outcome(names, text, m))
        found.append(names["m"] is m or plain(names["m"], m))
        for _ in range(4):
            found.append(outcome(names, "m(X)", m))
    if compiled:
        assert m.__call__.programs
    return [*found, state_of(m), sorted(vars(m)), m.training]


@pytest.mark.filterwarnings("ignore:.*runs eagerly")
@pytest.mark.parametrize("case", CASES)
def test_statements_do_what_they_do_on_the_module(case):
    Strange.ended = 0
    expected = story(case, False)
    Strange.ended = 0
    assert story(case, True) == expected


class Around(nn.Module):
    """With the same model at two places, and one that knows its owner."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.again, self.own = inner, inner, nn.Linear(2, 2)

    def forward(self, x):
        return self.own(self.inner(x))


def fitted(model, path):
    trainer = rv.Trainer(model, "mse", "adam")
    trainer.fit(X.numpy(), X.numpy()[:, :2], epochs=2)
    trainer.save(path / "saved")
    return trainer.model is model, trainer.predict(X.numpy()), trainer.load(path / "saved").predict(X.numpy())


def saved(model, path):
    rv.save(model, path / "model.safetensors")
    return rv.load(path / "model.safetensors").eval()


def exported(model, path):
    rv.export.c(model, path / "model.c", X[:1])
    rv.export.c(lambda x: model(x) * 2, path / "twice.c", X[:1])
    return [(path / name).read_text() for name in ("model.c", "twice.c")]


def as_onnx(model, path):
    pytest.importorskip("onnx")
    rv.onnx.export(model, X, path / "model.onnx")
    return (path / "model.onnx").read_bytes().hex()


def with_gradients(model, path):
    rv.nn.functional.mse_loss(model.train()(X), X[:, :2]).backward()
    return [p.grad for p in model.parameters()]


USES = {
    "Trainer": fitted,
    "save": saved,
    "export": exported,
    "onnx": as_onnx,
    "summary": lambda m, path: str(rv.summary(m, (3,), verbose=False)),
    "functional_call": lambda m, path: rv.func.functional_call(
        m, {k: v * 2 for k, v in m.state_dict().items()}, X
    ),
    "vmap": lambda m, path: rv.vmap(m)(X[:, None]),
    "gradient_of_x": lambda m, path: rv.func.grad(lambda x: m(x).sum())(X),
    "gradients": with_gradients,
    "AveragedModel": lambda m, path: rv.optim.swa_utils.AveragedModel(m)(X),
    "signature": lambda m, path: [str(inspect.signature(f)) for f in (m, m.forward, type(m))],
    "deepcopy": lambda m, path: copy.deepcopy(Around(m))(X),
    "pickle": lambda m, path: pickle.loads(pickle.dumps(nn.ModuleList([m, m])))[1](X),
    "submodule": lambda m, path: (Around(m).eval()(X), Around(m).state_dict(), [*Around(m).modules()]),
}


@pytest.mark.parametrize("name", USES)
def test_the_library_takes_it_as_the_module(name, tmp_path):
    found = []
    for form in (lambda m: m, rv.compile):
        rv.manual_seed(0)
        model = form(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).eval())
        found.append((plain(USES[name](model, tmp_path), model), state_of(model)))
    assert found[0] == found[1]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
@pytest.mark.parametrize(
    "make", [nn.Linear(3, 3).eval, Net, Own, Holder], ids=["Linear", "Net", "Own", "Holder"]
)
def test_copies_are_compiled_models_of_their_own(make, copied):
    model = rv.compile(make().eval(), verify=3)
    model.note, model.owner = [1], [model]
    if copied is not copy.copy:
        object.__setattr__([*model.modules()][-1], "knows", model)
    with rv.no_grad():
        expected = model(X).numpy()
        other = copied(model)
        assert type(other) is type(model)
        assert other != model or make is Own
        assert other.__call__ is not model.__call__
        assert other.__call__._verify == 3
        assert vars(other).keys() == vars(model).keys()
        if copied is not copy.copy:
            assert other.owner[0] is other
            assert [*other.modules()][-1].knows is other
            assert other.note is not model.note
        other.more = 1
        assert not hasattr(module_of(model), "more")
        assert module_of(other).more == 1
        for _ in range(5):
            assert (other(X).numpy() == expected).all()
    assert len(other.programs) == 1


def test_two_compiled_forms_of_one_module():
    net = Net().eval()
    one, two = rv.compile(net), rv.compile(net, strict=True)
    assert one is not two
    assert one == two == net == one
    assert len({one, two, net}) == 1
    assert one != Net()
    assert type(one) is type(two)
    two.scale = 3.0
    assert one.scale == net.scale == 3.0
    assert rv.compile(one) is rv.compile(one, disable=True) is one


def test_another_module_in_the_place_of_its_own():
    net, other = Net().eval(), nn.Linear(3, 5).eval()
    fast, before = rv.compile(net), state_of(net)
    expected, of_other = net(X).tolist(), other(X).tolist()
    fast._orig_mod = other
    assert fast._orig_mod is other
    assert (fast == other, fast == net) == (True, False)
    fast.note, fast.training = 1, True
    assert other.note == 1
    assert (other.training, net.training) == (True, False)
    assert fast.state_dict().keys() == {"weight", "bias"}
    assert state_of(net) == before
    with rv.no_grad():
        assert fast(X).tolist() == expected  # as in PyTorch: the call is that of the first
        for copied in (copy.copy(fast), copy.deepcopy(fast), pickle.loads(pickle.dumps(fast))):
            assert copied(X).tolist() == of_other
    with pytest.raises(TypeError, match="as _orig_mod; expected a module"):
        fast._orig_mod = 5


def test_nobody_is_told_of_its_class():
    kinds, made = Net.kinds, Registered.made
    rv.compile(Net())
    rv.compile(Strange())
    assert (Net.kinds, Registered.made) == (kinds, made)


def test_its_class_follows_that_of_the_module():
    lazy = rv.compile(nn.LazyLinear(2).eval())
    lazy(X)
    assert type(lazy).__mro__[2] is nn.Linear
    module_of(lazy).__class__ = Strange
    assert isinstance(lazy, Strange)


# The class: what a compiled step does with m and x; statements on m between two calls.
STEPS = """
Sequential: m[0](x) + m[-1](x); m[0] = nn.Linear(3, 3); del m[1]
Sequential: m(x) * (2 if m.training else 4); m.train(); m.eval()
Sequential: m(x) * (2 if isinstance(m, Backwards) else 4); m.__class__ = Backwards
Sequential: m(x); m.register_forward_hook(lambda m, a, y: y * 3); m[0].weight.data.mul_(2)
Sequential: x * len([k for k in m.modules() if k is not m]); m.append(nn.Linear(3, 3))
Net: m.me()[0](x) * m.scale; m.scale = 3.0; m.mask = rv.ones(3) * 2; m.forward = lambda x: x
Net: Task.net(x) * Task().net.scale; Task.net.scale = 4.0; module_of(Task.net).steps = 7
Holder: m(x) * (2 if "a" in m else 3) * len(m); m["c"] = nn.ReLU(); del m["a"]
Own: x * -m * (2 if m < 3 else 4) * m.gain * m.alias * float(m); m.value = 5.0; m.gain = 7.0
Own: m(x) * m.slot; m.slot = 3.0
"""


@pytest.mark.parametrize("row", STEPS.strip().splitlines())
def test_inside_a_compiled_step(row):
    """Recorded again after each change; a model in the body of a class is not bound."""
    text, *changes = row.partition(": ")[2].split("; ")
    found = []
    for form in (lambda x: x, rv.compile):
        m = form(model_of(row.partition(": ")[0]))
        names = {**vars(own_modules), **globals(), "m": m, "Task": type("Task", (), {"net": m})}
        step = form(eval(f"lambda x: {text}", names))
        with rv.no_grad():
            results = [step(X).numpy().tobytes() for _ in range(5)]
            for change in changes:
                exec(change, names)
                results += [step(X).numpy().tobytes() for _ in range(7)]
        found.append(results)
    assert found[0] == found[1]
    assert len(step.programs) > 1
