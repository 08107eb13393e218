"""Nothing public without a test: every op in ranvier.ops has a case that names it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ranvier import ops
from support.op_case import OpCase


def test_every_op_has_a_case() -> None:
    for path in sorted((Path(__file__).parent / "ops").rglob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"cases_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
    public = {name for name in ops.__all__ if callable(getattr(ops, name))}
    assert sorted(public - set(OpCase.registry)) == [], "public ops without an OpCase"
