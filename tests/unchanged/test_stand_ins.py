"""Small modules that libraries import (testing, _pytree, futures), and torch.distributed's stores."""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import pickle
import signal
import socket
import threading
import time
from collections import OrderedDict, defaultdict, deque, namedtuple
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pytest
import ranvier as rv
import ranvier.multiprocessing as mp
from ranvier.torch.devices import machine
from ranvier.torch.distributed.processes import Backend, is_nccl_available
from ranvier.torch.distributed.store import HashStore, PrefixStore, TCPStore
from ranvier.torch.functions import composed
from ranvier.torch.fx import compiler
from ranvier.torch.installation import names
from ranvier.torch.tensors.pair_functions import complex_of
from ranvier.torch.utils import futures, pytree, testing
from support.python import in_mode
from support.refused import refused

Pair = namedtuple("Pair", "a b")


def test_a_program_loads_what_it_asks_for() -> None:
    program = "import sys, torch; torch.nn.Linear(3, 2)(torch.ones(3)); print(*sys.modules)"
    loaded = {*in_mode(program).split()}
    assert len([name for name in loaded if name.startswith("ranvier")]) < 110
    assert not {"ranvier.nn.conv", "ranvier.optim", "ranvier.data"} & loaded


def test_every_home_is_there() -> None:
    from ranvier.torch.installation.finder import homes_of, value_of

    assert all(hasattr(importlib.import_module(home), name) for name, home in names.METHODS.items())
    assert not (names.NAMES.keys() & names.LEFT_OUT) | (names.METHODS.keys() & names.LACKING.split())
    for path in names.MODULES:
        inner = path.removeprefix("torchvision.")
        assert homes_of("torch" if inner == path else "torchvision", inner), path
    for name in names.NAMES:
        path, _, last = name.rpartition(".")
        value_of("torch", path, last, homes_of("torch", path))


@pytest.mark.parametrize(
    "tree",
    [
        1,
        (1, [2, {"a": 3, "b": ()}]),
        Pair(1, (2, 3)),
        OrderedDict(b=1, a=[2]),
        defaultdict(list, {"x": 1}),
        deque([1, 2], maxlen=3),
    ],
)
def test_a_tree_is_made_again_of_its_values(tree: object) -> None:
    leaves, spec = pytree.tree_flatten(tree)
    again = pytree.tree_unflatten(leaves, spec)
    assert again == tree
    assert type(again) is type(tree)
    assert spec == pytree.tree_structure(pytree.tree_map(lambda x: 2 * x, tree))
    assert pytree.tree_leaves(pytree.tree_map(lambda x, y: x + y, tree, tree)) == [2 * x for x in leaves]


def test_values_of_one_kind_and_classes_of_the_user() -> None:
    class Kept:
        def __init__(self, x: object) -> None:
            self.x = x

    tree = [Kept((1, "a"))]
    assert pytree.tree_leaves(tree) == tree
    pytree.register_pytree_node(Kept, lambda k: ([k.x], None), lambda parts, _: Kept(parts[0]))
    assert pytree.tree_map_only(int, lambda x: x + 1, tree)[0].x == (2, "a")
    assert pytree.tree_leaves(tree, is_leaf=lambda x: type(x) is tuple) == [(1, "a")]
    refused(ValueError, "got 1 values; expected 2", pytree.tree_unflatten, [1], pytree.tree_structure(tree))


def test_paths_in_trees() -> None:
    @dataclass
    class Kept:
        a: object
        b: object = None

    pytree.register_dataclass(Kept)
    tree = {"x": [1, Pair(2, Kept(3))], "y": deque([4])}
    paths = ["['x'][0]", "['x'][1].a", "['x'][1].b.a", "['y'][0]"]
    found = pytree.tree_leaves_with_path(tree)
    assert [pytree.keystr(path) for path, _ in found] == paths
    assert [pytree.key_get(tree, path) for path, _ in found] == [1, 2, 3, 4]
    both = pytree.tree_map_with_path(lambda path, x, y: (len(path), y), tree, tree)
    assert both["x"][1].b == Kept((4, 3))
    assert pytree.tree_map(lambda x, y: y, [0, {"a": 0, "b": 0}], [(1, 2), {"b": 3, "a": 4}])[0] == (1, 2)
    for other in ([1], (1, 2), [1, 2, 3]):
        refused(ValueError, "expected the form", pytree.tree_map, min, [1, 2], other)
    refused(ValueError, "the keys", pytree.tree_map, min, {"a": 1}, {"b": 1})
    whole = pytree.tree_structure(([1, 2], 3))
    assert (whole.num_leaves, whole.num_nodes, whole.num_children) == (3, 5, 2)
    assert pytree._broadcast_to_and_flatten((0, 1), whole) == [0, 0, 1]
    assert pytree._broadcast_to_and_flatten([0, 1], whole) is None
    assert pytree._dict_flatten({"a": 1}) == ([1], ["a"])
    assert pytree.is_namedtuple(Pair)
    assert not pytree.tree_is_leaf(Pair(1, 2))


def test_assert_close_uses_the_tolerances_of_the_dtype() -> None:
    one = rv.ones(2)
    testing.assert_close([one, {"a": 1.0}], [one + 1e-6, {"a": 1.0}])
    for wrong in (one + 1e-4, one.double(), rv.ones(3)):
        with pytest.raises(AssertionError):
            testing.assert_close(one, wrong)
    testing.assert_close(one, one + 1e-4, rtol=1e-3, atol=0)
    testing.assert_close(complex_of(one, one), complex_of(one + 1e-6, one))
    refused(AssertionError, "not close", testing.assert_close, complex_of(one, one), complex_of(one, -one))
    testing.assert_close(np.float32(1), one.sum() / 2)
    nan = rv.tensor([float("nan")])
    testing.assert_close(nan, nan, equal_nan=True)
    refused(AssertionError, "at item 'a'", testing.assert_close, {"a": nan}, {"a": nan})
    refused(AssertionError, "mine", testing.assert_close, one, one + 1, msg="mine")
    refused(AssertionError, "1 of 2", testing.assert_close, rv.tensor([1, 2]), rv.tensor([1, 3]))


def test_assert_equal_compares_what_has_tensors() -> None:
    equal, one = testing.TestCase().assertEqual, rv.ones(2)
    equal(
        [one, {"a": 1.0, "b": "x", "c": None}, {3}],
        [one + 1e-7, {"a": rv.tensor(1.0), "b": "x", "c": None}, {3}],
    )
    for wrong in (one + 1e-4, one.double(), "x"):
        refused(AssertionError, "m", equal, one, wrong)
    refused(AssertionError, "mine", equal, "x", "y", "mine")
    equal(one, one.double(), exact_dtype=False)
    testing.assert_allclose(one, one.double())


def test_futures_give_their_results_to_those_that_follow() -> None:
    first: futures.Future = futures.Future()
    doubled = first.then(lambda f: 2 * f.value())
    failed = first.then(lambda f: 1 / 0)
    refused(RuntimeError, "without a result", first.value)
    together = futures.collect_all([first, doubled])
    threading.Timer(0.01, first.set_result, [3]).start()
    assert [f.wait() for f in together.wait()] == [3, 6]
    assert futures.wait_all([first, doubled]) == [3, 6]
    with pytest.raises(ZeroDivisionError):
        failed.wait()
    refused(RuntimeError, "second result", first.set_result, 4)
    assert futures.collect_all([]).wait() == []


def test_marks_of_a_profile_change_nothing() -> None:
    with compiler.record_function("label"):
        assert float(rv.ones(2).sum()) == 2
    assert "PyTorch" in machine.show()
    assert not machine.is_hooked(1)


def test_sizes_are_plain_tuples_for_libraries_that_read_annotations() -> None:
    assert rv.Size.__mro__[-2:] == (tuple, object)
    assert not hasattr(rv.Size, "__orig_bases__")


@pytest.mark.parametrize(
    ("reduce", "initial", "values", "slopes"),
    [
        ("sum", None, [3, 0, 5], [1, 1, 1]),
        ("mean", 1.0, [2, 1, 6], [0.5, 0.5, 1]),
        ("prod", None, [2, 1, 5], [2, 1, 1]),
        ("max", None, [2, -np.inf, 5], [0, 1, 1]),
        ("min", 1.5, [1, 1.5, 1.5], [1, 0, 0]),
    ],
)
def test_segment_reduce(reduce, initial, values, slopes) -> None:
    x = rv.tensor([1.0, 2.0, 5.0], requires_grad=True)
    y = composed.segment_reduce(x, reduce, offsets=rv.tensor([0, 2, 2, 3]), initial=initial)
    y.sum().backward()
    assert (y.tolist(), x.grad.tolist()) == (values, slopes)
    text = "expected sum, mean, prod"
    refused(ValueError, text, composed.segment_reduce, x, reduce, lengths=rv.tensor([2, 2]))


# torch.distributed's stores, in one process and in several; states of the random numbers; names.


def _of_another_process(port):
    store = TCPStore("127.0.0.1", port, world_size=2)
    store.wait(["asked"])
    store.set("answer", store.get("asked") + b"!")
    store.add("sum", 3)


@pytest.mark.parametrize("made", [HashStore, lambda: TCPStore("127.0.0.1", 0, is_master=True)])
def test_a_store(made):
    store = made()
    store.set("a", "b")
    store.set("bytes", bytes(range(256)) * 300)
    assert (store.get("a"), store.get("bytes")[-1], store.num_keys()) == (b"b", 255, 2)
    assert (store.add("n", 2), store.add("n", -5), store.get("n")) == (2, -3, b"-3")
    assert (store.check(["a", "n"]), store.check(["a", "none"])) == (True, False)
    assert (store.compare_set("a", "x", "y"), store.compare_set("a", "b", "c")) == (b"b", b"c")
    assert (store.delete_key("a"), store.delete_key("a")) == (True, False)
    inner = PrefixStore("p", store)
    inner.set("k", "v")
    assert (store.get("p/k"), inner.get("k"), inner.check(["k"]), inner.check(["n"])) == (
        b"v",
        b"v",
        True,
        False,
    )
    store.set_timeout(timedelta(seconds=0.01))
    refused(RuntimeError, "get has waited for keys in vain", store.get, "none")
    refused(RuntimeError, "get has waited for keys in vain", inner.get, "none")
    refused(RuntimeError, "wait has waited", store.wait, ["bytes", "none"], timedelta(seconds=0.01))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff" * 4,
        b"\xff" * 64,
        b"\1\0\0\0" + b"\xff" * 8,
        bytes(4),
        b"\1\0\0\0" + bytes(8),
        b"\1\0\0\0\1\0\0\0\0\0\0\0\xff",
        b"\1\0\0\0\3\0\0\0\0\0\0\0set",
        b"\1\0\0\0\3\0\0\0\0\0\0\0get",
        b"\1\0\0\0\4\0\0\0\0\0\0\0what",
    ],
)
def test_a_message_that_is_no_question(message, monkeypatch):
    """It costs the connection that it came by, and no thread ends with an error."""
    monkeypatch.setattr("threading.excepthook", lambda args: died.append(args))
    died, store = [], TCPStore("127.0.0.1", 0, is_master=True)
    other = socket.create_connection(("127.0.0.1", store.port))
    with other, contextlib.suppress(OSError):  # it may be closed before all is sent
        other.sendall(message)
        other.shutdown(socket.SHUT_WR)
        assert other.recv(1) == b""
    store.set("a", "b")
    assert store.get("a") == b"b"
    assert died == []


def test_a_store_of_two_processes():
    store = TCPStore("127.0.0.1", 0, is_master=True)
    other = multiprocessing.get_context("spawn").Process(target=_of_another_process, args=(store.port,))
    other.start()
    store.add("/workers", 1)
    store.set("asked", "why")
    assert store.get("answer") == b"why!"
    other.join()
    assert store.add("sum", 0) == 3


def _ends(i, how, queue=None):
    if how == "well" and queue is not None:
        queue.put(i)
    if i == 0 and how != "well":
        time.sleep(60)
    if how == "error":
        raise ValueError("rank is bad")
    if how == "code":
        os._exit(3)
    if how == "signal":
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize(
    ("how", "kind", "text", "more"),
    [
        ("error", mp.ProcessRaisedException, r"(?s)^\n\n-- Process 1 terminated .*in _ends.*rank is bad", {}),
        ("code", mp.ProcessExitedException, "^process 1 terminated with exit code 3$", {"exit_code": 3}),
        ("signal", mp.ProcessExitedException, "with signal SIGKILL$", {"signal_name": "SIGKILL"}),
    ],
)
def test_processes_that_fail(how, kind, text, more):
    with pytest.raises(kind, match=text) as caught:
        mp.start_processes(_ends, (how,), nprocs=2, start_method="fork")
    error = pickle.loads(pickle.dumps(caught.value))
    assert (str(error), error.error_index, {k: getattr(error, k) for k in more}) == (
        str(caught.value),
        1,
        more,
    )


def test_processes_that_are_not_waited_for():
    queue = mp.get_context("spawn").SimpleQueue()
    context = mp.spawn(_ends, ("well", queue), nprocs=2, join=False)
    assert context.pids() == [process.pid for process in context.processes]
    assert not context.join(timeout=0.001)
    while not context.join():
        pass
    assert sorted([queue.get(), queue.get()]) == [0, 1]
    assert context.join()
    assert mp.spawn(_ends, ("well",)) is None


def test_names():
    refused(ValueError, "[set_sharing_strategy] got 'x'", mp.set_sharing_strategy, "x")
    assert mp.get_sharing_strategy() in mp.get_all_sharing_strategies()
    assert (Backend("GLOO"), Backend.MPI, is_nccl_available()) == ("gloo", "mpi", False)


def test_random_states_are_bytes():
    state = rv.get_rng_state()
    first = rv.rand(3).tolist()
    rv.set_rng_state(state)
    assert rv.rand(3).tolist() == first
    assert str(state.dtype).endswith("uint8")
    with pytest.raises(RuntimeError, match="not of get_state or get_rng_state here"):
        rv.set_rng_state(rv.zeros(5056, dtype=rv.uint8))
    own = rv.Generator().manual_seed(3)
    state = own.get_state()
    assert type(state) is rv.Tensor
    first = rv.rand(3, generator=own).tolist()
    assert rv.rand(3, generator=rv.Generator().set_state(state)).tolist() == first
