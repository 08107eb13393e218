"""Nothing public without a test: every op in ranvier.ops has a case that names it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from ranvier import ops
from support.op_case import OpCase

RANDOM = {"alpha_dropout", "dropout", "dropout1d", "dropout2d"}  # PyTorch draws other numbers


@pytest.fixture(scope="module")
def cases() -> dict[str, list[type[OpCase]]]:
    for path in sorted((Path(__file__).parent / "ops").rglob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"cases_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return OpCase.registry


def test_every_op_has_a_case(cases: dict[str, list[type[OpCase]]]) -> None:
    public = {name for name in ops.__all__ if callable(getattr(ops, name))}
    assert sorted(public - set(cases)) == [], "public ops without an OpCase"


def test_every_op_is_called_at_random(cases: dict[str, list[type[OpCase]]]) -> None:
    lacking = [name for name, kinds in cases.items() if not any(kind.gives("draw") for kind in kinds)]
    assert sorted(lacking) == [], "ops without a draw"


def test_every_op_is_compared_with_pytorch(cases: dict[str, list[type[OpCase]]]) -> None:
    lacking = {name for name, kinds in cases.items() if not any(kind.gives("torch_op") for kind in kinds)}
    assert sorted(lacking ^ RANDOM) == [], "ops without a torch_op"
