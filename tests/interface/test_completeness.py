"""Nothing public without a test: every op in ranvier.ops has a case that names it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from pathlib import Path

import pytest
import ranvier as rv
from ranvier.ops import table
from ranvier.ops.activation.table import TABLE
from samples import OPS
from support.calls import OP_NAMES
from support.op_case import OpCase
from support.python import printed


@pytest.fixture(scope="module")
def cases() -> dict[str, list[type[OpCase]]]:
    for path in sorted((Path(__file__).parents[1] / "ops").rglob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"cases_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return OpCase.registry


def test_every_op_has_a_case(cases: dict[str, list[type[OpCase]]]) -> None:
    assert sorted(OP_NAMES - set(cases) - OPS.keys()) == [], "public ops without samples"


def test_every_name_of_the_table_is_found() -> None:
    for module, words in table.ROWS.items():
        place = rv.nn.functional if module in table.FUNCTIONAL else rv.ops if module[:5] == "loss." else rv
        assert all(callable(getattr(place, name)) for name in table.functions(words)), module
        assert all(callable(getattr(rv.Tensor, name)) for name in table.methods(words)), module


def test_type_checkers_see_the_modules_of_the_table() -> None:
    seen = re.findall(r"^    from ranvier\.ops\.(.*) import \*$", Path(rv.ops.__file__).read_text(), re.M)
    assert seen == sorted(table.ROWS.keys() - table.FUNCTIONAL.keys())
    names: dict[str, object] = {}
    for module in seen:  # without __all__: a name that one imports hides another module's op
        names |= vars(importlib.import_module(f"ranvier.ops.{module}"))
    assert [name for name, op in table.functions_of(seen).items() if names[name] is not op] == []


def test_import_loads_the_modules_of_the_table() -> None:
    code = "import sys, ranvier; print(*[m[12:] for m in sys.modules if m[:12] == 'ranvier.ops.'])"
    assert set(printed("-c", code).split()) & table.ROWS.keys() == table.AT_IMPORT.keys()


def test_every_op_is_called_at_random(cases: dict[str, list[type[OpCase]]]) -> None:
    lacking = [name for name, kinds in cases.items() if not any(kind.draw for kind in kinds)]
    assert sorted(lacking) == [], "ops without a draw"


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
    for module, words in sorted(table.ROWS.items()):
        alone = [f"x.{word[1:]}" for word in words.split() if word[0] == "."]
        ops[module.replace(".", ": ")] = [*sorted(table.functions_of([module])), *alone]
    layers = [row.layer for row in TABLE.values()]
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


def test_editors_see_the_activations() -> None:
    source = Path(importlib.import_module("ranvier.nn.activation").__file__ or "").read_text()
    assert re.findall(r"^    (\w+) = Layer$", source, re.MULTILINE) == sorted(
        row.layer for row in TABLE.values()
    )


def test_the_toolbox_page_invents_no_name() -> None:
    page = (Path(__file__).parents[2] / "docs" / "toolbox.md").read_text()
    places = [importlib.import_module(f"ranvier.{place}") for place in (*PLACES[:-1], "optim.swa_utils")]
    places += [rv, rv.ops, rv.nn.functional, rv.Trainer, rv.nn.Module]
    for line in re.findall(r"^\|.*\|$", page, re.MULTILINE):
        for name in re.findall(r"`([A-Za-z]\w*)`", line):
            known = name in ("augment", "datasets", "distributed", "lr_scheduler", "prefetch", "swa_utils")
            known = known or name in rv.sklearn.__all__  # without loading scikit-learn
            assert known or any(hasattr(place, name) for place in places), name
