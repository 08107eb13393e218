"""Every example in a docstring runs and prints what it says."""

import doctest
import importlib
import pkgutil

import pytest
import ranvier as rv

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(rv.__path__, "ranvier.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", ["ranvier", *MODULES])
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0, f"{result.failed} of {result.attempted} examples failed"
