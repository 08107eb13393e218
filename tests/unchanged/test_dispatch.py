"""Calls that other classes take over: __torch_function__, objects of libraries; names of graph."""

import importlib
import pickle
import sys
import types

import pytest
import ranvier as rv
from ranvier.torch import IN_PLACE
from ranvier.torch.installation.absent import absent
from ranvier.torch.torch_function.dispatch import public
from ranvier.torch.training import graph
from support.python import answers, in_mode
from support.refused import refused

BEGIN = """
import copy, io, pickle, torch
from torch import nn
from torch.overrides import TorchFunctionMode, has_torch_function, handle_torch_function, resolve_name
asked = []
class S(torch.Tensor):
    @classmethod
    def __torch_function__(cls, f, types, args=(), kwargs=None):
        asked.append(resolve_name(f))
        return super().__torch_function__(f, types, args, kwargs or {})
class B(torch.Tensor): pass
class C(B): pass
class A(torch.Tensor):
    def __new__(cls, x, tag=None): return torch.as_tensor(x).as_subclass(cls)
    def __init__(self, x, tag=None): self.tag = tag
class No(torch.Tensor):
    @classmethod
    def __torch_function__(cls, *call): return NotImplemented
class Off(torch.Tensor):
    __torch_function__ = torch._C._disabled_torch_function_impl
class Mode(TorchFunctionMode):
    def __torch_function__(self, f, types, args=(), kwargs=None):
        asked.append(resolve_name(f))
        return f(*args, **(kwargs or {}))
s, b, c, p = S([[1.0, 2.0]]), B([1.0]), C([1.0]), torch.ones(1)
def kind(x): return type(x).__name__
def of(call): asked.clear(); return kind(call()), asked[0]
def error(call):
    try: call()
    except Exception as e: return kind(e)
def saved(x): torch.save(x, f := io.BytesIO()); f.seek(0); return torch.load(f, weights_only=False)
def copied(x): return pickle.loads(pickle.dumps(x))
"""
# what is computed: what it is
CASES = {
    "of(lambda: 1 + s)": ("S", "torch.Tensor.add"),
    "of(lambda: p - s)": ("S", "torch.Tensor.sub"),
    "of(lambda: s[0])": ("S", "torch.Tensor.__getitem__"),
    "of(lambda: s.shape)": ("Size", "torch.Tensor.shape.__get__"),
    "of(lambda: torch.cat([s, s]))": ("S", "torch.cat"),
    "of(lambda: torch.linalg.norm(s))": ("S", "torch.linalg.norm"),
    "of(lambda: nn.Linear(2, 1)(s))": ("S", "torch.nn.functional.linear"),
    "nn.functional.linear(p, p[None].requires_grad_()).tolist()": [1.0],
    "of(lambda: nn.Upsample(None, 2)(s[None]))": ("S", "torch.Tensor.__getitem__"),
    "of(lambda: nn.MSELoss()(s, p))": ("S", "torch.nn.functional.mse_loss"),
    "of(lambda: nn.LocalResponseNorm(1)(s[None]))": ("S", "torch.Tensor.__getitem__"),
    "of(lambda: torch.utils.data.default_collate([s, s]))": ("S", "torch.stack"),
    "kind(nn.GRU(2, 3)(s[None])[0])": "S",
    "kind(nn.InstanceNorm1d(1)(s[None]))": "S",
    "[kind(x) for x in torch.max(B([[1.0]]), 0)]": ["B", "B"],
    "[kind(b + c), kind(torch.cat([p, b, c]))]": ["C", "C"],
    "[error(lambda: No([1.0]) + 1), error(lambda: torch.add(No([1.0]), 1))]": ["TypeError"] * 2,
    "(lambda x: [kind(x + 1), kind(p - x), kind(x.sum()), kind(x == p), kind(x)])(Off([1.0]))": [
        *["Tensor"] * 4, "Off"
    ],
    "[b == None, error(lambda: b + 'a')]": [False, "TypeError"],
    "(lambda x: [kind(x.add_(c)), kind(x)])(B([1.0]))": ["C", "B"],
    "[b.add_(1) is b, kind(p.clone().add_(b))]": [True, "B"],
    "(lambda o: [kind(torch.add(b, 1, out=o)), kind(o)])(torch.zeros(1))": ["B", "Tensor"],
    "[(kind(x), x.tag) for x in (saved(A(p, 1)), copy.deepcopy(A(p, 1)), copied(A(p, 1)))]":
        [("A", 1)] * 3,
    "(lambda w: ((w.as_subclass(B) * 3).sum().backward(), w.grad.item(), kind(w.grad))[1:])(nn.Parameter(p))":
        (3.0, "Tensor"),
    "[kind(x) for x in (torch.as_strided(s, (2,), (1,)), torch.rand_like(b), torch.normal(b, 1.0))]":
        ["S", "B", "B"],
    "repr(c)": "C([1.])",
    "[has_torch_function((p,)), has_torch_function((b,))]": [False, True],
    "kind(torch.compile(lambda x: x * 2)(b))": "B",
    "pickle.loads(pickle.dumps(torch.tanh)) is torch.tanh": True,
    "type('M', (), {'f': torch.tanh})().f(p).item() == p.tanh().item()": True,
    "kind(type('M', (), {'f': nn.functional.relu})().f)": "method",
}  # fmt: skip


@pytest.fixture(scope="module")
def found():
    return answers(BEGIN + "import warnings; warnings.simplefilter('ignore')", CASES)


@pytest.mark.parametrize("case", CASES)
def test_classes(found, case):
    assert found[case] == ascii(CASES[case])


def test_modes():
    code = """
with Mode():
    x = torch.zeros(2) + 1
    with Mode(): x.sum()
print(asked)
class M(nn.Module):
    def forward(self, x): return x.tanh()
m = M()
with torch.no_grad():
    for _ in range(3000): m(torch.ones(64, 8))
    asked.clear()
    with Mode(): m(p)
print(asked)
with torch._C.DisableTorchFunctionSubclass(): print(kind(b + 1))
"""
    assert in_mode(BEGIN + code).split("\n")[:3] == [
        "['torch.zeros', 'torch.Tensor.add', 'torch.Tensor.sum', 'torch.Tensor.sum']",
        "['torch.Tensor.tanh']",
        "Tensor",
    ]


def test_losses_of_layers_take_settings_by_name_after_the_first_class():
    code = "import ranvier.torch.torch_function.activation as a; a._attach_layers(); x = a.ranvier.ones(2); "
    assert in_mode(code + "print(a.ops.mse(x, x * 2, reduction='sum').item())").split() == ["2.0"]


def test_kernels_answer_as_functions():
    code = """
from ranvier.torch.torch_function.override_tables import OPS
def answer(f, *args, **kwargs):
    try: y = f(*args, **kwargs)
    except Exception as e: return kind(e), str(e)
    made = y.requires_grad and (type(y.grad_fn).__name__, torch.autograd.grad(y.sum(), x)[0].tolist())
    return y.tolist(), y.dtype, y.stride(), made
x = torch.arange(6.0).reshape(3, 2).T - 2.5
kinds = torch.float, torch.double, torch.half, torch.bfloat16, torch.int, torch.uint8, torch.bool
inputs = [*map(x.to, kinds), x[0, 0], x[:0], x[0], x.clone().requires_grad_()]
for name, row in OPS.items():
    f = getattr(torch, name, None) or getattr(nn.functional, name, None)
    if f is None: continue  # a kernel alone
    function = f.__wrapped__
    for x in inputs:
        given = {"linear": (x, torch.ones(4, 3)[:, 1:]), "where": (x > 0, x)}.get(name, (x,))
        cases = [((*given, last), {}) for last in (0, -1, None, x)] if row[1] > 1 else []
        cases += [(given, {})] * (len(given) >= row[1])
        cases += [(args[:-1], {row[2][len(args) - 1]: args[-1]}) for args, _ in cases if len(args) > 1]
        for args, kwargs in cases:
            assert str(answer(f, *args, **kwargs)) == str(answer(function, *args, **kwargs)), (name, args)
print("alike")
"""
    assert "alike" in in_mode(BEGIN + code)


def test_objects_like_a_loader():
    code = """
from torch.utils.data.dataloader import _DatasetKind, _SingleProcessDataLoaderIter
class Like:
    _auto_collation, drop_last, generator, _index_sampler = True, False, None, [[0, 1], [2]]
    def __init__(self, kind): self.dataset, self._dataset_kind, self.collate_fn = [5, 6, 7], kind, list
print([list(_SingleProcessDataLoaderIter(Like(k))) for k in (_DatasetKind.Map, _DatasetKind.Iterable)])
"""
    assert in_mode(BEGIN + code).split("\n")[0] == str([[[5, 6], [7]]] * 2)


# Objects of other libraries that take over calls of torch, and `out=`.


class Diagonal:
    """A matrix of another library, which answers for itself."""

    def __init__(self, values):
        self.values = values

    @classmethod
    def __torch_function__(cls, function, kinds, args=(), settings=None):
        assert kinds == (cls,)
        if function is add:
            return "added", args[1], settings
        if function is matmul:
            return args[0] * args[1].values
        return NotImplemented


add, matmul = public(rv.add, "add"), public(rv.matmul, "matmul")
total = public(rv.sum, "sum")


def test_a_refused_call_goes_to_the_class_of_an_argument():
    d = Diagonal(rv.tensor([1.0, 2.0]))
    assert add(d, 3, alpha=2) == ("added", 3, {"alpha": 2})
    assert matmul(rv.ones(3, 2), d).tolist() == [[1.0, 2.0]] * 3
    refused(TypeError, "[sum] got Diagonal", total, d)
    refused(TypeError, "[add] got object", add, rv.ones(1), object())
    assert add(rv.ones(1), 1).item() == 2
    assert public(rv.add, "add") is add  # tables of other libraries have it as a key


def test_out():
    y = rv.zeros(2)
    assert total(rv.ones(3, 2), 0, out=y) is y
    assert y.tolist() == [3.0, 3.0]
    assert public(rv.norm, "norm")(rv.ones(4, 2), dim=0, out=y) is y
    assert y.tolist() == [2.0, 2.0]
    empty = rv.zeros(0)
    assert total(rv.ones(3, 2), 0, out=empty) is empty
    assert empty.tolist() == [3.0, 3.0]
    x = rv.rand(50, 2).bfloat16()
    for name in ("sum", "mean", "prod", "cumsum", "std"):  # in the dtype of out, rounded once
        op = getattr(rv, name)
        found = public(op, name)(x, 0, out=rv.zeros(0))
        assert found.tolist() == op(x.float(), 0).tolist()
    places = rv.zeros(2, dtype=rv.int64)
    greatest = public(rv.max, "max")(rv.tensor([[1.0, 4.0], [3.0, 2.0]]), 0, out=(y, places))
    assert greatest.values is y
    assert greatest.indices is places
    assert (y.tolist(), places.tolist()) == ([3.0, 4.0], [1, 0])
    with pytest.warns(UserWarning, match=r"\[sum\] got out of shape \(2,\); it is resized to \(\)"):
        assert total(rv.ones(3), out=y) is y
    assert y.tolist() == 3.0
    with pytest.warns(
        UserWarning, match=r"\[max\] got out of shape \(1,\); it is resized to \(2,\)"
    ) as caught:
        public(rv.max, "max")(rv.ones(2, 2), 0, out=(rv.zeros(1), rv.zeros(1, dtype=rv.int64)))
    assert {warning.filename for warning in caught} == {__file__}
    refused(RuntimeError, "[sum] got out in a call with gradients", total,
            rv.ones(3, 2, requires_grad=True), 0, out=y)  # fmt: skip
    with_gradient = rv.ones(2, requires_grad=True) * 2
    refused(RuntimeError, "[sum] got out in a call with gradients", total,
            rv.ones(3, 2), 0, out=with_gradient)  # fmt: skip
    with rv.no_grad():
        total(rv.ones(3, 2), 0, out=with_gradient)
    assert with_gradient.tolist() == [3.0, 3.0]


@pytest.mark.parametrize("name", ["exp", "cat", "sort", "where", "clamp"])
def test_out_of_integers_takes_no_floats(name):
    x, whole = rv.tensor([1.5, -2.5]), rv.zeros(2, dtype=rv.int64)
    out = (whole, rv.zeros(2, dtype=rv.int64)) if name == "sort" else whole
    arguments = {"cat": ([x],), "where": (x > 0, x, x), "clamp": (x, 0)}.get(name, (x,))
    expected = f"[{name}] got out of dtype {rv.int64} for a result of {rv.float32}; expected a dtype that"
    refused(RuntimeError, expected, public(getattr(rv, name), name), *arguments, out=out)
    assert whole.tolist() == [0, 0]


def test_ranges_fill_out_in_its_shape():
    out = rv.zeros(2, 3)
    assert public(rv.arange, "arange")(6, out=out) is out
    assert out.tolist() == [[0, 1, 2], [3, 4, 5]]
    public(rv.linspace, "linspace")(0, 10, 6, out=out)
    assert out.tolist() == [[0, 2, 4], [6, 8, 10]]


def test_the_modules_have_them(monkeypatch):
    module = types.ModuleType("torch")
    module.__spec__ = IN_PLACE.find_spec("torch")
    module.__spec__.loader.exec_module(module)
    monkeypatch.setitem(sys.modules, "torch", module)
    assert module.add is add
    assert module.relu.__wrapped__ is rv.relu.__wrapped__
    assert pickle.loads(pickle.dumps(module.add)) is add
    assert module.sigmoid_(rv.zeros(1)).item() == 0.5
    assert not hasattr(module, "nothing_")


def test_modules_that_libraries_go_through(monkeypatch):
    """pyro makes a subclass of each class in torch.distributions.__dict__."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "torch"}
    monkeypatch.setattr(sys, "meta_path", [IN_PLACE, *sys.meta_path])
    try:
        for name in before:
            del sys.modules[name]
        whole = vars(importlib.import_module("torch.distributions"))
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torch"]:
            del sys.modules[name]
        sys.modules.update(before)
    assert whole["Normal"] is rv.distributions.Normal
    kind = type("Own", (whole["Kumaraswamy"],), {})
    refused(NotImplementedError, "[torch.distributions.Kumaraswamy] ranvier leaves it out", kind, 1.0, 1.0)
    assert not hasattr(rv.distributions, "Kumaraswamy")


def test_a_step_with_them_is_recorded():
    step = rv.compile(lambda x: add(x, x).exp().sum())
    for k in range(5):
        assert step(rv.ones(2) * k).item() == pytest.approx(2 * rv.tensor(2.0 * k).exp().item())


# The names of torch.autograd.graph, torch.autograd.forward_ad and torch.utils.hooks.


def leaves():
    return rv.tensor([1.0, 2.0], requires_grad=True), rv.tensor([3.0, 4.0], requires_grad=True)


@pytest.mark.parametrize("mode", ["all", "any"])
def test_one_hook_for_several_tensors(mode):
    x, w = leaves()
    unused, seen = rv.ones(2, requires_grad=True), []
    with graph.register_multi_grad_hook([x, rv.ones(2), w, unused], seen.append, mode=mode):
        (x * w).sum().backward()
        (x * w).sum().backward()
    (x * w).sum().backward()
    if mode == "all":
        assert [[None if g is None else g.tolist() for g in gradients] for gradients in seen] == 2 * [
            [[3.0, 4.0], None, [1.0, 2.0], None]
        ]
    else:
        assert len(seen) == 2
        assert seen[0].tolist() in ([3.0, 4.0], [1.0, 2.0])
    refused(ValueError, "'most'", graph.register_multi_grad_hook, [x], seen.append, mode="most")


def test_all_gradients_arrive_before_the_end():
    x, w = leaves()
    order = []
    graph.register_multi_grad_hook([w], lambda gradients: order.append(gradients[0].tolist()))
    z = x * 1
    z.register_hook(lambda gradient: order.append("z"))
    (z.exp() * w).sum().backward()
    assert order == [rv.exp(x).tolist(), "z"]


def test_what_changes_nothing_and_what_is_refused():
    x, w = leaves()
    with graph.save_on_cpu(pin_memory=True), graph.disable_saved_tensors_hooks("no"):
        (x * w).sum().backward()
    assert graph.unpack_dual(x) == (x, None)
    y = x * w
    graph.increment_version(w.detach())
    refused(RuntimeError, "inplace", y.sum().backward)
    for path in ("graph.saved_tensors_hooks", "forward_ad.dual_level", "forward_ad.make_dual"):
        refused(NotImplementedError, f"[torch.autograd.{path}]", absent(f"autograd.{path}"), x)


def test_backward_hooks_called_by_hand():
    x, _ = leaves()
    module, seen = rv.nn.Identity(), []
    hook = graph.BackwardHook(
        module,
        [lambda m, dx, dy: seen.append((m is module, dx[0].tolist(), dy[0].tolist()))],
        [lambda m, dy: (dy[0] * 2,)],
    )
    (y,) = hook.setup_input_hook((x,))
    (hook.setup_output_hook(y * 3)).sum().backward()
    assert seen == [(True, [6.0, 6.0], [2.0, 2.0])]
    with pytest.warns(UserWarning, match="will not be serialized"):
        graph.warn_if_has_hooks(type("T", (), {"_backward_hooks": {0: print}}))
    marked = graph.unserializable_hook(lambda gradient: None)
    graph.warn_if_has_hooks(type("T", (), {"_backward_hooks": {0: marked}}))
