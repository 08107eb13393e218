"""The core's classes that programs are made of, called wrongly: an error, and no crash.

They are no public API, but a program can reach them: TypeError with this text, and no reference is lost.
"""

import copy
import gc
import importlib.util
import pickle
import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core
from ranvier.compile.many_calls import Batches
from support.python import ended


def recording():
    made = _core.Recording("ranvier")
    made.begin()
    made.end()
    return made


def program():
    return _core.Program(recording(), [], [], [], [])


WRONG = [
    (lambda: _core.Recording(), "[_core] got 0 arguments; expected 1"),
    (lambda: _core.Recording(3), "expected"),
    (lambda: _core.Recording(package="ranvier"), "[_core] got keywords; expected positional arguments"),
    (lambda: _core.Program(3, [], [], [], []), "[_core] got int; expected ranvier._core.Recording"),
    (lambda: _core.Program(recording(), (), [], [], []), "[_core] got tuple; expected list"),
    (lambda: _core.Program.__new__(int), "subtype"),
    (lambda: object.__new__(_core.Program), "not safe"),
    (lambda: object.__new__(_core.ProgramForm), "ProgramForm"),
    (
        lambda: _core._CompiledCall()._run_eagerly(print, [], {}),
        "[run] got other arguments; expected a tuple and a dict",
    ),
    (lambda: _core._CompiledCall()._serve("x"), "[_core] got 1 arguments; expected 2"),
    (lambda: _core._CompiledCall()._serve("x", 3), "[serve] got another owner; expected a weak reference"),
    (lambda: _core._signature([], {}, False), "[_core] got list; expected tuple"),
    (lambda: _core.Signature(), "cannot create 'ranvier._core.Signature' instances"),
    (lambda: _core._set_module_class(3, print, "", print), "[module] got no class"),
    (lambda: _core._attach(print.__self__, 3, None), "[attach] got another key; expected a string"),
    (lambda: _core._collects(3, 4), "[collects] got other arguments; expected a string and a dict"),
    (lambda: _core.share_memory((np.ones(3),), [1.0]), "[share_memory] got float; expected lists of arrays"),
    (lambda: _core.ProgramForm(), "cannot create 'ranvier._core.ProgramForm' instances"),
    (lambda: type("Sub", (_core.Program,), {}), "not an acceptable base type"),
    (
        lambda: _core.Program.set_threads(recording(), True),
        "doesn't apply to a 'ranvier._core.Recording' object",
    ),
    (lambda: program().call([], {}), "[_core] got list; expected tuple"),
    (lambda: program().set_guards(3), "[_core] got int; expected list"),
    (lambda: program().other_path(program()), "[_core] got ranvier._core.Program; expected"),
    (lambda: program().set_threads("yes"), "expected True or False"),
    (lambda: _core.run_batches((), Batches(None, 1.5, 0, 1), None), "expected a whole number"),
    (lambda: _core.run_batches((), Batches(None, 1, 0, 1), 3), "got int; expected ranvier._core.Between"),
    (lambda: setattr(program(), "checks_left", "one"), "int"),
    (lambda: pickle.dumps(_core.Guards()), "pickle"),
    (lambda: copy.copy(program()), "pickle"),
]


@pytest.mark.parametrize(("call", "message"), WRONG)
def test_a_wrong_call_is_refused(call, message):
    with pytest.raises(TypeError) as error:
        call()
    assert message in str(error.value)


def test_what_is_no_argument_cannot_be_set():
    with pytest.raises(AttributeError):
        program().results = 3
    with pytest.raises(AttributeError):
        del recording().fault
    with pytest.raises(AttributeError):
        del program().checks_left


def test_a_check_keeps_what_it_compares():
    p, eager = program(), recording()
    before = sys.getrefcount(p), sys.getrefcount(eager)
    check = _core.Check(p, eager, [])
    assert (sys.getrefcount(p), sys.getrefcount(eager)) == (before[0] + 1, before[1] + 1)
    assert check.disturbed() in (True, False)
    del check
    assert (sys.getrefcount(p), sys.getrefcount(eager)) == before


def test_no_object_is_left():
    step = rv.compile(lambda x: (x * 2).sum())
    x = rv.ones(5)
    for _ in range(4):
        step(x)
    gc.collect()
    types = sys.getrefcount(_core.Program), sys.getrefcount(_core.Recording)
    for _ in range(5):
        program()
        with pytest.raises(TypeError):
            _core.Program(recording(), [], [], [], 3)
    gc.collect()
    assert (sys.getrefcount(_core.Program), sys.getrefcount(_core.Recording)) == types


def test_a_second_import_has_the_same_functions():
    spec = importlib.util.spec_from_file_location("ranvier._core", _core.__file__)
    again = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(again)
    assert again.add is _core.add
    assert np.array_equal(again.add(np.ones(2), np.ones(2)), [2, 2])


def test_a_failed_import_says_why():
    done = ended("-c", "import ranvier", RANVIER_ISA="v9", PYTHONPATH=":".join(sys.path))
    assert "ImportError: ValueError: [import] got RANVIER_ISA=v9" in done.stderr
