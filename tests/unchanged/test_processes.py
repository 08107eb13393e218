"""torch.distributed's stores, in one process and in several; states of the random numbers; names."""

import multiprocessing
from datetime import timedelta

import pytest
import ranvier as rv
from ranvier.torch import random_state
from ranvier.torch.processes import Backend, HashStore, PrefixStore, TCPStore, is_nccl_available
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
    refused(RuntimeError, "wait has waited", store.wait, ["bytes", "none"], timedelta(seconds=0.01))


def test_a_store_of_two_processes():
    store = TCPStore("127.0.0.1", 0, is_master=True)
    other = multiprocessing.get_context("spawn").Process(target=_of_another_process, args=(store.port,))
    other.start()
    store.add("/workers", 1)
    store.set("asked", "why")
    assert store.get("answer") == b"why!"
    other.join()
    assert store.add("sum", 0) == 3


def test_names():
    assert (Backend("GLOO"), Backend.MPI, is_nccl_available()) == ("gloo", "mpi", False)


def test_random_states_are_bytes():
    state = random_state.get_rng_state()
    first = rv.rand(3).tolist()
    random_state.set_rng_state(state)
    assert rv.rand(3).tolist() == first
    assert str(state.dtype).endswith("uint8")
    with pytest.raises(RuntimeError, match="not of get_rng_state here"):
        random_state.set_rng_state(rv.zeros(5056, dtype=rv.uint8))
