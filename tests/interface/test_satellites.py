"""The core stands without its satellites, and these use its public names and the extension points only.

The satellites are those with a star in the table of test_imports.py. Public are the names of the
modules in docs/extension/api.py; the extension points are the table of docs/design/extension_points.md.
"""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import ranvier
from interface.test_imports import SATELLITES, part, sources

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
import importlib, pkgutil, sys, pytest, ranvier
assert ranvier.__path__[0].startswith(sys.argv[1]), ranvier
for module in pkgutil.walk_packages(ranvier.__path__, "ranvier."):
    try:
        module.name == "ranvier.__main__" or importlib.import_module(module.name)
    except ModuleNotFoundError as error:  # of another package that is not installed
        assert not (error.name or "ranvier").startswith("ranvier"), error
for name in dir(ranvier):
    getattr(ranvier, name)
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-m", "quick", *sys.argv[2:]]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("satellite", SATELLITES)
def test_the_rest_stands_without_it(satellite, tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "ranvier")  # with what is compiled already
    shutil.rmtree(tmp_path / "ranvier" / satellite.replace(".", "/"))
    command = [sys.executable, "-W", "ignore", "-c", EVERYTHING, tmp_path]
    command += [ROOT / "tests" / name for name in SHORT]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


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
    """Whether it is a public module, or a name that is public or an extension point."""
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
        assert hasattr(importlib.import_module(module), name), (module, name)
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
