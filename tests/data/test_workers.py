"""Workers of a DataLoader: their copies of the data set, their numbers, their order, their errors.

They make their batches in this process; a program must see what it sees with PyTorch's processes.
"""

# ruff: noqa: NPY002 -- its global numbers are those of workers

import multiprocessing
import random
import threading
import time

import numpy as np
import pytest
import ranvier as rv
from ranvier.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info
from ranvier.data.worker_copies import copies
from support.refused import refused


class Counted(Dataset):
    """Its state changes with each sample; it has what cannot be copied, and a large array."""

    def __init__(self, n=6):
        self.n, self.seen, self.rows = n, 0, np.zeros((n, 2**14), np.float32)
        self.lock, self.key, self.more = threading.Lock(), lambda i: i, [{"seen": 0}]

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        with self.lock:
            self.seen += 1
        self.rows[i] += 1
        self.more[0]["seen"] += 1
        info = get_worker_info()
        assert (info.dataset is self, info.seed) == (True, rv.initial_seed())
        return self.key(i), info.id, self.seen, self.more[0]["seen"], int(self.rows.sum()) >> 14

    def collate(self, samples):
        return [self.seen, *map(list, zip(*samples, strict=True))]


class Part(IterableDataset):
    """A stream of which each worker gives a part of its own size."""

    def __init__(self, sizes):
        self.sizes = sizes

    def __iter__(self):
        info = get_worker_info()
        return iter(range(10 * info.id, 10 * info.id + self.sizes[info.id]))


def plain(batches):
    return [[x.tolist() for x in batch] if isinstance(batch, list) else batch.tolist() for batch in batches]


def test_each_has_its_copy():
    data = Counted()
    for _ in range(2):
        batches = plain(DataLoader(data, 2, num_workers=2))
        assert batches == [
            [[0, 1], [0, 0], [1, 2], [1, 2], [1, 2]],
            [[2, 3], [1, 1], [1, 2], [1, 2], [1, 2]],
            [[4, 5], [0, 0], [3, 4], [3, 4], [3, 4]],
        ]
    assert (data.seen, data.more, data.rows.any(), get_worker_info()) == (0, [{"seen": 0}], False, None)
    assert next(iter(DataLoader(data, 2, num_workers=1, collate_fn=data.collate)))[0] == 2


def test_persistent_ones_keep_their_copies():
    loader = DataLoader(Counted(), 3, num_workers=2, persistent_workers=True)
    assert [[b[2] for b in plain(loader)] for _ in range(2)] == [
        [[1, 2, 3], [1, 2, 3]],
        [[4, 5, 6], [4, 5, 6]],
    ]


def test_init_function_sees_the_copy():
    data, called = Counted(), []

    def init(number):
        called.append((number, get_worker_info().id, get_worker_info().num_workers))
        get_worker_info().dataset.key = lambda i: 100 * number + i

    assert [b[0] for b in plain(DataLoader(data, 2, num_workers=3, worker_init_fn=init))] == [
        [0, 1], [102, 103], [204, 205]]  # fmt: skip
    assert called == [(0, 0, 3), (1, 1, 3), (2, 2, 3)]
    tensors = TensorDataset(rv.arange(4))
    assert len(list(DataLoader(tensors, 2, num_workers=1, worker_init_fn=called.append))) == 2
    assert called[3:] == [0]


class Drawn(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        return random.random(), np.random.rand(), rv.rand(1).item(), int(rv.randint(10**6, (1,)))


def test_random_numbers_of_a_worker():
    before = random.getstate(), np.random.get_state()[1].tolist()

    def run(**settings):
        rv.manual_seed(0)
        return plain(DataLoader(Drawn(), 1, num_workers=2, **settings))

    first = run()
    assert first == run()
    assert len({tuple(np.ravel(batch)) for batch in first}) == 4
    assert before == (random.getstate(), np.random.get_state()[1].tolist())

    def seeded(number):
        seed = rv.initial_seed() % 2**32
        np.random.seed(seed)
        random.seed(seed)

    assert [b[2:] for b in run(worker_init_fn=seeded)] == [b[2:] for b in first]
    running = DataLoader(Drawn(), 1, num_workers=2)
    rv.manual_seed(0)
    next(iter(running))
    again = DataLoader(Drawn(), 1, num_workers=2)
    again.load_state_dict(running.state_dict())
    assert plain(again) == first[1:]


@pytest.mark.parametrize(
    ("sizes", "size", "drop", "expected"),  # PyTorch's
    [
        ([1, 7, 3], 2, False, [[0], [10, 11], [20, 21], [12, 13], [22], [14, 15], [16]]),
        ([1, 7, 3], 2, True, [[10, 11], [20, 21], [12, 13], [14, 15]]),
        ([2, 2], 1, False, [[0], [10], [1], [11]]),
        ([0, 0, 1], 3, False, [[20]]),
        ([2], 5, False, [[0, 1]]),
    ],
)
def test_streams_in_turn(sizes, size, drop, expected):
    loader = DataLoader(Part(sizes), size, num_workers=len(sizes), drop_last=drop, persistent_workers=True)
    assert plain(loader) == plain(loader) == expected


class Broken(Dataset):
    """Sample 1 raises."""

    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 3

    def __getitem__(self, i):
        if i == 1:
            raise self.error
        return i


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("one"), ValueError),
        (KeyError("a\nb"), KeyError),
        (UnicodeDecodeError("utf8", b"a", 0, 1, "c"), RuntimeError),
    ],
)
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_an_error_is_that_of_one_batch(workers, error, kind):
    batches = iter(DataLoader(Broken(error), 1, num_workers=workers))
    assert len(batches) == 3
    assert next(batches).tolist() == [0]
    with pytest.raises(kind if workers else type(error)) as caught:
        next(batches)
    if workers:
        where = f"Caught {type(error).__name__} in DataLoader worker process {1 % workers}.\nOriginal Trace"
        assert str(caught.value).startswith(where)
        assert "in __getitem__" in str(caught.value)
    assert [batch.tolist() for batch in batches] == [[2]]


def test_errors_before_the_first_batch():
    def init(number):
        raise OSError("no file")

    loader = DataLoader(Counted(), num_workers=1, worker_init_fn=init)
    batches = iter(loader)
    with pytest.raises(OSError, match=r"(?s)Caught OSError in DataLoader worker process 0\..*no file"):
        next(batches)


def test_timeout():
    class Slow(Counted):
        def __getitem__(self, i):
            time.sleep(5 * i)
            return i

    batches = iter(DataLoader(Slow(), num_workers=1, timeout=0.2))
    assert next(batches).tolist() == [0]
    refused(RuntimeError, "[DataLoader] timed out: got no batch within 0.2 seconds", next, batches)


@pytest.mark.parametrize(
    "settings",
    [
        {"prefetch_factor": 2}, {"persistent_workers": True}, {"multiprocessing_context": "fork"},
        {"num_workers": 1, "multiprocessing_context": "x"}, {"num_workers": 1, "prefetch_factor": 0},
        {"timeout": -1},
    ],
)  # fmt: skip
def test_settings_that_are_refused(settings):
    refused(ValueError, "[DataLoader] got", DataLoader, [1], **settings)


class Shy(Counted):
    """It can be written, and not read."""

    def __setstate__(self, state):
        raise RuntimeError("no")


def test_what_is_copied_as_it_is():
    data = Counted()
    data.fortran = np.asfortranarray(np.arange(2.0**14).reshape(2**7, 2**7))
    data.me, data.tensor, data.count = data, rv.ones(2**15), multiprocessing.Value("i", 0)
    data.view, data.brain = data.tensor[1:], rv.ones(2**15).bfloat16()._array
    (one,) = copies(data, 1)
    assert (one.me is one, one.count is data.count, one.lock is data.lock) == (True, True, True)
    assert one.fortran.flags.f_contiguous
    np.testing.assert_array_equal(one.fortran, data.fortran)
    assert rv.from_numpy(one.brain).tolist() == [1.0] * 2**15
    one.tensor.zero_()
    one.fortran[0] = 0
    assert (one.view.sum().item(), data.view.sum().item(), data.fortran[0, 5]) == (0, 2**15 - 1, 5)
    for other in copies(Shy(), 2):
        assert other.n == 6


def _refused(self, *_):
    raise RuntimeError("a hook of files ran")


HOOKS = [
    f"__{name}__"
    for name in ("getstate", "setstate", "reduce", "reduce_ex", "getnewargs", "copy", "deepcopy")
]


@pytest.mark.parametrize("own", [{}, {"__slots__": ("file",)}], ids=["attributes", "slots"])
@pytest.mark.parametrize("base", [object, Dataset, rv.nn.Module, list, dict, set])
def test_hooks_of_files_do_not_run(base, own):
    """As in processes made by a fork."""
    kind = type("Hooked", (base,), dict.fromkeys(HOOKS, _refused) | own)
    held = kind()
    held.file = [0]
    if issubclass(kind, (list, dict, set)):
        base.__init__(held, {1: 2} if base is dict else [1])
    for one, again in copies((held, held), 2):
        assert (type(one), one is again, one is held) == (kind, True, False)
        assert base in (object, Dataset, rv.nn.Module) or [*one] == [1]
        one.file.append(1)
        assert (one.file, held.file) == ([0, 1], [0])
    assert copies(held, 1, pickled=True)[0] is held  # it cannot be: it is shared


class Reads(Dataset):
    """Has an open file; is a data set, and a function for samples or workers."""

    n = 0

    def __init__(self):
        self.file = open(__file__)  # noqa: SIM115

    def __getstate__(self):
        return {"file": None}

    def __len__(self):
        return 4

    def __getitem__(self, i):
        return i + self(0)

    def __call__(self, x):
        self.n += self.file.fileno() >= 0
        return x if type(x) is int else [self.n]


@pytest.mark.parametrize("place", ["dataset", "collate_fn", "worker_init_fn"])
def test_open_files_are_those_of_the_process(place):
    """Each worker has its own objects: collate_fn and worker_init_fn, too."""
    reads, size = Reads(), None if place == "dataset" else 1
    loader = DataLoader(**{"dataset": [0] * 4, "num_workers": 2, "batch_size": size, place: reads})
    batches = [*loader]
    assert batches == {"collate_fn": [[1], [1], [2], [2]], "dataset": [0, 1, 2, 3]}.get(place, [0] * 4)
    assert reads.n == 0
    reads.file.close()
    if place == "dataset":
        refused(ValueError, "closed file", list, loader)
        loader = DataLoader(reads, num_workers=1, multiprocessing_context="spawn")
        refused(AttributeError, "'NoneType'", list, loader)


def test_memory_that_processes_share_is_shared(tmp_path):
    class Mapped(Counted):
        def __init__(self):
            super().__init__()
            self.rows = np.memmap(tmp_path / "rows", np.float32, "w+", shape=(6, 2**14))

    data = Mapped()
    list(DataLoader(data, num_workers=2))
    assert (data.rows == 1).all()


@pytest.mark.parametrize("timeout", [0, 60])
def test_settings_of_a_worker_are_its_own(timeout):
    class Sets(Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            before = rv.is_grad_enabled(), rv.get_default_dtype() == rv.float64
            rv.set_grad_enabled(False)
            rv.set_default_dtype(rv.float64)
            return rv.tensor(before)

    loader = DataLoader(Sets(), None, num_workers=2, timeout=timeout)
    for seen in ([True, False], [True, False], [False, True], [False, True]), ([True, False],) * 2:
        for batch, expected in zip(loader, seen, strict=False):
            assert (batch.tolist(), rv.is_grad_enabled()) == (expected, True)
            assert rv.get_default_dtype() == rv.float32
