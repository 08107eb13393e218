"""The layers of the package: no import runs up, and the core stands without its satellites."""

import ast
import importlib
import importlib.util
import re
import shutil
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import ranvier
from support.python import printed

# From the lowest layer to the highest; parts in one line do not import each other. "ranvier" is its __init__.
# Those with a star are satellites.
LAYERS = """
    _core
    config extension grad_mode observe settings
    tensors
    first_use tape
    autograd
    kernels version
    ops
    fft linalg nn
    func optim serialization layer_table
    data metrics compile
    train
    ranvier
    data.vision* distributed* distributions* export* onnx* plot* sklearn*
    explore* torch*
    cli*
    __main__
"""
RANK = {part.strip("*"): rank for rank, line in enumerate(LAYERS.split("\n")) for part in line.split()}
SATELLITES = [part.strip("*") for part in LAYERS.split() if part.endswith("*")]


def sources(folder):
    """The text of each module of a package, by the module's full name."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = (folder.name, *path.relative_to(folder).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def imports(modules):
    """For each module the modules, of these, that it imports."""
    edges = {}
    for name, text in modules.items():
        targets = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                targets.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}, line {node.lineno}: expected the module's full name"
                targets.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
            elif isinstance(node, ast.Call) and _called(node.func) == "import_module":
                targets.update(arg.value for arg in node.args if isinstance(arg, ast.Constant))
        edges[name] = (targets & modules.keys()) - {name}
    return edges


def _called(function):
    """The last name of what is called."""
    return getattr(function, "attr", getattr(function, "id", ""))


def circle(edges):
    """One chain of imports that leads back to its first module, or none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []


def part(module):
    """The entry of the table: the folder or file directly below the package, or a satellite inside one."""
    inside = [name for name in SATELLITES if f"{module}.".startswith(f"ranvier.{name}.")]
    return inside[0] if inside else module.split(".")[1] if "." in module else module


def upward(edges):
    """Imports of a part in the same or a higher layer."""
    pairs = [(name, target) for name, targets in edges.items() for target in targets]
    return [(a, b) for a, b in pairs if part(a) != part(b) and RANK[part(a)] <= RANK[part(b)]]


def test_layers_of_the_package():
    edges = imports({"ranvier._core": "", **sources(Path(ranvier.__file__).parent)})
    assert {part(name) for name in edges} == RANK.keys()
    assert upward(edges) == []
    assert circle(edges) == []


def test_benchmarks_have_no_circle_of_imports():
    folder = Path(__file__).parents[2] / "benchmarks"
    assert circle(imports(sources(folder))) == []


@pytest.mark.parametrize(
    "statement",
    [
        "import ranvier.nn",
        "import numpy, ranvier.nn.conv as conv",
        "from ranvier import nn",
        "from ranvier.nn import conv",
        "from ranvier.nn.conv import Conv2d",
        "def f():\n    import ranvier.nn.conv",
        "if TYPE_CHECKING:\n    from ranvier.nn.conv import Conv2d",
        "importlib.import_module('ranvier.nn')",
    ],
)
def test_every_kind_of_import_is_seen(statement):
    below = {"ranvier.nn": "import ranvier.ops.conv as conv", "ranvier.nn.conv": "import ranvier.nn as nn"}
    edges = imports({"ranvier.ops.conv": statement, **below})
    assert upward(edges)
    assert circle(edges)


def test_every_module_is_reached_by_attribute() -> None:
    """No function has the name of a module beside it; `rv.compile` is both."""
    code = "import importlib, operator, pkgutil, sys, ranvier\n"
    code += "for m in pkgutil.walk_packages(ranvier.__path__, 'ranvier.', lambda name: None):\n"
    code += "    if '._' in m.name: continue\n"
    code += "    try: module = importlib.import_module(m.name)\n"
    code += "    except ImportError: continue\n"
    code += "    if operator.attrgetter(m.name.partition('.')[2])(ranvier) is not module: print(m.name)\n"
    assert printed("-W", "ignore", "-c", code) == ""


# The core stands without its satellites, and these use its public names and the extension points only.
#
# The satellites are those with a star in the table of test_imports.py. Public are the names of the
# modules in docs/extension/api.py; the extension points are the table of docs/design/extension_points.md.


ROOT = Path(__file__).parents[2]
PACKAGE = Path(ranvier.__file__).parent
MODULES = {"ranvier._core": "", **sources(PACKAGE)}
PAGES = (ROOT / "docs" / "extension" / "api.py").read_text()
PUBLIC = {*re.findall(r'^    "(ranvier[\w.]*)": ', PAGES, re.M), "ranvier.ops", "ranvier.version"}
PAGE = (ROOT / "docs" / "design" / "extension_points.md").read_text()
POINTS = {
    (module, name)
    for module, names in re.findall(r"^\| `(ranvier[\w.]*)` \| ([^|]*) \|", PAGE, re.M)
    for name in re.findall(r"`(\w+)`", names)
}
SHORT = ["nn/test_linear.py", "train/test_updates.py"]

EVERYTHING = """
import importlib, pkgutil, sys, ranvier
assert ranvier.__path__[0].startswith(sys.argv[1]), ranvier
for module in pkgutil.walk_packages(ranvier.__path__, "ranvier."):
    try:
        module.name == "ranvier.__main__" or importlib.import_module(module.name)
    except ModuleNotFoundError as error:  # another package is not installed
        assert not (error.name or "ranvier").startswith("ranvier"), error
for name in dir(ranvier):
    getattr(ranvier, name)
if sys.argv[2:]:
    import pytest
    sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-m", "quick", *sys.argv[2:]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("satellite", [*SATELLITES, "all"])
def test_the_rest_stands_without_it(satellite, tmp_path):
    """It is imported; without all of them, some tests run, too."""
    shutil.copytree(PACKAGE, tmp_path / "ranvier")  # with what is compiled already
    for each in SATELLITES if satellite == "all" else [satellite]:
        shutil.rmtree(tmp_path / "ranvier" / each.replace(".", "/"))
    short = [ROOT / "tests" / name for name in SHORT if satellite == "all"]
    settings = {"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    printed("-W", "ignore", "-c", EVERYTHING, tmp_path, *short, **settings)


def imported(text):
    """(module, name) of each import of this package; the name is None where a module as such is imported."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names if alias.name.startswith("ranvier"))
        elif isinstance(node, ast.ImportFrom) and node.module.startswith("ranvier"):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield (inner, None) if inner in MODULES else (node.module, alias.name)


def is_public(module, name):
    """True for a public module, and for a name that is public or an extension point."""
    if name is None:
        return module in PUBLIC or is_public(*module.rsplit(".", 1))
    if (module, name) in POINTS or name in ("*", "__version__"):
        return True
    names = getattr(importlib.import_module(module), "__all__", None)
    return module in PUBLIC and (name[0] != "_" if names is None else name in names)


@pytest.mark.parametrize("satellite", SATELLITES)
def test_a_satellite_uses_public_names(satellite):
    hidden = set()
    for module, text in MODULES.items():
        if part(module) == satellite:
            for used, name in imported(text):
                if part(used) not in SATELLITES and not is_public(used, name):
                    hidden.add(f"{module}: {used} {name or ''}")
    assert sorted(hidden) == []


def test_every_extension_point_is_there_and_used():
    for module, name in POINTS:
        is_there = hasattr(importlib.import_module(module), name)  # a module may not be loaded so far
        assert is_there or importlib.util.find_spec(f"{module}.{name}"), (module, name)
    texts = [text for module, text in MODULES.items() if part(module) in SATELLITES]
    used = {
        (module, name) if name else tuple(module.rsplit(".", 1))
        for t in texts
        for module, name in imported(t)
    }
    assert sorted(POINTS - used) == []


def test_the_core_names_no_satellite():
    """In no import, and in no text that could be one; `ranvier/__init__.py` has the table of them."""
    names = [f"ranvier.{satellite}" for satellite in SATELLITES]
    named_first = "|".join(rf"\b{name.rpartition('.')[2]}\b" for name in SATELLITES)  # most files have none
    for module, text in MODULES.items():
        if part(module) not in (*SATELLITES, "ranvier", "__main__") and re.search(named_first, text):
            targets = {used if name is None else f"{used}.{name}" for used, name in imported(text)}
            targets.update(re.findall(r"""["'](ranvier\.[\w.]+)["']""", text))
            named = [t for t in targets for name in names if f"{t}.".startswith(f"{name}.")]
            assert named == [], module


def test_the_package_and_the_page_name_the_satellites():
    table, page = (PACKAGE / "__init__.py").read_text(), (ROOT / "ARCHITECTURE.md").read_text()
    assert [
        name for name in SATELLITES if name not in table or f"`{name.replace('.', '/')}`" not in page
    ] == []
