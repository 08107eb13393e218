"""Tests of PyTorch's names in this process leave the modules that its programs share as they were."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from ranvier.nn import functional, init


@pytest.fixture(scope="module", autouse=True)
def _functions_of_the_library() -> Iterator[None]:
    """`torch.nn.functional` and `torch.nn.init` are modules of this library, whose functions an import in
    PyTorch's place replaces by objects that have PyTorch's names."""
    functional._load()
    modules = (functional, init)
    before = [dict(vars(module)) for module in modules]
    own = dict(functional._OWN)
    yield
    for module, names in zip(modules, before, strict=True):
        vars(module).clear()
        vars(module).update(names)
    functional._OWN.clear()
    functional._OWN.update(own)
