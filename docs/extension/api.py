"""Pages of the public names, in the groups of docs/toolbox.md; what several modules have only once."""

from __future__ import annotations

import importlib
import inspect
import re
import shutil
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

from extension.pages import DOCS

API = DOCS / "api"
# module -> what it has. A thing is described under the first of these modules that has it.
MODULES = {
    "ranvier.nn": "layers, losses as modules, `Module`",
    "ranvier.optim": "optimizers",
    "ranvier.optim.lr_scheduler": "schedules of the learning rate",
    "ranvier.optim.swa_utils": "averages of weights",
    "ranvier.train": "`Trainer` and its callbacks",
    "ranvier.data": "loaders, samplers, transforms",
    "ranvier.data.datasets": "data sets",
    "ranvier.data.augment": "augmentation of whole batches",
    "ranvier.metrics": "scores",
    "ranvier.serialization": "model files",
    "ranvier.layer_table": "the layers of a model as a table",
    "ranvier.onnx": "ONNX files",
    "ranvier.export": "networks as C99",
    "ranvier.sklearn": "estimators for scikit-learn",
    "ranvier.plot": "pictures",
    "ranvier.explore": "diagnosis",
    "ranvier.distributed": "several processes",
    "ranvier.compile": "`rv.compile`",
    "ranvier.config": "threads, memory, versions",
    "ranvier.autograd": "the tape, `Function`, `grad`",
    "ranvier.autograd.functional": "jacobians and hessians",
    "ranvier.func": "gradients, Jacobians and Hessians as functions of functions",
    "ranvier.fft": "Fourier transforms",
    "ranvier.linalg": "linear algebra",
    "ranvier.distributions": "probability distributions",
    "ranvier": "operations on tensors, and everything that programs use most",
    "ranvier.nn.functional": "operations under PyTorch's names",
    "ranvier.nn.init": "starting values",
    "ranvier.nn.utils": "clipping of gradients, parameters as a vector",
    "ranvier.nn.utils.rnn": "sequences of several lengths",
    "ranvier.kernels": "the kernels alone, on NumPy arrays",
}
SPLIT = ("ranvier", "ranvier.nn")  # a page for each group
OTHERS = "further names"


class Thing(NamedTuple):
    """A public class or function, under the name that programs use."""

    full: str
    module: str  # on whose page it is described
    group: str
    page: str
    found: Any


def public(module: ModuleType) -> list[str]:
    """Names of the module's classes and functions."""
    named = getattr(module, "__all__", None) or [name for name in dir(module) if name[0] != "_"]
    found = []
    for name in sorted(set(named)):
        thing = getattr(module, name)
        home = getattr(thing, "__module__", None) or ""
        if callable(thing) and not inspect.ismodule(thing) and home.startswith("ranvier"):
            found.append(name)
    return found


@cache
def groups(module: str) -> dict[str, str]:
    """name -> the row of docs/toolbox.md that has it, in the section of the module."""
    place = "rv" + module.removeprefix("ranvier")
    found: dict[str, str] = {}
    for section in re.split(r"^## ", (DOCS / "toolbox.md").read_text(), flags=re.M)[1:]:
        title = section.split("\n", 1)[0]
        if f"`{place}.*`" in title or f"`{place}`" in title:
            for row in re.findall(r"^\| ([^|]+) \|(.*)\|$", section, re.M):
                for name in re.findall(r"`([A-Za-z]\w*)`", "".join(row)):
                    found.setdefault(name, row[0].replace("`", ""))
    return found


@cache
def things() -> tuple[list[Thing], dict[str, Thing]]:
    """What is described, and every public name with the thing that it means."""
    described: dict[int, Thing] = {}
    meant: dict[str, Thing] = {}
    top = importlib.import_module("ranvier")
    for module in MODULES:
        loaded = importlib.import_module(module)
        for name in public(loaded):
            found = getattr(loaded, name)
            if id(found) not in described:
                group = groups(module).get(name, OTHERS)
                known = getattr(top, name, None) is found  # rv.save, not rv.serialization.save
                full = f"ranvier.{name}" if known else f"{module}.{name}"
                described[id(found)] = Thing(full, module, group, page_of(module, group), found)
            meant[f"{module}.{name}"] = described[id(found)]
    ordered = sorted(described.values(), key=lambda thing: (_is_error(thing.found), thing.full.lower()))
    return ordered, meant


def _is_error(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, BaseException)


def page_of(module: str, group: str | None = None) -> str:
    """The page of a module, or of one of its groups if it has a page for each."""
    page = module.removeprefix("ranvier").strip(".").replace(".", "_") or "ranvier"
    return f"{page}_{re.sub(r'[^a-z]+', '_', group.lower())}" if group and module in SPLIT else page


def write_pages() -> None:
    """The pages, in docs/api; files whose text is the same are left alone."""
    described, meant = things()
    texts = {"index": _index()}
    for module, what in MODULES.items():
        own = [thing for thing in described if thing.module == module]
        inside = {name: thing for name, thing in meant.items() if name.rpartition(".")[0] == module}
        others = {name: thing for name, thing in inside.items() if thing.module != module}
        texts.update(_module_pages(module, what, own, others))
    API.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        path = API / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for path in API.glob("*"):
        if path.stem not in texts:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n\n"


def _index() -> str:
    text = _heading("API", "=")
    text += "All public names, with formula, shapes, errors and an example that runs as a test. In examples\n"
    text += "`rv` is `ranvier`. The search finds a name directly.\n\n"
    rows = [(f":doc:`{module} <{page_of(module)}>`", what) for module, what in sorted(MODULES.items())]
    return text + _table(rows) + _contents([page_of(module) for module in sorted(MODULES)])


def _module_pages(
    module: str, what: str, own: list[Thing], others: dict[str, Thing]
) -> Iterator[tuple[str, str]]:
    order = [*dict.fromkeys(groups(module).values()), OTHERS]
    found = {group: [thing for thing in own if thing.group == group] for group in order}
    found = {group: names for group, names in found.items() if names}
    text = _heading(module, "=") + f"{what[0].upper()}{what[1:]}.\n\n"
    if module in SPLIT:
        rows = []
        for group, names in found.items():
            yield page_of(module, group), _heading(f"{module}: {group}", "=") + _descriptions(names)
            links = " ".join(f":py:obj:`~{thing.full}`" for thing in names)
            rows.append((f":doc:`{group} <{page_of(module, group)}>`", links))
        text += _table(rows) + _contents([f"{group} <{page_of(module, group)}>" for group in found])
    else:
        for group, names in found.items():
            text += (_heading(group, "-") if len(found) > 1 else "") + _descriptions(names)
    if others:
        rows = [
            (f":py:obj:`{name} <{thing.full}>`", f":doc:`{thing.module} <{thing.page}>`")
            for name, thing in sorted(others.items())
        ]
        text += _heading("Described elsewhere", "-") + _table(rows)
    yield page_of(module), text


def _table(rows: list[tuple[str, str]]) -> str:
    text = ".. list-table::\n   :widths: 30 70\n\n"
    return text + "".join(f"   * - {first}\n     - {second}\n" for first, second in rows) + "\n"


def _contents(pages: list[str]) -> str:
    return ".. toctree::\n   :hidden:\n\n" + "".join(f"   {page}\n" for page in pages) + "\n"


def _descriptions(names: list[Thing]) -> str:
    text = ""
    for thing in names:
        if not inspect.isclass(thing.found):
            text += f".. autofunction:: {thing.full}\n\n"
            continue
        kind = "autoexception" if _is_error(thing.found) else "autoclass"
        text += f".. {kind}:: {thing.full}\n   :members:\n\n"
    return text


def target(name: str) -> str:
    """The described name that `rv.x`, `nn.x`, `F.x` ... stand for."""
    name = name.removesuffix("()")
    for short, full in SHORT.items():
        if name.startswith(f"{short}."):
            name = full + name[len(short) :]
            break
    name = re.sub(r"^ranvier\.ops\.", "ranvier.", name)  # as docstrings refer to them
    meant = things()[1].get(name)
    return meant.full if meant else name


SHORT = {"rv": "ranvier", "nn": "ranvier.nn", "optim": "ranvier.optim", "F": "ranvier.nn.functional"}
