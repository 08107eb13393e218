"""What a program can set is registered in settings.py, and replays compare it."""

import ast
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import ranvier as rv
from compile.beside import bits
from ranvier import nn, settings
from ranvier.nn import often
from ranvier.tensors import printing
from ranvier.torch import jit, operators, pytree  # noqa: F401
from ranvier.torch import multiprocessing as mp  # noqa: F401
from support.strict import strict

PACKAGE = Path(rv.__file__).parent
CHANGES = "add append clear difference_update discard extend insert pop popitem remove set setdefault update"


def names_in(target):
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


def at_top(module, tree):
    """What a module has: the full name of each of its names, those that are imported, those of settings."""
    names, imported, settings = {}, set(), set()
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            found = set().union(*map(names_in, getattr(node, "targets", None) or [node.target]))
            if getattr(getattr(node.value, "func", None), "id", "").strip("_") in (
                "Settings",
                "ThreadSettings",
            ):
                settings |= {f"{module}.{name}" for name in found}
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            home = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            names |= {a.asname or a.name.partition(".")[0]: home + a.name for a in node.names}
            imported |= {a.asname or a.name.partition(".")[0] for a in node.names}
            continue
        else:
            found = {node.name} if isinstance(node, ast.ClassDef) else set()
        names |= {name: f"{module}.{name}" for name in found}
    return names, imported, settings


def own(function):
    """The variables of a function, and what it declares as global."""
    of_module = {name for node in ast.walk(function) if isinstance(node, ast.Global) for name in node.names}
    stored = {n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return (stored | {a.arg for a in ast.walk(function) if isinstance(a, ast.arg)}) - of_module, of_module


def changed(function):
    """(name, the path from it, whether by a method) of what a function changes in place."""
    for node in ast.walk(function):
        if isinstance(node, (ast.Attribute, ast.Subscript)) and isinstance(node.ctx, (ast.Store, ast.Del)):
            target, by_method = node.value, False
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in CHANGES.split():
            target, by_method = node.func.value, True
        else:
            continue
        if isinstance(target, ast.Call) and getattr(target.func, "id", "") == "vars":
            target = target.args[0]
        path = ""
        while isinstance(target, (ast.Attribute, ast.Subscript)):
            path = f".{getattr(target, 'attr', '')}{path}"
            target = target.value
        if isinstance(target, ast.Name):
            yield target.id, path, by_method


def state_of(module, tree, settings=()):
    """The names of a module that its functions change, but for settings: full names."""
    names, imported, _ = at_top(module, tree)
    found = set()

    def look(node, outer):
        for child in ast.iter_child_nodes(node):
            inner = outer
            if isinstance(child, (ast.FunctionDef, ast.Lambda, ast.AsyncFunctionDef)):
                variables, of_module = own(child)
                found.update(of_module)
                inner = outer | variables
                for name, path, by_method in changed(child):
                    known = name in names and name not in inner and not (by_method and name in imported)
                    if known and not f"{names[name]}{path}.".startswith(tuple(f"{s}." for s in settings)):
                        found.add(name)
            look(child, inner)

    look(tree, set())
    return found


# What functions of the library change that is no setting: by module, the names.
KNOWN = """
== caches, and what the library defines when it is imported
compile/cache _unpaid; compile/library _comparison _made _names _of_class; compile/locks _locks
compile/shared _guards _programs; compile/walk _FOLLOW; nn/often _calls; settings _all _numbers
nn/init _asked; tape/autocast casts; tape/nodes _metadata; tensors/duplicates _firsts _memories
tensors/replaced replaced; tensors/mapped _files
torch/dispatch _made _NOWRAP; torch/files/pickler _NAMES; torch/shared _blocks
export/elementwise HELPERS; export/rules RULES; extension _ATTRIBUTES _PROVIDERS; nn/loss/functional FORMS
onnx/one_to_one WRITERS; onnx/registry OPERATORS WRITERS; ops/activation/table TABLE; ops/elementwise/row ROWS
ops/rules RULES; tape/graph RULES; torch/fx/nodes _effects; torch/fx/tracing Proxy _wrapped
== what programs define or replace: `settings.defined` is called, or the objects are guarded
distributions/divergence _REGISTRY; torch/pytree _NODES; torch/files/allowed _safe; torch/operators packets
torch/dispatch Tensor nn ops _is_active; torch/files/__init__ to_meta; torch/shared Tensor Module
torch/twister Dropout Generator MultiheadAttention Twister _core data init philox rows uniform
optim/hooks _ALL
distributions/base Distribution
== settings of the core, which are in the signature; how many threads have set a device; Python's own modules
grad_mode mode; tape/hooks mode; data/workers mode; tensors/devices contexts
cli/arguments sys; cli/training warnings; distributed/job _world os sys; torch/__init__ os; torch/__main__ sys
== of a call or a run that is not over; the modes of a thread, which the core counts
autograd/level _calls; compile/looked_up _active; compile/record casts; data/copies _local
distributed/sync_norm _local; func/call _threads; nn/modes _state; observe _local; ops/making/random _local
tape/hooks at_end carried; tensors/recording _local; torch/dispatch state
compile/locks running; data/workers _local; torch/report _calls _missing
"""


def test_what_functions_change_is_a_setting_or_known():
    trees = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): ast.parse(path.read_text())
        for path in PACKAGE.rglob("*.py")
    }
    settings = set().union(*[at_top(*pair)[2] for pair in trees.items()])
    assert settings >= {"ranvier.tensors.dtypes.default", "ranvier.tape.autocast.state"}
    found = {f"{m[8:]} {name}" for m, tree in trees.items() for name in state_of(m, tree, settings)}
    lines = [line for line in KNOWN.splitlines() if line[:1] not in ("", "=")]
    known = [entry.split() for line in lines for entry in line.split(";")]
    assert found == {f"{module.replace('/', '.')} {name}" for module, *names in known for name in names}


@pytest.mark.parametrize(
    "code",
    [
        "_on = False\ndef set_on(on):\n    global _on\n    _on = on",
        "_set = {}\ndef set_on(on):\n    _set['on'] = on",
        "_set = []\nclass Block:\n    def __enter__(self):\n        _set.append(self)",
        "_set = local()\ndef set_on(on):\n    def inner():\n        _set.on = on\n    inner()",
        "class State:\n    on = False\ndef set_on(on):\n    State.on = on",
        "from ranvier.ops import module\ndef set_on(on):\n    module.on = on",
        "_set = Names()\ndef set_on(**given):\n    vars(_set).update(given)",
    ],
)
def test_a_new_setting_is_found(code):
    assert state_of("m", ast.parse(code))
    own_variables = code.replace("global _on", "pass").replace(
        "def set_on(", "def set_on(_set, State, module, "
    )
    assert not state_of("m", ast.parse(own_variables.replace("__enter__(self", "__enter__(self, _set")))


# --- each setting, as a program sets it
class Pair:
    pass


def tree(on):
    if on:
        pytree.register_pytree_node(Pair, lambda pair: ([1, 2], None), None)
    else:
        pytree._deregister_pytree_node(Pair)


def in_block(x):
    with rv.autocast("cpu"):
        return rv.mm(x, W)


# (set, set back), or a block | what a step makes of it
ROWS = """
rv.set_default_dtype(rv.float64), rv.set_default_dtype(rv.float32) | x + rv.tensor([1.5])
rv.set_float32_matmul_precision('high'), rv.set_float32_matmul_precision('highest')
    | x * len(rv.get_float32_matmul_precision())
rv.set_num_threads(rv.get_num_threads() + 1), rv.set_num_threads(rv.get_num_threads() - 1)
    | x * rv.get_num_threads()
rv.set_winograd(False), rv.set_winograd(True) | x * (2 if rv.get_winograd() else 3)
rv.use_deterministic_algorithms(True), rv.use_deterministic_algorithms(False)
    | x * (2 if rv.are_deterministic_algorithms_enabled() else 3)
rv.autocast('cpu') | rv.mm(x, W)
rv.autocast('cpu', cache_enabled=False) | x * (2 if rv.amp.is_autocast_cache_enabled() else 3)
rv.amp.set_autocast_cache_enabled(False), rv.amp.set_autocast_cache_enabled(True)
    | x * (2 if rv.amp.is_autocast_cache_enabled() else 3)
rv.amp.set_autocast_dtype('cpu', rv.float16), rv.amp.set_autocast_dtype('cpu', rv.bfloat16) | in_block(x)
mp.set_sharing_strategy('file_system'), mp.set_sharing_strategy('file_descriptor')
    | x * len(mp.get_sharing_strategy())
rv.no_grad() | x * (2 if rv.is_grad_enabled() else 3)
rv.inference_mode() | x * (2 if rv.is_inference_mode_enabled() else 3)
rv.set_printoptions(precision=2), rv.set_printoptions(profile='default') | x * printing.options.precision
rv.set_default_device('meta'), rv.set_default_device(None) | x * len(str(rv.get_default_device()))
rv.device('meta') | x * len(rv.get_default_device())
rv.hub.set_dir('/a'), rv.hub.set_dir(FOLDER) | x * len(rv.hub.get_dir())
operators.exclude() | x * (1 + operators._state.below)
jit._set.__setattr__('scripting', True), jit._set.__setattr__('scripting', False)
    | x * (2 if rv.jit.is_scripting() else 3)
tree(True), tree(False) | x * len(pytree.tree_leaves(Pair()))
"""
ROWS = ROWS.replace("\n    |", " |").strip().splitlines()
for kind, dtype in {"cpu": "bfloat16", "cuda": "float16", "hpu": "bfloat16", "xpu": "float16"}.items():
    on, to = f"rv.amp.set_autocast_enabled('{kind}', %s)", f"rv.amp.set_autocast_dtype('{kind}', rv.%s)"
    read = f"(2 if rv.amp.is_autocast_enabled('{kind}') else 3)"
    ROWS += [f"{on % True}, {on % False} | x * {read}"]
    ROWS += [f"{to % 'float64'}, {to % dtype} | x.to(rv.amp.get_autocast_dtype('{kind}'))"]
FOLDER = rv.hub.get_dir()
W, X = rv.full((16, 16), 1.0 / 7), rv.full((4, 16), 1.0 / 3)


def read(text):
    return eval(text, globals())


def block_of(text):
    """The block of a row, or one around what it calls."""
    if "), " not in text:
        return read(text)
    on, off = text.split("), ")
    block = ExitStack()
    block.callback(read, off)
    read(f"{on})")
    return block


class Net(nn.Module):
    def __init__(self, step):
        super().__init__()
        self.layer, self.step = nn.Linear(16, 16), step

    def forward(self, x):
        return self.step(self.layer(x))


def captured(step):
    return rv.compile(step, verify=False), step


def alone(step):
    """A module that replays itself, and its calls as they are written."""
    net = Net(step).eval()
    return rv.no_grad()(net), rv.no_grad()(net.forward)


@pytest.mark.filterwarnings("ignore:.*runs eagerly")  # where a class of a tree is the program's
@pytest.mark.parametrize("made", [captured, alone])
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split(" | ")[0])
def test_a_replay_follows_it(row, made, monkeypatch):
    monkeypatch.setattr(often, "_ENOUGH", 0.0)
    setting, text = row.split(" | ")
    run, step = made(read(f"lambda x: {text}"))
    same = lambda: bits(run(X)) == bits(step(X))  # noqa: E731
    assert all(same() for _ in range(20))
    before = bits(run(X))
    for count in (1, 1, 12):
        with block_of(setting):
            assert all(same() for _ in range(count))
            assert bits(step(X)) != before or made is alone
        assert same()
    with suppress(ZeroDivisionError), block_of(setting):
        assert same()
        _ = 1 / 0
    assert all(same() for _ in range(3))
    assert bits(run(X)) == before


def test_threads_have_their_own():
    fast = strict(in_block)
    for _ in range(3):
        fast(X)

    def other():
        rv.amp.set_autocast_dtype("cpu", rv.float16)
        return [fast(X).dtype for _ in range(3)]

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(other).result() == [rv.float16] * 3
        assert fast(X).dtype == rv.bfloat16
        assert pool.submit(fast, X).result().dtype == rv.float16


def test_a_step_that_leaves_a_setting_changed_is_refused():
    def step(x):
        rv.set_printoptions(precision=int(printing.options.precision) + 1)
        return x * 2

    with pytest.raises(rv.CaptureError, match="changes a setting"):
        strict(step)(X)
    rv.set_printoptions(profile="default")


def test_a_setting_that_is_set_to_what_it_is_makes_no_program():
    fast = strict(lambda x: x * 2)
    for n in range(40):
        rv.set_printoptions(precision=4 + n % 2)
        rv.set_default_dtype(rv.float32)
        fast(X)
    rv.set_printoptions(profile="default")
    assert len(fast.programs) == 2


def test_more_settings_change_no_number(monkeypatch):
    monkeypatch.setattr(settings, "_all", [*settings._all])
    before = settings._number()
    more = settings.Settings(on=False)
    assert settings._number() == before
    more.on = True
    assert settings._number() != before
    more.on = False
    assert settings._number() == before
