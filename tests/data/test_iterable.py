"""Iterable data sets, and prefetch: the same batches, errors with their traceback, no thread is left.

Collated batches must have the classes, dtypes and values that PyTorch makes of the same samples.
"""

import gc
import threading
import time
import traceback
from collections import OrderedDict, UserList, defaultdict, deque, namedtuple
from collections.abc import Mapping

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core
from ranvier.data import (
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Sampler,
    StackDataset,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    default_convert,
    random_split,
)
from ranvier.data.collate import collate, default_collate_fn_map
from support.python import ended
from support.refused import refused
from support.threads import in_thread


class Numbers(IterableDataset):
    """The numbers from 0 to n - 1, with noise from the library's generator."""

    def __init__(self, n=7, noise=0.0):
        self.n, self.noise = n, noise

    def __iter__(self):
        for i in range(self.n):
            yield np.float32(i) + self.noise * rv.rand(1).numpy()[0]


class Counted(Numbers):
    def __len__(self):
        return self.n


def batches(loader):
    return [batch.tolist() for batch in loader]


@pytest.mark.parametrize("prefetch", [0, 2])
def test_batches_in_the_order_of_the_stream(prefetch):
    loader = DataLoader(Numbers(), batch_size=3, prefetch=prefetch)
    assert batches(loader) == batches(loader) == [[0, 1, 2], [3, 4, 5], [6]]
    assert batches(DataLoader(Numbers(), batch_size=3, drop_last=True)) == [[0, 1, 2], [3, 4, 5]]
    assert batches(DataLoader(Numbers(2), batch_size=None)) == [0.0, 1.0]
    assert batches(DataLoader(Numbers(0), batch_size=3)) == []
    assert list(DataLoader(Numbers(), batch_size=4, collate_fn=len)) == [4, 3]
    assert rv.utils.data.IterableDataset is IterableDataset


def test_lengths():
    assert len(DataLoader(Counted(7), batch_size=3)) == 3
    assert len(DataLoader(Counted(7), batch_size=3, drop_last=True)) == 2
    refused(TypeError, "object of type 'Numbers' has no len()", len, DataLoader(Numbers()))


def test_random_numbers_of_a_pass_are_repeated_when_it_is_resumed():
    loader = DataLoader(Numbers(6, noise=1.0), batch_size=2, generator=3)
    first, second = batches(loader), batches(loader)
    assert first != second
    assert first == batches(DataLoader(Numbers(6, noise=1.0), batch_size=2, generator=3, prefetch=2))
    loader = DataLoader(Numbers(6, noise=1.0), batch_size=2, generator=3)
    running = iter(loader)
    assert next(running).tolist() == first[0]
    again = DataLoader(Numbers(6, noise=1.0), batch_size=2, generator=9)
    again.load_state_dict(loader.state_dict())
    assert batches(again) == first[1:]


@pytest.mark.parametrize("settings", [{"shuffle": True}, {"sampler": [0]}, {"batch_sampler": [[0]]}])
def test_an_order_beside_that_of_the_stream_is_refused(settings):
    refused(ValueError, "got an IterableDataset with shuffle", lambda: DataLoader(Numbers(), **settings))


class Held(Mapping):
    """A mapping that is no dict."""

    def __init__(self, values):
        self.values_ = values

    def __getitem__(self, key):
        return self.values_[key]

    def __iter__(self):
        return iter(self.values_)

    def __len__(self):
        return len(self.values_)


class Closed(Held):
    """Its class cannot make another from a dict."""

    def __init__(self, a, b):
        super().__init__({"a": a, "b": b})


class Named(UserList):
    name = "first"


Pair = namedtuple("Pair", "x y")
TEXTS = np.array(["a", "b"])
ONE, TWO = rv.tensor([1, 2]), rv.tensor([1.0, 2.0], dtype=rv.float64)
COLLATED = [  # samples, and what PyTorch makes of them
    ([Pair(1.0, "a"), Pair(2.0, "b")], Pair(TWO, ("a", "b"))),
    ([(1, "a"), (2, "b")], [ONE, ("a", "b")]),
    ([[1, b"a"], [2, b"b"]], [ONE, (b"a", b"b")]),
    ([*TEXTS], [*TEXTS]),
    ([{"t": t} for t in TEXTS], {"t": [*TEXTS]}),
    ([{"t": np.bytes_(b"a")}], {"t": [np.bytes_(b"a")]}),
    ([OrderedDict(b=1), OrderedDict(b=2)], OrderedDict(b=ONE)),
    ([defaultdict(list, b=1), defaultdict(list, b=2)], defaultdict(list, b=ONE)),
    ([Held({"a": 1}), Held({"a": 2})], Held({"a": ONE})),
    ([Closed(1, "x"), Closed(2, "y")], {"a": ONE, "b": ["x", "y"]}),
    ([Named([1, "a"]), Named([2, "b"])], Named([ONE, ("a", "b")])),
    ([deque([1]), deque([2])], deque([ONE])),
    ([range(1, 2), range(2, 3)], [ONE]),
    ([1, 2.5], rv.tensor([1.0, 2.5])),
    ([2.0, 1], rv.tensor([2.0, 1.0], dtype=rv.float64)),
    ([True, False], rv.tensor([True, False])),
]


def same(found, expected):
    """Asserts that classes, keys, dtypes and values are equal, in all containers."""
    assert type(found) is type(expected)
    if isinstance(expected, rv.Tensor):
        assert (found.dtype, found.tolist()) == (expected.dtype, expected.tolist())
    elif isinstance(expected, Mapping):
        assert list(found) == list(expected)
        for key in expected:
            same(found[key], expected[key])
    elif isinstance(expected, (str, bytes, int)):
        assert found == expected
    else:
        for one, other in zip(found, expected, strict=True):
            same(one, other)


@pytest.mark.parametrize(("samples", "expected"), COLLATED, ids=range(len(COLLATED)))
def test_containers_keep_their_class(samples, expected):
    same(default_collate(samples), expected)


def test_a_sample_keeps_its_containers():
    x = np.float32([1])
    for kind in (list, deque, Named, lambda parts: Pair(*parts, 1), lambda parts: Held({"a": parts[0]})):
        same(default_convert(kind([x])), kind([rv.tensor(x)]))
    same(default_convert((x, "a", TEXTS)), [rv.tensor(x), "a", TEXTS])  # a tuple becomes a list


def test_functions_for_classes_of_samples():
    class Image:
        pass

    table = {**default_collate_fn_map, Image: lambda batch, *, collate_fn_map: len(batch)}
    assert collate([{"a": Image()}, {"a": Image()}], collate_fn_map=table) == {"a": 2}
    refused(TypeError, "got samples of type Image", default_collate, [Image()])


def test_joined_datasets():
    chain = Numbers(2) + Numbers(1)
    assert isinstance(chain, ChainDataset)
    assert batches(DataLoader(chain, 2)) == [[0, 1], [0]]
    assert len(ChainDataset([Counted(2), Counted(3)])) == 5
    refused(TypeError, "[ChainDataset] got a list", list, ChainDataset([[1]]))
    refused(TypeError, "[ConcatDataset] got an IterableDataset", ConcatDataset, [Numbers()])
    assert ConcatDataset([[1, 2], [3]]).cumulative_sizes == [2, 3]

    class Several(list):
        def __getitems__(self, indices):
            assert [*map(type, indices)] == [int] * len(indices)
            return [10 * self[i] for i in indices]

    for data, expected in (
        (Subset(Several([1, 2, 3]), [2, 0]), [[30, 10]]),
        (StackDataset([1, 2], Several([3, 4])), [[[1, 2], [30, 40]]]),
        (StackDataset(a=[1, 2], b=Several([3, 4])), [{"a": [1, 2], "b": [30, 40]}]),
    ):
        found = list(DataLoader(data, 2))
        same(found, as_tensors(expected))
    assert StackDataset([1, 2], [3, 4])[1] == (2, 4)
    assert StackDataset(a=[1, 2])[0] == {"a": 1}
    for wrong in ({}, {"a": [1], "b": [1, 2]}):
        refused(ValueError, "[StackDataset] got", StackDataset, **wrong)


def as_tensors(value):
    """Lists of numbers as Tensors."""
    if isinstance(value, dict):
        return {key: as_tensors(part) for key, part in value.items()}
    return rv.tensor(value) if isinstance(value[0], int) else [*map(as_tensors, value)]


def test_what_a_program_sees_of_splits_and_samplers():
    a, b = random_split(range(10), [5, 5])
    assert sorted(a.indices + b.indices) == list(range(10))
    assert all(type(i) is int for part in (a, b) for i in part.indices)
    assert type(WeightedRandomSampler([1, 2], 2).weights) is rv.Tensor
    assert not hasattr(Numbers(), "__len__")
    data = TensorDataset(rv.arange(2))
    data.tensors = (rv.tensor([7, 8]),)
    assert batches(DataLoader(data, 2, collate_fn=lambda samples: samples[1][0])) == [8]
    for kind in (Dataset, IterableDataset, Subset, ConcatDataset, DataLoader, Sampler):
        assert kind[int]


def test_samples_keep_their_gradients():
    x = rv.ones(4, 2, requires_grad=True)
    whole = rv.data.TensorDataset(x, np.arange(4))
    batches = [next(iter(rv.data.DataLoader(data, 2)))[0] for data in (whole, rv.data.Subset(whole, [0, 2]))]
    batches += [rv.data.default_collate([x[0], x[1]]), next(iter(rv.data.DataLoader(x, 2))), whole[1][0]]
    for batch in batches:
        x.grad = None
        batch.sum().backward()
        assert x.grad.sum().item() == batch.numel()


# prefetch: the same batches, errors with the thread's traceback, and no thread is left.


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
    assert "in _collated" in text


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
    """A kernel that a thread calls alone, without a team, has the same bits."""
    threads(2)
    big = np.ones((512, 512), np.float32)

    def work():
        _core.set_alone(True)
        return _core.matmul(big, big)

    assert np.array_equal(in_thread(work), _core.matmul(big, big))
