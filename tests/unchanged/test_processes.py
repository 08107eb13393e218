"""torch.distributed's stores, in one process and in several; states of the random numbers; names."""

import contextlib
import multiprocessing
import os
import pickle
import signal
import socket
import time
from datetime import timedelta

import pytest
import ranvier as rv
import ranvier.multiprocessing as mp
from ranvier.torch.processes import Backend, is_nccl_available
from ranvier.torch.store import HashStore, PrefixStore, TCPStore
from support.refused import refused


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
        b"", b"\xff" * 4, b"\xff" * 64, b"\1\0\0\0" + b"\xff" * 8, bytes(4), b"\1\0\0\0" + bytes(8),
        b"\1\0\0\0\1\0\0\0\0\0\0\0\xff", b"\1\0\0\0\3\0\0\0\0\0\0\0set", b"\1\0\0\0\3\0\0\0\0\0\0\0get",
        b"\1\0\0\0\4\0\0\0\0\0\0\0what",
    ],
)  # fmt: skip
def test_a_message_that_is_no_question(message, monkeypatch):
    """It costs the connection that it came by, and no thread ends with an error."""
    monkeypatch.setattr("threading.excepthook", lambda args: died.append(args))
    died, store = [], TCPStore("127.0.0.1", 0, is_master=True)
    with socket.create_connection(("127.0.0.1", store.port)) as other:
        other.sendall(message)
        other.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
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
