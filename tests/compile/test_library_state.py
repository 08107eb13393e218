"""State of the library: what a program can set is registered in settings.py, and its objects are guarded
whole, so that a program notices a change of any of their attributes.

The first part reads the library's source for what functions change and compares it with the list KNOWN, and
for all that holds hooks, to each of which a hook is added; the last part changes each attribute of an object
and asks the program of a step that uses it.
"""

import ast
import importlib
import inspect
import pkgutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import local

import pytest
import ranvier as rv
from ranvier import distributions, nn, optim, settings
from ranvier.optim import hooks
from ranvier.tensors import printing
from samples import layer_samples
from support.strict import strict

PACKAGE = Path(rv.__file__).parent
CHANGES = "add append clear difference_update discard extend insert pop popitem remove set setdefault update"


def names_in(target):
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


def at_top(module, tree):
    """The names in a module: the full name of each, those that are imported, those of settings."""
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


def own(nodes):
    """The variables of a function, and what it declares as global."""
    of_module = {name for node in nodes if isinstance(node, ast.Global) for name in node.names}
    stored = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return (stored | {a.arg for a in nodes if isinstance(a, ast.arg)}) - of_module, of_module


def changed(nodes):
    """(name, the path from it, whether by a method) of what a function changes in place."""
    for node in nodes:
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
                nodes = [*ast.walk(child)]
                variables, of_module = own(nodes)
                found.update(of_module)
                inner = outer | variables
                for name, path, by_method in changed(nodes):
                    known = name in names and name not in inner and not (by_method and name in imported)
                    if known and not f"{names[name]}{path}.".startswith(tuple(f"{s}." for s in settings)):
                        found.add(name)
            look(child, inner)

    look(tree, set())
    return found | begins_empty(tree)


# Functions that make an empty container, if they get no items.
CONTAINERS = "defaultdict deque dict list OrderedDict set WeakKeyDictionary WeakSet WeakValueDictionary"


def is_empty(value):
    """True if an expression makes an empty container, or a dict of such."""
    if isinstance(value, ast.Dict):
        return all(map(is_empty, value.values))
    if isinstance(value, ast.List):
        return not value.elts
    if not isinstance(value, ast.Call) or value.args or value.keywords:
        return False
    return getattr(value.func, "attr", getattr(value.func, "id", "")) in CONTAINERS.split()


def begins_empty(tree):
    """The containers of a module that are empty at first: something changes them, if under another name."""
    found = set()
    for node in tree.body:
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and is_empty(node.value):
            found |= set().union(*map(names_in, getattr(node, "targets", None) or [node.target]))
    return found - {"__all__"}


# What functions of the library change that is no setting: by module, the names.
KNOWN = """
== caches, and what the library defines when it is imported
compile/program_cache _unpaid
compile/guarding/library_guards LAYERS _comparison _made _names _of_class _slots _values _whole
compile/comparison _local; compile/guarding/origins _python_classes; compile/guarding/walk _FOLLOW
compile/shared_programs _guards _namespaces _programs; nn/call_counts _calls; train/forms_of_fits _forms
compile/guarding/shared_guards _kept
observe _locks; settings _all _numbers; nn/init _callback
tape/autocast casts; tape/nodes _metadata; tensors/deepcopy_pickle _firsts _memories
tensors/replaced replaced; tensors/mapped_files _files
torch/torch_function/dispatch _made _NOWRAP; torch/tensors/shared_memory _blocks
export/elementwise HELPERS; export/operations RULES; extension _ATTRIBUTES _HOMES _LOADED _PROVIDERS _WAITING
onnx/registry OPERATORS WRITERS; onnx/shape_rules RULES; onnx/execution Reader
onnx/patching HANDLERS INTERNAL_HANDLERS
ops/activation/table TABLE; ops/elementwise/op DECLARATIONS
ops/namespaces FORMULAS RULES; tape/higher_order RULES
torch/fx/nodes _effects; torch/fx/tracing Proxy _wrapped
nn/functional _OWN; nn/registry _TREE_LIBRARIES
func/forward RULES; tape/calls FORMULAS; tensors/devices makers
func/batching HOST_RULES RULES; tensors/batched KERNEL_RULES NUMPY_RULES
tensors/recording _of_slices; tape/inplace _of_slices
== hooks: `test_each_table_of_hooks_is_noticed` adds to each of these tables
tape/hooks before_accumulation after_accumulation of_nodes; optim/hooks _OF_ALL
nn/hooks _registrations
== what a recording itself is, or nothing while steps are replayed
observe observers; data/collate default_collate_fn_map; torch/distributed/processes _pg_map
== what programs define or replace: `settings.defined` is called, or the objects are guarded
distributions/divergence _REGISTRY; torch/utils/pytree _NODES
torch/files/allowed _safe; torch/operators/torch_ops packets
torch/torch_function/activation Tensor nn ops _is_active; torch/files/__init__ to_meta
torch/attached Size Tensor makers
torch/functions/twister Dropout Generator MultiheadAttention Twister _core data init philox rows uniform
nn/hooks HookRegistration; optim/hooks _ALL; distributions/base Distribution
== settings of the core, which are in the signature; how many threads have set a device; Python's own modules
grad_mode mode; tape/hooks mode; data/workers mode; tensors/devices contexts
cli/arguments sys; cli/training warnings; distributed/job _world os sys; torch/__init__ os; torch/__main__ sys
torch/installation/finder sys
== of a call or a run that is not over; the modes of a thread, which the core counts
autograd/differentiated_call _calls; compile/guarding/dynamic_names _active; compile/record casts
data/worker_copies _local
distributed/sync_norm _local; func/call _threads; nn/modes _state; observe _local; ops/making/random _local
nn/utils/parametrize _cache; onnx/patching _local
tape/hooks at_end carried; tensors/recording _local; torch/torch_function/dispatch state
observe running; data/workers _local; torch/installation/report _calls _missing; tensors/batched _warned
"""


def syntax_trees():
    """{name of a module: its syntax tree}, of the whole library."""
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): ast.parse(path.read_text())
        for path in PACKAGE.rglob("*.py")
    }


def test_what_functions_change_is_a_setting_or_known():
    trees = syntax_trees()
    settings = set().union(*[at_top(*pair)[2] for pair in trees.items()])
    assert settings >= {"ranvier.tensors.dtypes.default", "ranvier.tape.autocast.state"}
    found = {f"{m[8:]} {name}" for m, tree in trees.items() for name in state_of(m, tree, settings)}
    lines = [line for line in KNOWN.splitlines() if line[:1] not in ("", "=")]
    known = [entry.split() for line in lines for entry in line.split(";")]
    assert found == {f"{module.replace('/', '.')} {name}" for module, *names in known for name in names}


@pytest.mark.parametrize(
    "code",
    [
        "_hooks = {'before': {}, 'after': {}}\ndef set_on(on):\n    add(_hooks['before'], on)",
        "_hooks: dict[str, int] = WeakSet()",
        "_on = False\ndef set_on(on):\n    global _on\n    _on = on",
        "_set = {1: 2}\ndef set_on(on):\n    _set['on'] = on",
        "_set = [1]\nclass Block:\n    def __enter__(self):\n        _set.append(self)",
        "_set = local()\ndef set_on(on):\n    def inner():\n        _set.on = on\n    inner()",
        "class State:\n    on = False\ndef set_on(on):\n    State.on = on",
        "from ranvier.ops import module\ndef set_on(on):\n    module.on = on",
        "_set = Names()\ndef set_on(**given):\n    vars(_set).update(given)",
    ],
)
def test_a_new_setting_is_found(code):
    assert state_of("m", ast.parse(code))
    if "_hooks" in code:
        return
    own_variables = code.replace("global _on", "pass").replace(
        "def set_on(", "def set_on(_set, State, module, "
    )
    assert not state_of("m", ast.parse(own_variables.replace("__enter__(self", "__enter__(self, _set")))


# --- hooks
def node_of(leaf):
    """The node that adds to the gradient of a leaf."""
    return leaf.expand_as(leaf).grad_fn.next_functions[0][0]


def nothing(*args, **kwargs):
    """A hook that changes nothing."""


def prehook(module, state, prefix, *more):
    """A hook before a state dict is loaded."""


# All that holds hooks: how one is added to it, by functions of a layer and its optimizer; or why none is.
HOOKS = {
    "before_accumulation": [lambda layer, o: layer.weight.register_hook(nothing)],
    "after_accumulation": [lambda layer, o: layer.weight.register_post_accumulate_grad_hook(nothing)],
    "of_nodes": [
        lambda layer, o: node_of(layer.weight).register_hook(nothing),
        lambda layer, o: node_of(layer.bias).register_prehook(nothing),
    ],
    "_OF_ALL": [
        lambda layer, o: hooks.of_all("before step", nothing),
        lambda layer, o: hooks.of_all("after step", nothing),
    ],
    "_of_all": [
        lambda layer, o: nn.hooks.register_module_forward_pre_hook(nothing),
        lambda layer, o: nn.hooks.register_module_forward_hook(nothing),
        lambda layer, o: nn.hooks.register_module_full_backward_hook(nothing),
        lambda layer, o: nn.hooks.register_module_full_backward_pre_hook(nothing),
    ],
    "_registrations": [
        lambda layer, o: nn.hooks.register_module_parameter_registration_hook(nothing),
        lambda layer, o: nn.hooks.register_module_buffer_registration_hook(nothing),
        lambda layer, o: nn.hooks.register_module_module_registration_hook(nothing),
    ],
    "HookedOptimizer._hooks": [
        lambda layer, o: o.register_step_pre_hook(nothing),
        lambda layer, o: o.register_step_post_hook(nothing),
        lambda layer, o: o.register_state_dict_pre_hook(nothing),
        lambda layer, o: o.register_state_dict_post_hook(nothing),
        lambda layer, o: o.register_load_state_dict_pre_hook(nothing),
        lambda layer, o: o.register_load_state_dict_post_hook(nothing),
    ],
    "Hooks.before": [lambda layer, o: layer.register_forward_pre_hook(nothing)],
    "Hooks.after": [lambda layer, o: layer.register_forward_hook(nothing)],
    "Hooks.keywords": [lambda layer, o: layer.register_forward_hook(nothing, with_kwargs=True)],
    "Hooks.always": [lambda layer, o: layer.register_forward_hook(nothing, always_call=True)],
    "Hooks.backward": [lambda layer, o: layer.register_full_backward_hook(nothing)],
    "Hooks.before_backward": [lambda layer, o: layer.register_full_backward_pre_hook(nothing)],
    "HookRegistration._rv_hooks": [lambda layer, o: layer.register_forward_hook(nothing)],
    "StateHooks.before_saving": [lambda layer, o: layer.register_state_dict_pre_hook(nothing)],
    "StateHooks.after_saving": [lambda layer, o: layer.register_state_dict_post_hook(nothing)],
    "StateHooks.before_loading": [lambda layer, o: layer.register_load_state_dict_pre_hook(prehook)],
    "StateHooks.after_loading": [lambda layer, o: layer.register_load_state_dict_post_hook(nothing)],
    "StateDicts._rv_state_hooks": [lambda layer, o: layer.register_state_dict_pre_hook(nothing)],
    "Function.hooks": [lambda layer, o: layer.scale.register_hook(nothing)],
    "Output.hooks": [lambda layer, o: layer.shift.register_hook(nothing)],
    "RemovableHandle._hooks": "the tables in which the hook of a handle is",
    "Passage.hooks": "those of the module, during one call",
    "MeanGradients._hooks": "handles of hooks of parameters",
    "Run.hooks": "the callbacks of a fit, which Python calls between two steps",
    "_Alone._hook": "a callback of a fit on several processes",
    "WrappedHook.hook": "a hook itself, which is in one of the tables",
}


def holders_of_hooks():
    """The tables of hooks of modules, and the attributes "Class.name" whose names or classes say hooks."""
    found = {"before_accumulation", "after_accumulation", "of_nodes", "_OF_ALL", "_registrations"}
    lines = KNOWN.partition("== hooks")[2].partition("==")[0].splitlines()[1:]
    assert found == {name for line in lines for part in line.split(";") for name in part.split()[1:]}
    found.add("_of_all")  # an object: functions change the dictionaries in it
    for tree in syntax_trees().values():
        for kind in ast.walk(tree):
            if isinstance(kind, ast.ClassDef):
                found |= {f"{kind.name}.{name}" for name in attributes_of_hooks(kind)}
    return found


def attributes_of_hooks(kind):
    """The attributes of a class that hold hooks, which it declares or sets."""
    for node in ast.walk(kind):
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            continue
        target = node.targets[0] if isinstance(node, ast.Assign) else node.target
        begins_empty = kind.name.endswith("Hooks") and is_empty(node.value)
        if isinstance(target, ast.Name) and isinstance(node, ast.AnnAssign) and node in kind.body:
            names = {target.id}
        else:
            parts = target.elts if isinstance(target, ast.Tuple) else [target]
            own = [x for x in parts if isinstance(x, ast.Attribute) and getattr(x.value, "id", "") == "self"]
            names = {x.attr for x in own}
        yield from [name for name in names if "hook" in name or begins_empty]


def test_all_holders_of_hooks_are_known():
    assert holders_of_hooks() == HOOKS.keys()


class Layer(nn.Linear):
    """A layer with two tensors whose graph was made before the step: by one output, and by one of two."""

    def __init__(self):
        super().__init__(3, 3)
        self.leaf = rv.ones(3, requires_grad=True)
        self.scale = self.leaf * 2.0
        self.shift = (rv.stack([self.leaf, self.leaf]) * 0.5).unbind()[0]

    def forward(self, x):
        return super().forward(x) * self.scale + self.shift


ADDED = [(name, i) for name, ways in HOOKS.items() if isinstance(ways, list) for i in range(len(ways))]


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize(("name", "way"), ADDED)
def test_each_table_of_hooks_is_noticed(name, way, again):
    """A step notices the first hook, and one after it was removed (again): the table then exists."""
    layer = Layer()
    optimizer = optim.SGD(layer.parameters(), lr=0.1)

    def step(x):
        optimizer.zero_grad()
        layer.load_state_dict(layer.state_dict())
        loss = layer(x).sum()
        loss.backward(retain_graph=True)
        optimizer.step()
        return loss.detach()

    fast = strict(step)
    add = HOOKS[name][way]
    if again:
        add(layer, optimizer).remove()
    if name == "_of_all":  # which a layer asks that has hooks of its own, too
        layer.register_forward_hook(nothing)
    for _ in range(8):
        fast(X[:, :3])
    program = fast._latest
    assert not program.guards.changed()
    handle = add(layer, optimizer)
    try:
        assert program.guards.changed()
    finally:
        handle.remove()


# --- what is no scenario (staleness/settings.py)
W, X = rv.full((16, 16), 1.0 / 7), rv.full((4, 16), 1.0 / 3)


def in_block(x):
    with rv.autocast("cpu"):
        return rv.mm(x, W)


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


# --- objects
PLATFORMS = {
    *("__main__", "parallel", "sklearn", "onnx", "plot", "cli", "explore", "site", "tensorboard"),
    "event_files",
}
schedules = optim.lr_scheduler


def optimizer():
    return optim.SGD([nn.Parameter(rv.ones(3))], lr=0.1)


def in_sequence():
    own = optimizer()
    return schedules.SequentialLR(own, [schedules.ConstantLR(own), schedules.ExponentialLR(own, 0.9)], [3])


def transformed():
    normal = distributions.Normal(rv.zeros(3), rv.ones(3))
    return distributions.TransformedDistribution(normal, [distributions.AffineTransform(0.0, 2.0)])


MADE = {
    "StepLR": lambda: schedules.StepLR(optimizer(), 3),
    "CosineAnnealingLR": lambda: schedules.CosineAnnealingLR(optimizer(), 9),
    "OneCycleLR": lambda: schedules.OneCycleLR(optimizer(), 0.1, total_steps=9),
    "SequentialLR": in_sequence,
    "Normal": lambda: distributions.Normal(rv.zeros(3), rv.ones(3)),
    "Categorical": lambda: distributions.Categorical(rv.ones(3)),
    "TransformedDistribution": transformed,
    "AffineTransform": lambda: distributions.AffineTransform(0.0, 2.0),
    "Generator": rv.Generator,
    **{str(sample): lambda sample=sample: sample.layer_in(rv) for sample in layer_samples()},
}


def classes():
    """All classes of the package that can be made without arguments."""
    for module in pkgutil.walk_packages(rv.__path__, "ranvier."):
        if PLATFORMS.intersection(module.name.split(".")):
            continue
        for kind in list(vars(importlib.import_module(module.name)).values()):
            own = inspect.isclass(kind) and kind.__module__ == module.name
            if own and not issubclass(kind, (BaseException, tuple)):
                yield kind


def unnoticed(thing):
    """Attributes whose change a captured step does not notice; None where it is not captured."""
    step = strict(lambda x: x * 2 if thing is not None else x)
    try:
        for _ in range(3):
            step(rv.ones(2))
    except rv.CaptureError:
        return None
    (program,), own, missed = step.programs, vars(thing), []
    assert not program.guards.changed()
    root = getattr(type(thing), "step_root", None)
    declared = getattr(type(thing), "step_state", None) if root is None else ()
    for name in [*own] if declared is None else set(declared) & own.keys():
        before = own[name]
        own[name] = object()
        if not program.guards.changed():
            missed.append(name)
        own[name] = before
        assert not program.guards.changed(), name
    return missed


@pytest.mark.parametrize("name", MADE)
def test_each_attribute_is_noticed(name):
    assert unnoticed(MADE[name]()) == []


def test_every_class_that_needs_no_arguments():
    seen, declared = 0, {}
    for kind in classes():
        if issubclass(kind, (local, nn.Buffer)):  # objects of a thread; read when a module takes it
            continue
        if "step_state" in vars(kind):
            declared[kind] = vars(kind)["step_state"]
        try:
            thing = kind()
        except Exception:
            continue
        around = kind.__module__.startswith(("ranvier.train.", "ranvier.data."))  # only what code names
        if hasattr(thing, "__dict__") and vars(thing) and not around:
            assert not unnoticed(thing), kind
            seen += 1
    assert seen > 60
    assert {kind.__name__ for kind in declared} == {
        *("Evaluator", "Generator", "Gradients", "Reduce", "TrainingStep")
    }
    for kind, paths in declared.items():  # what is declared exists
        source = inspect.getsource(kind)
        assert [path for path in paths if f"self.{path.partition('.')[0]}" not in source] == [], kind
