"""prefetch: the same batches, errors with the thread's traceback, and no thread is left."""

import gc
import threading
import time
import traceback

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core
from ranvier.data import DataLoader, Dataset, TensorDataset
from support.python import ended
from support.refused import refused
from support.threads import in_thread

X = np.arange(40, dtype=np.float32).reshape(20, 2)


def alive():
    return [thread for thread in threading.enumerate() if thread.name.startswith("ranvier-prefetch")]


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    gc.collect()
    assert alive() == []


class Noisy(Dataset):
    """Sample i with noise from the library's generator; sample `broken` raises."""

    def __init__(self, broken=None):
        self.broken = broken
        self.made = 0

    def __getitem__(self, i):
        self.made += 1
        if i == self.broken:
            raise LookupError(f"sample {i} is broken")
        return X[i] + rv.randn(2).numpy()

    def __len__(self):
        return len(X)


@pytest.mark.parametrize("dataset", [TensorDataset(X), Noisy()], ids=["arrays", "samples"])
@pytest.mark.parametrize("prefetch", [1, 2, 100])
def test_the_same_bits_in_the_same_order(dataset, prefetch):
    def run(prefetch):
        rv.manual_seed(4)
        loader, out = DataLoader(dataset, 3, shuffle=True, prefetch=prefetch), []
        for _ in range(2):
            for batch in loader:
                x = batch[0] if isinstance(batch, list) else batch
                out.append(x.numpy().tobytes())
                out.append(rv.rand(1).item())  # what the program draws in between
        return out

    assert run(prefetch) == run(0)


def test_how_far_ahead():
    dataset = Noisy()
    batches = iter(DataLoader(dataset, 2, prefetch=3))
    next(batches)
    deadline = time.monotonic() + 10
    while dataset.made < 8 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert dataset.made == 8  # the one in hand and three more
    assert len(alive()) == 1
    del batches


def test_an_error_comes_with_the_threads_traceback():
    batches = iter(DataLoader(Noisy(broken=5), 2, prefetch=4))
    assert len([next(batches), next(batches)]) == 2
    with pytest.raises(LookupError, match="sample 5 is broken") as caught:
        next(batches)
    text = "".join(traceback.format_exception(caught.value))
    assert "in __getitem__" in text
    assert "in _of" in text


def test_abandoned():
    for _ in DataLoader(Noisy(), 2, prefetch=4):
        break
    assert alive() == []
    kept = iter(DataLoader(Noisy(), 2, prefetch=4))
    next(kept)
    assert len(alive()) == 1
    del kept
    assert alive() == []
    never_begun = iter(DataLoader(Noisy(), 2, prefetch=4))
    assert alive() == []
    del never_begun


def test_an_error_of_the_program_ends_the_thread():
    def train():
        for _ in DataLoader(Noisy(), 2, prefetch=2):
            raise RuntimeError("diverged")

    refused(RuntimeError, "diverged", train)
    gc.collect()
    assert alive() == []


def test_the_interpreter_ends_with_a_loader_in_mid_epoch():
    program = (
        "import numpy as np, ranvier as rv\n"
        "loader = rv.data.DataLoader(rv.data.TensorDataset(np.ones((1000, 8), 'f4')), 2, prefetch=8)\n"
        "batches = iter(loader); next(batches)\n"
    )
    done = ended("-c", program)
    assert (done.returncode, done.stderr) == (0, "")


def test_two_passes_at_once():
    loader = DataLoader(TensorDataset(X), 4, prefetch=2)
    assert all(np.array_equal(a.numpy(), b.numpy()) for (a,), (b,) in zip(loader, loader, strict=True))


def test_kernels_of_the_thread_leave_the_team_alone(threads):
    """A kernel called by the thread runs on it alone; the same bits, and no thread of OpenMP's for it."""
    threads(2)
    big = np.ones((512, 512), np.float32)

    def work():
        _core.set_alone(True)
        return _core.matmul(big, big)

    assert np.array_equal(in_thread(work), _core.matmul(big, big))
