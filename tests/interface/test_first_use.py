"""The first use of a part in a process does not load modules that it does not need.

A module takes .1 to .5 ms each time, in every process: short fits, commands and jobs of a search pay for it.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.python import printed

NETWORK = "nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))"
DATA = "numpy.zeros((8, 4), 'f'), numpy.arange(8) % 3"

# Parts that neither trains a network of Linear and ReLU nor reads it from a file.
OTHER_PARTS = """
    ranvier.autograd.gradients ranvier.compile.guarding.walk ranvier.compile.listing ranvier.data.collate
    ranvier.data.dataset ranvier.data.loader ranvier.data.sampler ranvier.linalg ranvier.metrics.ranking
    ranvier.metrics.regression ranvier.nn.activation.smooth ranvier.nn.conv ranvier.nn.dropout ranvier.nn.lazy
    ranvier.nn.loss.elements ranvier.nn.loss.margins ranvier.nn.norm ranvier.nn.rare ranvier.nn.utils
    ranvier.ops.image.conv ranvier.ops.matrix.einsum ranvier.ops.reduction.reduce ranvier.optim.lbfgs
    ranvier.optim.lr_scheduler ranvier.tape.context ranvier.tape.host_nodes ranvier.tape.nodes
    ranvier.tensors.picks ranvier.train.callbacks.control ranvier.train.checkpoints ranvier.train.descriptions
    dataclasses difflib shutil signal tempfile zipfile
"""


def loaded(code: str) -> set[str]:
    """The modules of a new process that runs the code."""
    program = f"import sys, numpy, ranvier as rv; from ranvier import nn; {code}; print(*sys.modules)"
    return set(printed("-c", program).split())


def test_a_fit() -> None:
    fit = f"rv.Trainer({NETWORK}, 'cross_entropy', 'adam').fit({DATA}, epochs=1, verbose=0)"
    more = "ranvier.metrics ranvier.serialization ranvier.train.callbacks.logs"
    assert loaded(fit) & {*OTHER_PARTS.split(), *more.split()} == set()


def test_a_load(tmp_path) -> None:
    path = str(tmp_path / "model.safetensors")
    rv.save(nn.Sequential(nn.Linear(4, 8), nn.ReLU()), path)
    more = "data metrics nn.loss optim tape.backpropagation train"
    unwanted = {*OTHER_PARTS.split(), *[f"ranvier.{name}" for name in more.split()]}
    assert loaded(f"rv.load({path!r})") & unwanted == set()


def test_a_prediction_of_a_command(tmp_path) -> None:
    model = str(tmp_path / "model.safetensors")
    rows = str(tmp_path / "rows.npy")
    rv.save(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), model, input_shape=(4,))
    np.save(rows, np.zeros((2, 4), np.float32))
    command = f"from ranvier.cli import main; main(['predict', {model!r}, {rows!r}])"
    more = """
        ranvier.cli.problems ranvier.cli.training ranvier.data.datasets.tables ranvier.nn.loss ranvier.optim
        ranvier.train.trainer bz2 csv gzip lzma pandas
    """
    assert loaded(command) & {*OTHER_PARTS.split(), *more.split()} == set()


def test_a_fit_of_an_estimator() -> None:
    pytest.importorskip("sklearn")
    fit = f"from ranvier.sklearn import MLPClassifier; MLPClassifier(max_iter=1).fit({DATA})"
    parts = {name for name in OTHER_PARTS.split() if name.startswith("ranvier.")}  # scikit-learn loads others
    assert loaded(f"import warnings; warnings.simplefilter('ignore'); {fit}") & parts == set()


def test_a_list_has_no_name_of_the_past() -> None:
    """Each name in the lists is a module."""
    code = f"import importlib; [importlib.import_module(name) for name in {OTHER_PARTS.split()!r}]"
    assert {*OTHER_PARTS.split()} <= loaded(code)
