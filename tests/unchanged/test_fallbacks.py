"""Names that are left out: where they raise, so that a program goes on without them, and where they are
stand-ins; modules, and functions with a module's name."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil

import pytest
import ranvier.torch.installation.names as names
from support.python import in_mode

WAITS = {  # a way to go on is there: the name raises
    "import": """
        try:
            from torch.utils.data import (
                IterDataPipe,
                functional_datapipe,
            )
        except ImportError:
            gone = True
    """,
    "module": """
        try:
            import torch.distributed.pipelining as pipelining
        except ModuleNotFoundError:
            gone = True
    """,
    "several errors": """
        try:
            from torch.export import unflatten
        except (AttributeError, ImportError):
            gone = True
    """,
    "any error": """
        try:
            from torch.distributed import elastic
        except Exception:
            gone = True
    """,
    "all errors": """
        try:
            from torch.distributed._tensor import DTensor
        except:
            gone = True
    """,
    "importlib": """
        import importlib
        def optional(name):
            try:
                return importlib.import_module(name)
            except ImportError:
                return None
        gone = optional("torch._inductor.config") is None
    """,
    "attribute": """
        import torch
        try:
            T = torch.SymInt
        except AttributeError:
            gone = True
    """,
    "getattr": """
        import torch
        try:
            T0 = getattr(torch, "SymInt")
        except AttributeError:
            gone = True
    """,
    "handler by kind": """
        import torch
        try:
            from torch.distributed.tensor import DTensor
        except OSError:
            pass
        except ImportError:
            gone = True
    """,
}
STANDS_IN = {  # nothing waits for the name: it is a stand-in
    "import": "from torch.utils.data import functional_datapipe as T",
    "module": "import torch.distributed.fsdp as T",
    "raises": """
        try:
            from torch.distributed._tensor import DTensor as T
        except ImportError as error:
            raise RuntimeError("needs torch") from error
    """,
    "torch itself": """
        try:
            import torch
            from torch.distributed._tensor import DTensor as T
        except ImportError:
            torch = None
    """,
    "another error": """
        import torch
        try:
            T = torch.SymInt
        except (KeyError, ImportError):
            pass
    """,
    "later": """
        import torch
        try:
            def late():
                return torch.SymInt
        except AttributeError:
            pass
        T = late()
    """,
    "any name": """
        import torch
        def located(name):
            try:
                return getattr(torch, name.strip())
            except AttributeError:
                return None
        found = located("SymInt")
        if found is not None:
            T = found
    """,
    "in a handler": """
        import torch
        try:
            raise ImportError
        except ImportError:
            T = torch.SymInt
    """,
}


def test_a_name_raises_where_the_program_goes_on_without_it(tmp_path) -> None:
    """Each case in turn, twice: what one asker got changes nothing for the next."""
    cases = {**WAITS, **{f"{name} stands in": code for name, code in STANDS_IN.items()}}
    lines = []
    for name, code in cases.items():
        file = tmp_path / f"{name.replace(' ', '_')}.py"
        indent = " " * 8 if code.startswith("\n") else ""
        file.write_text("\n".join(line.removeprefix(indent) for line in code.split("\n")))
        lines.append(f"found = runpy.run_path({str(file)!r})")
        lines.append(f"said.append(({name!r}, 'gone' in found and found['gone'], 'T' in found))")
    program = "\n".join(["import runpy", "said = []", *lines, *lines, "print(said)"])
    expected = [(name, name in WAITS, name not in WAITS) for name in cases]
    assert eval(in_mode(program)) == expected * 2


def test_a_stand_in_is_no_module_that_hides_a_function() -> None:
    program = """
import importlib, pydoc, torch, torch.profiler, torch.ao.quantization
paths = ["torch.profiler.record_function", "torch.ao.quantization.quantize_dynamic", "torch.export.Dim",
         "torch.ao.quantization.prepare", "torch.optim.AdamW"]
found = []
for path in paths:
    module, _, name = path.rpartition(".")
    found += [callable(pydoc.locate(path)), callable(getattr(importlib.import_module(module), name))]
    try:
        importlib.import_module(path)
    except ModuleNotFoundError as error:
        found.append(error.name == path)
print(found)
"""
    assert eval(in_mode(program)) == [True] * 15


def test_a_function_stays_when_the_module_of_its_name_is_imported() -> None:
    program = """
import importlib, types
found = []
for path in PATHS:
    importlib.import_module(f"torch.{path}")
    module, _, name = path.rpartition(".")
    value = getattr(importlib.import_module(f"torch.{module}"), name)
    found.append(not isinstance(value, types.ModuleType) and callable(value))
print(found)
"""
    paths = [path for path in names.ALSO_MODULES if path != "distributed.rendezvous"]
    assert eval(in_mode(f"PATHS = {paths!r}\n{program}")) == [True] * len(paths)


def test_the_modules_that_are_left_out_are_pytorchs() -> None:
    torch = pytest.importorskip("torch")

    def below(folders, prefix):
        for module in pkgutil.iter_modules(folders):
            yield prefix + module.name
            if module.ispkg:
                yield from below([os.path.join(f, module.name) for f in folders], f"{prefix}{module.name}.")

    there = {path for path in below(torch.__path__, "") if names.why(path) and path not in names.MODULES}
    listed = {path for path in names.left_out_modules() if not path.startswith(("torchvision.", "_C."))}
    assert there <= listed
    for other in sorted(listed - there):  # other names of modules, which PyTorch makes when it runs
        importlib.import_module(f"torch.{other.rpartition('.')[0]}".rstrip("."))
        importlib.import_module(f"torch.{other}")


def test_the_list_of_modules_is_in_order() -> None:
    listed = names.left_out_modules()
    parents = {path.rpartition(".")[0] for path in listed} - {""}
    assert all(parent in listed or parent in names.MODULES or not names.why(parent) for parent in parents)
    assert json.dumps(sorted(listed)).islower() is False  # some have capitals, as _C
