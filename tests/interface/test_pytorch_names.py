"""The table of PyTorch names in docs/pytorch_names.md: each row, here and in PyTorch where installed."""

from __future__ import annotations

import importlib
import re
import types
from pathlib import Path

import numpy as np
import pytest
from support.grouped import grouped

PAGE = Path(__file__).parents[2] / "docs" / "pytorch_names.md"
ROW = re.compile(r"^\| (`.+?`) \| `(.+)` \| `(.+)` \|$")
ROWS = [match.groups() for match in map(ROW.match, PAGE.read_text().splitlines()) if match]


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
    assert len(ROWS) == sum(line.startswith("| `") for line in PAGE.read_text().splitlines()) > 150


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
PLACES = {
    "torch": "",
    "nn": "nn",
    "F": "nn.functional",
    "nn.init": "nn.init",
    "nn.utils": "nn.utils",
    "rnn": "nn.utils.rnn",
    "optim": "optim",
    "lr_scheduler": "optim.lr_scheduler",
    "swa_utils": "optim.swa_utils",
    "utils.data": "utils.data",
}


def names_in_common(ours, theirs):
    return {n for n in dir(ours) if not n.startswith("_") and hasattr(theirs, n)}


def test_every_name_in_common_has_its_row(torch):
    common = set()
    for short, path in PLACES.items():
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
