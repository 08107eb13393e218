"""Names: each is tested, listed and PyTorch's, with its arguments, their order and defaults."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import types
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.ops import table
from ranvier.ops.activation import piecewise, smooth  # noqa: F401  # fill the table
from ranvier.ops.activation.table import TABLE
from support.grouped import grouped
from support.python import printed
from support.refused import refused


def test_every_name_of_the_table_is_found() -> None:
    for module, names in table.ROWS.items():
        place = rv.nn.functional if module in table.FUNCTIONAL else rv.ops if module[:5] == "loss." else rv
        assert all(callable(getattr(place, name)) for name in table.function_names(names)), module
        assert all(callable(getattr(rv.Tensor, name)) for name in table.method_names(names)), module


def test_type_checkers_see_the_modules_of_the_table() -> None:
    seen = re.findall(r"^    from ranvier\.ops\.(.*) import \*$", Path(rv.ops.__file__).read_text(), re.M)
    assert seen == sorted(table.ROWS.keys() - table.FUNCTIONAL.keys())
    names: dict[str, object] = {}
    for module in seen:  # without __all__: a name that one imports hides another module's op
        names |= vars(table.module_of(f"ranvier.ops.{module}"))
    ops = table.functions_of(seen)  # one may have its own errors, where another module has it as it was
    assert [name for name, op in ops.items() if inspect.unwrap(names[name]) is not inspect.unwrap(op)] == []


def test_type_checkers_see_the_modules_of_layers() -> None:
    seen = re.findall(r"^    from ranvier\.nn\.(.*) import \*$", Path(nn.__file__).read_text(), re.M)
    assert seen == sorted(nn.table.LAYERS)


def test_import_loads_no_module_of_the_table() -> None:
    code = "import sys, ranvier; print(*[m[12:] for m in sys.modules if m[:12] == 'ranvier.ops.'])"
    assert set(printed("-c", code).split()) == {"attach", "table"}


def test_each_activation_is_in_the_tables() -> None:
    modules = [module for module in table.ROWS if module.startswith("activation")]
    assert TABLE.keys() <= table.functions_of(modules).keys()
    assert {row.layer for row in TABLE.values()} <= {*nn.activation.__all__}


NAMESPACES = "nn optim optim.lr_scheduler data data.augment data.datasets train metrics"
PLACES = (*NAMESPACES.split(), "distributed", "explore", "export", "onnx", "plot", "sklearn")


@pytest.mark.parametrize("place", PLACES)
def test_the_toolbox_page_has_every_name(place: str) -> None:
    names = importlib.import_module(f"ranvier.{place}").__all__
    page = (Path(__file__).parents[2] / "docs" / "toolbox.md").read_text()
    named = set(re.findall(r"`([A-Za-z]\w*)`", page))
    assert sorted(set(names) - named) == []


def listed(names: list[str]) -> str:
    return " ".join(f"`{name}`" for name in names)


def test_the_toolbox_page_has_the_ops_and_activations() -> None:
    """RANVIER_WRITE=1 writes their rows: a row for each module of ops; the layers of `activation/table.py`,
    then what their row has besides."""
    path = Path(__file__).parents[2] / "docs" / "toolbox.md"
    page, ops = path.read_text(), {}
    for module in sorted(table.ROWS):
        alone = [f"x.{name}" for name in table.ROWS[module].only_methods.split()]
        ops[module.replace(".", ": ")] = [*sorted(table.functions_of([module])), *alone]
    # By modules: TABLE has them in the order in which this process loaded them.
    home = {name: module for module in table.ROWS for name in table.functions_of([module])}
    layers = [TABLE[name].layer for name in sorted(TABLE, key=home.__getitem__)]
    row = re.findall(r"^\| activations \|.*\|$", page, re.MULTILINE)[-1]
    layers += [name for name in re.findall(r"`(\w+)`", row) if name not in layers]
    wanted = page.replace(row, f"| activations | {listed(layers)} |")
    rows = "\n".join(f"| {label} | {listed(names)} |" for label, names in ops.items())
    wanted = re.sub(
        r"(^## Operations.*?---\|\n).*?(?=\n\n)", rf"\g<1>{rows}", wanted, count=1, flags=re.M | re.S
    )
    if os.environ.get("RANVIER_WRITE"):
        path.write_text(wanted)
    assert path.read_text() == wanted, "RANVIER_WRITE=1 writes it"


def test_each_activation_is_a_layer_with_a_docstring_in_the_source() -> None:
    folder = Path(nn.activation.__file__ or "").parent
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    classes = re.findall(r'^class (\w+)\(\w+\):\n    """', source, re.MULTILINE)
    assert {row.layer for row in TABLE.values()} <= {*classes}


def test_the_toolbox_page_invents_no_name() -> None:
    page = (Path(__file__).parents[2] / "docs" / "toolbox.md").read_text()
    places = [importlib.import_module(f"ranvier.{place}") for place in (*PLACES[:-1], "optim.swa_utils")]
    places += [rv, rv.ops, rv.nn.functional, rv.Trainer, rv.nn.Module]
    for line in re.findall(r"^\|.*\|$", page, re.MULTILINE):
        for name in re.findall(r"`([A-Za-z]\w*)`", line):
            known = name in ("augment", "datasets", "distributed", "lr_scheduler", "prefetch", "swa_utils")
            known = known or name in rv.sklearn.__all__  # without loading scikit-learn
            assert known or any(hasattr(place, name) for place in places), name


# The table of PyTorch names in docs/pytorch_names.md: each row, here and in PyTorch where installed.


NAMES_PAGE = Path(__file__).parents[2] / "docs" / "pytorch_names.md"
ROW = re.compile(r"^\| (`.+?`) \| `(.+)` \| `(.+)` \|$")
ROWS = [match.groups() for match in map(ROW.match, NAMES_PAGE.read_text().splitlines()) if match]


def rates(schedule):
    """The first group's learning rate after each of three steps; on a plateau of 1."""
    plateau = (1.0,) if type(schedule).__name__ == "ReduceLROnPlateau" else ()
    found = []
    for _ in range(3):
        schedule.optimizer.step()
        schedule.step(*plateau)
        found.append(schedule.get_last_lr()[0])
    return found


def result_of(example, library):
    """The text of an example, on one line, with ``torch`` meaning the library of that name."""
    torch = importlib.import_module(library)
    names = {
        "torch": torch,
        "nn": importlib.import_module(f"{library}.nn"),
        "F": importlib.import_module(f"{library}.nn.functional"),
        "optim": importlib.import_module(f"{library}.optim"),
        "np": np,
        "x": torch.tensor([[1.0, -2.0], [3.0, 4.0]]),
        "w": torch.tensor([1.0, 2.0], requires_grad=True),
        "image": torch.arange(16.0).reshape(1, 1, 4, 4),
    }
    names["sgd"], names["rates"] = names["optim"].SGD([names["w"]], lr=1.0), rates
    importlib.import_module(f"{library}.utils.data")
    return re.sub(r"\s*\n\s*", " ", repr(eval(example, names)))


def test_the_page_has_its_rows():
    assert len(ROWS) == sum(line.startswith("| `") for line in NAMES_PAGE.read_text().splitlines()) > 150


@grouped(("name", "example", "result"), ROWS, ids=[row[0] for row in ROWS])
def test_name(name, example, result):
    assert result_of(example, "ranvier") == result


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # PyTorch's own, in torch.func.jvp
@pytest.mark.filterwarnings("ignore:torch.* is deprecated in favor of:UserWarning")  # said once a process
@grouped(("name", "example", "result"), ROWS, ids=[row[0] for row in ROWS])
def test_the_page_is_right_about_pytorch(name, example, result, torch):
    assert result_of(example, "torch") == result


# Ours and PyTorch's have the same name, but are no public function there: other arguments, other results.
OTHERS = {
    *("torch.adaptive_max_pool1d", "torch.batch_norm", "torch.embedding", "torch.instance_norm"),
    *("torch.compile", "torch.get_rng_state", "torch.kl_div"),  # compile: of a step, not of a model alone
    *("Tensor.cuda", "Module.cuda", "Module.half", "Module.bfloat16"),  # refused
    *(f"{at}.{name}" for at in ("torch", "Tensor") for name in ("stft", "istft")),  # pairs, not complex
    *(f"{at}.{name}" for at in ("torch", "Tensor") for name in ("cholesky", "lu", "qr", "triangular_solve")),
    # deprecated
    *("torch.lu_unpack", "torch.set_default_tensor_type", "Tensor.storage"),  # deprecated, too
    *(f"nn.utils.{p}weight_norm" for p in ("", "remove_")),
    *(f"nn.utils.{p}spectral_norm" for p in ("", "remove_")),
    *(
        f"nn.init.{name}" for name in ("constant", "eye", "normal", "orthogonal")
    ),  # PyTorch's deprecated names
    *(f"nn.init.{kind}_{name}" for kind in ("kaiming", "xavier") for name in ("normal", "uniform")),
}
PYTORCH_PLACES = {"torch": "", "F": "nn.functional", "rnn": "nn.utils.rnn"}
PYTORCH_PLACES |= {name: f"optim.{name}" for name in ("lr_scheduler", "swa_utils")}
PYTORCH_PLACES |= {name: name for name in ("nn", "nn.init", "nn.utils", "optim", "utils.data")}


def names_in_common(ours, theirs):
    return {n for n in dir(ours) if not n.startswith("_") and hasattr(theirs, n)}


def test_every_name_in_common_has_its_row(torch):
    common = set()
    for short, path in PYTORCH_PLACES.items():
        ours, theirs = (importlib.import_module(f"{lib}.{path}".rstrip(".")) for lib in ("ranvier", "torch"))
        for name in names_in_common(ours, theirs):
            value = getattr(ours, name)
            home = str(getattr(value, "__module__", ""))
            inside = home.startswith("ranvier") and (
                short == "torch" or path.split(".")[-1] in home or "ops" in home
            )
            if callable(value) and not isinstance(value, types.ModuleType) and inside:
                common.add(f"{short}.{name}")
    for short in ("Tensor", "nn.Module"):
        ours, theirs = (_at(importlib.import_module(lib), short) for lib in ("ranvier", "torch"))
        common |= {f"{short.split('.')[-1]}.{name}" for name in names_in_common(ours, theirs)}
    rows = {name for row in ROWS for name in re.findall(r"[\w.]+", row[0])}
    assert sorted(common - rows - OTHERS) == []


def _at(library, path):
    for name in path.split("."):
        library = getattr(library, name)
    return library


# Every public name in common with PyTorch takes PyTorch's arguments: their names, order and defaults.
#
# PyTorch's signatures are those of its Python functions, and the schemas of its operators. What differs is in
# LEFT_OUT and ALLOWED, with the reason.


EMPTY = inspect.Parameter.empty
POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
VARIABLE = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

# Arguments that are refused (a TypeError names them): results written into given tensors, gradients of
# sparse layouts; and those that PyTorch's dispatch has for itself.
LEFT_OUT = {"out", "out_dtype", "_stacklevel", "cudnn_enabled", "cudnn_enable", "self", "layout"}
LEFT_OUT |= {"pin_memory", "memory_format", "implicit", "get_infos", "pivot"}
LEFT_OUT |= {"align_to_window"}  # where the frames of stft begin without center
# obsolete there: Hardtanh
LEFT_OUT |= {"min_value", "max_value"}
# Taken by every layer and optimizer, whatever its signature says (nn/registry.py, Optimizer.IGNORED).
LEFT_OUT |= {"device", "dtype", "foreach", "fused", "capturable", "differentiable"}
ALLOWED = {
    # the function of this name in PyTorch is another one: its operator, not its layer
    "torch": "alpha_dropout batch_norm compile dropout elu_ embedding instance_norm rrelu_",
    # PyTorch's overloads have several meanings: the tests of arguments call them
    "overloads": "searchsorted split swapaxes tensor_split uniform_ where",
    # any number of tensors
    "tensors": "atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors cartesian_prod einsum resize_",
    # a matrix is A, as in torch.linalg, whose functions they are
    "matrices": "cholesky det inverse logdet matrix_power pinverse slogdet",
    # nn.init: PyTorch's deprecated names
    "old": "normal uniform swapaxes_",
    # files that run no code, or with more settings
    "files": "load save from_dlpack",
}
NAMES_ALLOWED = {name for names in ALLOWED.values() for name in names.split()}


def parameters(function):
    return list(inspect.signature(function).parameters.values())


def differences(ours, theirs, self_name):
    """The parameters of PyTorch's (name, keyword only, default) that the function takes in another way."""
    mine = parameters(ours)
    by_name = {p.name: p for p in mine if p.kind not in VARIABLE}
    order = [p.name for p in mine if p.kind in POSITIONAL]
    anything = any(p.kind == inspect.Parameter.VAR_KEYWORD for p in mine)
    several = any(p.kind == inspect.Parameter.VAR_POSITIONAL for p in mine)
    found = []
    for place, (name, keyword_only, default) in enumerate(theirs):
        name = self_name if name == "self" else name
        if name in LEFT_OUT or name is None:
            continue
        if name not in by_name:
            if not anything:
                found.append(f"no {name}")
            continue
        if not keyword_only and not several and place < len(order) and order[place] != name:
            found.append(f"{order[place]} in the place of {name}")
        own = by_name[name].default
        if default is not EMPTY and own is EMPTY:
            found.append(f"{name} has no default")
        elif default is not EMPTY and own != default and not _same_default(own, default):
            found.append(f"{name}={own!r}, there {default!r}")
    return found


def _same_default(ours, theirs):
    """A list of equal numbers is the number; callables, generators and None stand for the same default."""
    if isinstance(theirs, (list, tuple)):
        values = list(ours) if isinstance(ours, (list, tuple)) else [ours]
        return not theirs or {*theirs} == {*values} or ours is None
    return (
        callable(theirs) or ours is None or theirs is None or isinstance(ours, str) != isinstance(theirs, str)
    )


def schemas(torch):
    found = defaultdict(list)
    for schema in torch._C._jit_get_all_schemas():
        space, _, name = schema.name.partition("::")
        words = schema.overload_name.lower()
        plain = "out" not in words and "name" not in words and "scalar" not in words
        if space == "aten" and plain and any("Tensor" in str(a.type) for a in schema.arguments[:1]):
            arguments = [
                (a.name, a.kwarg_only, a.default_value if a.has_default_value() else EMPTY)
                for a in schema.arguments
            ]
            found[name].append(arguments)
    return found


def wanted(function, name, operators):
    """The signatures of a function of PyTorch."""
    try:
        own = parameters(function)
    except (TypeError, ValueError):
        return operators.get(name, [])
    if all(p.kind in VARIABLE for p in own):
        return operators.get(name, [])
    return [[(p.name, p.kind == p.KEYWORD_ONLY, p.default) for p in own if p.kind not in VARIABLE]]


def public(ours, theirs):
    for name in dir(ours):
        mine = getattr(ours, name)
        if name[0] != "_" and hasattr(theirs, name) and callable(mine) and not inspect.isclass(mine):
            yield name, mine, getattr(theirs, name)


def check(ours, theirs, operators, self_name):
    """The functions that differ from all of PyTorch's forms of that name."""
    wrong = {}
    for name, mine, other in public(ours, theirs):
        forms = [] if name in NAMES_ALLOWED else wanted(other, name, operators)
        found = [differences(mine, form, self_name) for form in forms]
        if found and all(found):
            wrong[name] = min(found, key=len)
    return wrong


@pytest.mark.parametrize("place", ["", "nn.functional", "nn.init", "nn.utils", "nn.utils.rnn"])
def test_functions(place, torch):
    ours, theirs = (importlib.import_module(f"{lib}.{place}".rstrip(".")) for lib in ("ranvier", "torch"))
    assert check(ours, theirs, schemas(torch), "input") == {}


def test_methods_of_tensor(torch):
    assert check(rv.Tensor, torch.Tensor, schemas(torch), None) == {}


@pytest.mark.parametrize("place", ["nn", "optim", "optim.lr_scheduler", "utils.data", "distributions"])
def test_constructors_and_methods(place, torch):
    ours, theirs = (importlib.import_module(f"{lib}.{place}") for lib in ("ranvier", "torch"))
    wrong = {}
    for name in dir(ours):
        mine, other = getattr(ours, name), getattr(theirs, name, None)
        if not (inspect.isclass(mine) and inspect.isclass(other)) or name in ("Parameter", "Tensor"):
            continue
        for method in ("__init__", "forward", "step", "load_state_dict", "add_param_group", "apply"):
            pair = getattr(mine, method, None), getattr(other, method, None)
            if all(map(inspect.isfunction, pair)) and not name.startswith("Lazy"):
                (form,) = wanted(pair[1], method, {}) or [[]]
                found = differences(pair[0], form, "self")
                if found:
                    wrong[f"{name}.{method}"] = found
    assert wrong == {}


def test_what_is_left_out_is_taken_or_refused():
    """device= and dtype= of layers; foreach= and its like of optimizers; most functions refuse out=."""
    assert nn.Linear(2, 3, device="cpu", dtype=rv.float64).weight.dtype == rv.float64
    optim.Adam([rv.ones(1, requires_grad=True)], foreach=True, fused=False, capturable=False)
    for call in (
        lambda: rv.exp(rv.ones(2), out=rv.ones(2)),
        lambda: rv.zeros(2, out=rv.ones(2)),
        lambda: rv.mm(rv.ones(2, 2), rv.ones(2, 2), out_dtype=rv.float64),
    ):
        refused(TypeError, "out", call)
