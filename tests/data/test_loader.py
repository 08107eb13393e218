"""DataLoader: every sample once, PyTorch's batches; a pass taken up anywhere gives what was left of it."""

import inspect
import json

import numpy as np
import pytest
import ranvier as rv
from ranvier.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    RandomSampler,
    Subset,
    TensorDataset,
    WeightedRandomSampler,
    augment,
    default_collate,
    random_split,
)
from support.refused import refused

X = np.arange(20, dtype=np.float32).reshape(10, 2)
Y = np.arange(10)


class Squares(Dataset):
    """A plain dataset: sample i is (i, i * i)."""

    def __init__(self, n=10):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        return np.float32(i), i * i


def test_batches_in_order():
    batches = list(DataLoader(TensorDataset(X, Y), batch_size=4))
    assert [len(x) for x, _ in batches] == [4, 4, 2]
    assert all(isinstance(part, rv.Tensor) for batch in batches for part in batch)
    assert np.array_equal(np.concatenate([x.numpy() for x, _ in batches]), X)
    assert batches[0][0].dtype == np.float32
    assert batches[0][1].dtype == np.int64


@pytest.mark.parametrize(("drop_last", "sizes"), [(False, [4, 4, 2]), (True, [4, 4])])
@pytest.mark.parametrize("dataset", [TensorDataset(X, Y), Squares()], ids=["arrays", "samples"])
def test_drop_last_and_length(dataset, drop_last, sizes):
    loader = DataLoader(dataset, batch_size=4, drop_last=drop_last)
    assert [len(x) for x, _ in loader] == sizes
    assert len(loader) == len(sizes)


@pytest.mark.parametrize("dataset", [TensorDataset(X, Y), Squares()], ids=["arrays", "samples"])
def test_shuffle_gives_each_sample_once_in_another_order_each_epoch(dataset):
    rv.manual_seed(3)
    loader = DataLoader(dataset, batch_size=3, shuffle=True)
    epochs = [np.concatenate([y.numpy() for _, y in loader]).tolist() for _ in range(2)]
    whole = sorted(int(dataset[i][1]) for i in range(10))
    assert sorted(epochs[0]) == sorted(epochs[1]) == whole
    assert epochs[0] != epochs[1]
    rv.manual_seed(3)
    assert np.concatenate([y.numpy() for _, y in loader]).tolist() == epochs[0]


def test_shuffle_gathers_arrays_that_are_not_contiguous():
    transposed = np.asfortranarray(np.arange(60.0).reshape(10, 3, 2)).transpose(0, 2, 1)
    for x, y in DataLoader(TensorDataset(transposed, Y), batch_size=3, shuffle=True):
        assert np.array_equal(x.numpy(), transposed[y.numpy()])


def test_a_batch_changed_in_place_leaves_the_dataset_alone():
    data = np.ones((4, 2), np.float32)
    for (x,) in DataLoader(TensorDataset(data), batch_size=2):
        x.numpy()[:] = 0
    assert (data == 1).all()


def test_a_generator_that_is_set_later():
    """The loader's own sampler draws from it; one that the program has made keeps its own."""

    def order(loader):
        return rv.cat(list(loader)).tolist()

    data = np.arange(20)
    loader = DataLoader(data, 4, shuffle=True, generator=1)
    loader.generator = 5
    assert order(loader) == order(DataLoader(data, 4, shuffle=True, generator=5))
    given = DataLoader(data, 4, sampler=RandomSampler(data, generator=1))
    given.generator = 5
    assert order(given) == order(DataLoader(data, 4, sampler=RandomSampler(data, generator=1)))


def test_subsets_of_subsets_are_gathered_whole():
    inner = Subset(TensorDataset(X, Y), [1, 3, 5, 7])
    outer = Subset(inner, [3, 0])
    ((x, y),) = DataLoader(outer, batch_size=8)
    assert y.tolist() == [7, 1]
    assert np.array_equal(x.numpy(), X[[7, 1]])
    assert outer[0][1].item() == 7
    assert len(outer) == 2


def test_a_subclass_keeps_its_own_samples():
    class Doubled(TensorDataset):
        def __getitem__(self, i):
            return tuple(2 * np.asarray(part) for part in super().__getitem__(i))

    ((y,),) = DataLoader(Doubled(Y), batch_size=10)
    assert y.tolist() == (2 * Y).tolist()


def test_collate():
    batch = default_collate([{"x": np.ones(2), "name": "a", "y": 1}, {"x": np.zeros(2), "name": "b", "y": 2}])
    assert batch["x"].tolist() == [[1, 1], [0, 0]]
    assert batch["name"] == ["a", "b"]
    assert batch["y"].dtype == np.int64
    assert default_collate([1.5, 2.5]).dtype == np.float64
    masks = [np.array([255, 0], np.uint8).view(np.bool_) for _ in range(2)]  # masks of one-bit images
    assert default_collate(masks).sum().item() == 2
    assert default_collate([rv.tensor([1.0]), rv.tensor([2.0])]).tolist() == [[1.0], [2.0]]
    with pytest.raises(ValueError, match=r"shapes \[\(2,\), \(3,\)\]; expected equal shapes"):
        default_collate([np.ones(2), np.ones(3)])


@pytest.mark.parametrize(
    "samples",
    [
        [np.arange(6.0).reshape(2, 3), np.ones((3, 2)).T],
        [np.ones(3, ">f4"), np.arange(3, dtype=">f4")],
        [np.ones(3, np.float32), np.arange(3)],
        [np.ones((0, 2)), np.ones((0, 2))],
        [np.array(1, np.int32), np.array(2, np.int32)],
        [np.array(1, np.int32), np.array(2.5)],
        [np.array(3, ">i8"), np.array(4, ">i8")],
        [np.int16(1), np.int16(-2)],
        [np.float32(1), np.float64(2)],
        [np.bool_(True), np.bool_(False)],
        [True, False],
        [1, True],
        [2**40, 3],
    ],
    ids=str,
)
def test_collated_is_numpys_stack(samples):
    expected = np.stack(samples)
    expected = expected.astype(expected.dtype.newbyteorder("="))
    tensors = [rv.from_numpy(np.asarray(x).astype(np.asarray(x).dtype.newbyteorder("="))) for x in samples]
    for batch in (default_collate(samples), default_collate(tensors)):
        assert (batch.dtype, batch.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(batch.numpy(), expected)
    batch[...] = 0
    np.testing.assert_array_equal(np.stack(samples), expected)  # a batch has memory of its own


def test_collate_fn_gets_the_samples():
    loader = DataLoader(Squares(4), batch_size=2, collate_fn=lambda samples: [y for _, y in samples])
    assert list(loader) == [[0, 1], [4, 9]]
    loader = DataLoader(TensorDataset(Y), batch_size=5, collate_fn=len)
    assert list(loader) == [5, 5]


def test_pytorchs_arguments_are_accepted():
    loader = DataLoader(TensorDataset(X), 4, True, num_workers=2, pin_memory=True)
    assert len(list(loader)) == 3


def test_pytorchs_keywords_are_all_known():
    theirs = pytest.importorskip("torch.utils.data", reason="torch is not installed").DataLoader
    assert set(inspect.signature(theirs).parameters) <= set(inspect.signature(DataLoader).parameters)


@pytest.mark.parametrize("keyword", ["batchsize", "num_worker", "pin_memory_devices"])
def test_unknown_keywords_are_refused(keyword):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{keyword}'"):
        DataLoader(TensorDataset(X), **{keyword: 2})


def test_empty():
    assert list(DataLoader(TensorDataset(np.zeros((0, 2))), batch_size=4, shuffle=True)) == []


def test_errors():
    refused(ValueError, "[TensorDataset] got arrays of [10, 9] samples", TensorDataset, X, Y[:9])
    refused(ValueError, "got no arrays", TensorDataset)
    refused(ValueError, "got a number", TensorDataset, 3.0)
    with pytest.raises(ValueError, match=r"\[DataLoader\] got batch_size 0; expected at least 1"):
        DataLoader(TensorDataset(X), batch_size=0)
    with pytest.raises(TypeError, match=r"\[DataLoader\] got batch_size 2.0; expected a whole number"):
        DataLoader(TensorDataset(X), batch_size=2.0)
    for wrong in (3, Dataset(), {1, 2}):
        refused(TypeError, "got a dataset of type", iter, DataLoader(wrong))
    refused(ValueError, "got num_workers -1", DataLoader, [1], num_workers=-1)
    refused(TypeError, "[DataLoader] got shuffle 'no'; expected True or False", DataLoader, [1], shuffle="no")
    refused(TypeError, "[DataLoader] got batch_sampler 'sum'", DataLoader, [1], batch_sampler="sum")
    for data, wrong in (([1.0], ["a"]), ([1.0], [[None]]), ([1.0], [1]), (TensorDataset(X), [[0.5]])):
        loader = DataLoader(data, batch_sampler=wrong)
        refused(TypeError, "from the sampler; expected indices", list, loader)
    refused(TypeError, "got samples [1, 'a']", default_collate, [1, "a"])
    refused(ValueError, "got samples of [1, 2] parts", default_collate, [(1, 2), (3,)])
    refused(KeyError, "got sample 1 without 'a'; expected", default_collate, [{"a": 1}, {"b": 1}])
    refused(NotImplementedError, "expected a __getitem__", lambda: Dataset()[0])


def test_random_split():
    parts = random_split(TensorDataset(Y), [6, 3, 1], generator=0)
    assert [len(part) for part in parts] == [6, 3, 1]
    assert sorted(int(part[i][0].item()) for part in parts for i in range(len(part))) == Y.tolist()
    assert [len(part) for part in random_split(TensorDataset(Y), [0.25, 0.75])] == [3, 7]
    assert [len(part) for part in random_split(Squares(5), [0.5, 0.5])] == [3, 2]
    with pytest.raises(ValueError, match=r"got lengths \[6, 3\] for 10 samples; expected numbers that sum"):
        random_split(TensorDataset(Y), [6, 3])
    refused(ValueError, "none below 0", random_split, TensorDataset(Y), [11, -1])


@pytest.mark.parametrize("sample", [None, object(), {1}])
def test_samples_of_other_types_are_refused(sample):
    with pytest.raises(TypeError, match=r"default_collate.*collate_fn"):
        rv.data.default_collate([(1, sample), (2, sample)])


# DataLoader.state_dict: a pass taken up anywhere gives the batches that were left of it.


ODD_X = np.arange(22, dtype=np.float32).reshape(11, 2)
ODD_Y = np.arange(11)


class Samples(Dataset):
    def __len__(self):
        return 11

    def __getitem__(self, i):
        return ODD_X[i], ODD_Y[i]


class Noisy(Samples):
    """Draws from the library while a batch is made."""

    def __getitem__(self, i):
        return ODD_X[i], ODD_Y[i] + rv.rand(1).item()


class Backwards:
    """A sampler without keys, which draws from the library's stream."""

    def __len__(self):
        return 11

    def __iter__(self):
        for i in range(10, -1, -1):
            yield (i + int(rv.randint(0, 11, (1,)).item())) % 11


def loaders():
    """(name, what makes a loader): orders, samplers, prefetch, augmentation, noise."""
    arrays = TensorDataset(ODD_X, ODD_Y)
    yield "in order", lambda: DataLoader(arrays, 3)
    yield "shuffled", lambda: DataLoader(arrays, 3, shuffle=True)
    yield "generator", lambda: DataLoader(arrays, 3, shuffle=True, generator=5)
    yield "drop_last", lambda: DataLoader(arrays, 3, shuffle=True, drop_last=True)
    yield "samples", lambda: DataLoader(Samples(), 3, shuffle=True)
    yield "subset", lambda: DataLoader(Subset(arrays, ODD_Y[::-1]), 3, shuffle=True)
    yield "prefetch", lambda: DataLoader(arrays, 3, shuffle=True, prefetch=2)
    yield "prefetched samples", lambda: DataLoader(Noisy(), 3, shuffle=True, prefetch=3)
    yield "noise", lambda: DataLoader(Noisy(), 3, shuffle=True)
    yield "weighted", lambda: DataLoader(arrays, 3, sampler=WeightedRandomSampler(ODD_Y, 11, generator=2))
    yield "batches", lambda: DataLoader(arrays, batch_sampler=BatchSampler(RandomSampler(ODD_Y), 3, True))
    images = TensorDataset(np.broadcast_to(ODD_X[:, None, :, None], (11, 1, 2, 2)), ODD_Y % 3)
    geometry = augment.Compose([augment.RandomCrop(2, padding=1), augment.RandomRotation(15)])
    yield "augmented", lambda: DataLoader(images, 3, shuffle=True, augment=geometry)
    mixed = augment.Compose([augment.RandomHorizontalFlip(), augment.Mixup(0.4, num_classes=3)])
    yield "mixed", lambda: DataLoader(images, 3, shuffle=True, augment=mixed, prefetch=2)
    noise = lambda x: x + rv.rand(1).numpy()  # noqa: E731
    yield "a function", lambda: DataLoader(images, 3, shuffle=True, augment=noise, prefetch=2)
    yield "a sampler of one's own", lambda: DataLoader(arrays, 3, sampler=Backwards(), prefetch=1)


def test_random_numbers_of_a_batch_are_its_own():
    loader = DataLoader(Noisy(), 3)
    assert len({value % 1 for _ in range(2) for _, y in loader for value in y.tolist()}) == 22


def drawn(loader, passes):
    """The pass and the values of every batch, and a number drawn after it as dropout would."""
    return [(i, values(batch), rv.random.current().next_key()) for i in range(passes) for batch in loader]


def values(batch):
    return [part.tolist() for part in batch]


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in loaders()])
def test_a_pass_taken_up_anywhere(make):
    rv.manual_seed(1)
    expected = drawn(make(), 3)
    per_pass = len(make())
    for done in range(len(expected) + 1):
        rv.manual_seed(1)
        loader, got = make(), []
        while len(got) < done:
            for batch in loader:
                got.append((0, values(batch), rv.random.current().next_key()))
                if len(got) == done and done % per_pass:
                    break
        state, numbers = json.loads(json.dumps(loader.state_dict())), rv.get_rng_state()
        assert state["batch"] == done % per_pass

        rv.manual_seed(99)  # another process
        rv.rand(5)
        loader = make()
        rv.set_rng_state(numbers)
        loader.load_state_dict(state)
        assert loader.state_dict() == state
        while len(got) < len(expected):
            got += drawn(loader, 1)
        assert [pair[1:] for pair in got] == [pair[1:] for pair in expected]


def test_all_batches_handed_out_but_the_pass_not_ended():
    loader = DataLoader(TensorDataset(ODD_X, ODD_Y), 3, shuffle=True)
    walk = iter(loader)
    for _ in range(4):
        next(walk)
    state = loader.state_dict()
    assert state["batch"] == 4
    loader.load_state_dict(state)
    assert list(loader) == []
    assert loader.state_dict()["start"] is None
    assert len(list(loader)) == 4
