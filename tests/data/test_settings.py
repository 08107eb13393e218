"""Each setting of loaders, samplers, splits and scalings has an effect, or is refused; those that are set
later, too."""

import time

import numpy as np
import pytest
import ranvier as rv
from ranvier import data
from ranvier.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler, TensorDataset
from support.effects import Exempt, With, require_effect, require_rows

X = np.arange(20.0).reshape(10, 2)
Y = np.arange(10) % 3
PYTORCH = Exempt("PyTorch's, kept without effect: all runs in this process")


class Dataset:
    """Samples of the program's own, made in a worker where there are some."""

    def __len__(self):
        return 10

    def __getitem__(self, i):
        worker = data.get_worker_info()
        number = -1 if worker is None else worker.id
        return np.float64(i) + rv.rand(1).item(), number


def passes(**settings):
    """What two passes yield."""
    rv.manual_seed(0)
    made = DataLoader(**{"dataset": Dataset(), "batch_size": 3, **settings})
    return [
        [part for batch in made for part in np.atleast_1d(np.asarray(batch, object)).tolist()]
        for _ in range(2)
    ]


def counted(calls):
    def init(worker):
        calls.append(worker)
        rv.manual_seed(100 + worker)

    return init


def slow(batch):
    time.sleep(0.05)
    return batch


LOADER = {
    "dataset": TensorDataset(X),
    "batch_size": 4,
    "shuffle": True,
    "sampler": [3, 1, 2],
    "batch_sampler": With([[0, 1], [2]], {"batch_size": 1}),
    "num_workers": 2,
    "collate_fn": lambda samples: [len(samples)],
    "pin_memory": PYTORCH,
    "drop_last": True,
    "timeout": With(0.01, {"num_workers": 1, "collate_fn": slow}),
    "worker_init_fn": With(counted([]), {"num_workers": 2}),
    "multiprocessing_context": PYTORCH,
    "generator": With(3, {"shuffle": True}),
    "prefetch": Exempt("batches are made ahead, the same ones: test_loader"),
    "augment": lambda x: x * 2,
    "transform": lambda x: x * 2,
    "prefetch_factor": Exempt("how far ahead indices are drawn; refused without workers below"),
    "persistent_workers": With(True, {"num_workers": 2}),
    "pin_memory_device": PYTORCH,
    "in_order": PYTORCH,
}


def test_each_setting_of_a_loader_has_a_row():
    require_rows(DataLoader, LOADER)


@pytest.mark.parametrize("setting", LOADER)
def test_a_setting_of_a_loader(setting):
    require_effect(passes, setting, LOADER[setting])


@pytest.mark.parametrize("setting", [name for name in LOADER if not isinstance(LOADER[name], Exempt)])
def test_a_setting_of_a_loader_that_is_set_later_is_followed_or_refused(setting):
    row = LOADER[setting]
    value, more = row[:2] if isinstance(row, With) else (row, {})

    def outcome(change=False):
        rv.manual_seed(0)
        made = DataLoader(**{"dataset": Dataset(), "batch_size": 3, **more})
        if change:
            setattr(made, setting, value)
        return [[np.asarray(batch, object) for batch in made] for _ in range(2)]

    before = outcome()
    try:
        after = outcome(change=True)
    except (ValueError, RuntimeError):
        return
    assert repr(before) != repr(after)


OF_WORKERS = {"prefetch_factor": 2, "persistent_workers": True, "multiprocessing_context": "fork"}


@pytest.mark.parametrize("name", OF_WORKERS)
def test_settings_of_workers_without_workers(name):
    with pytest.raises(ValueError, match=rf"\[DataLoader\] got {name} .* with num_workers 0"):
        DataLoader(Dataset(), **{name: OF_WORKERS[name]})


# --- samplers

SAMPLERS = {
    RandomSampler: ({"data_source": X}, {"replacement": True, "num_samples": 4, "generator": 3}),
    SequentialSampler: ({"data_source": X}, {}),
    data.SubsetRandomSampler: ({"indices": [1, 3, 5, 7]}, {"generator": 3}),
    data.WeightedRandomSampler: (
        {"weights": np.arange(1.0, 11.0), "num_samples": 8},
        {"weights": np.arange(11.0, 1.0, -1.0), "num_samples": 5, "replacement": False, "generator": 3},
    ),
    BatchSampler: (
        {"sampler": range(10), "batch_size": 3, "drop_last": False},
        {"sampler": range(5), "batch_size": 4, "drop_last": True},
    ),
    data.DistributedSampler: (
        {"dataset": X, "num_replicas": 3, "rank": 0},
        {"num_replicas": 2, "rank": 1, "shuffle": False, "seed": 3, "drop_last": True},
    ),
}
SAMPLER_ROWS = [(kind, setting) for kind, (_, rows) in SAMPLERS.items() for setting in rows]


def drawn(kind, base):
    def outcome(**settings):
        rv.manual_seed(0)
        made = kind(**{**base, **settings})
        return [list(made), list(made)]

    return outcome


@pytest.mark.parametrize(("kind", "setting"), SAMPLER_ROWS)
def test_a_setting_of_a_sampler_that_is_set_later_is_followed_or_refused(kind, setting):
    base, rows = SAMPLERS[kind]

    def outcome(change=False):
        rv.manual_seed(0)
        made = kind(**base)
        if change:
            setattr(made, setting, rows[setting])
        return [[np.asarray(i).tolist() for i in made] for _ in range(2)]

    before = outcome()
    try:
        after = outcome(change=True)
    except (AttributeError, ValueError, TypeError):
        return
    assert before != after


# --- splits and scalings

MEAN = With([3.0, 1.0], {"std": [1.0, 2.0]}, [0.0, 0.0])
STD = With([9.0, 1.0], {"mean": [1.0, 2.0]}, [1.0, 1.0])
LOW = With([3.0, 1.0], {"high": [9.0, 9.0]}, [0.0, 0.0])
HIGH = With([9.0, 8.0], {"low": [0.0, 0.0]}, [5.0, 5.0])
SPLITS = {
    data.random_split: ({"dataset": range(10), "lengths": [6, 4]}, {"lengths": [5, 5], "generator": 3}),
    data.one_hot: ({"labels": Y}, {"num_classes": 5, "dtype": np.float64}),
    data.Standardize: ({}, {"mean": MEAN, "std": STD, "per": "all"}),
    data.MinMaxScaler: ({}, {"low": LOW, "high": HIGH, "per": "all"}),
    data.Normalize: ({"mean": [0.0, 0.0], "std": [1.0, 1.0]}, {"mean": [1.0, 2.0], "std": [2.0, 3.0]}),
}
SPLIT_ROWS = [(kind, setting) for kind, (_, rows) in SPLITS.items() for setting in rows]


def made_of(kind, base):
    def outcome(**settings):
        rv.manual_seed(0)
        made = kind(**{**base, **settings})
        if kind is data.random_split:
            return [list(part) for part in made]
        if kind is data.one_hot:
            return [made, made.dtype.name]
        x = X if kind is not data.Normalize else X.reshape(10, 2, 1, 1)
        fitted = made if "mean" in settings or "low" in settings or kind is data.Normalize else made.fit(x)
        return fitted.transform(x)

    return outcome


TABLES = SAMPLERS | SPLITS


@pytest.mark.parametrize("kind", TABLES)
def test_each_setting_of_a_sampler_split_or_scaling_has_a_row(kind):
    base, rows = TABLES[kind]
    require_rows(kind, rows, given=set(base) - set(rows))


@pytest.mark.parametrize(("kind", "setting"), SAMPLER_ROWS + SPLIT_ROWS)
def test_a_setting_of_a_sampler_split_or_scaling(kind, setting):
    base, rows = TABLES[kind]
    outcome = drawn(kind, base) if kind in SAMPLERS else made_of(kind, base)
    require_effect(outcome, setting, rows[setting])


TRAIN_TEST = {
    "test_size": 5, "train_size": 4, "random_state": 5, "shuffle": False, "stratify": np.arange(10) % 2,
}  # fmt: skip


@pytest.mark.parametrize("setting", TRAIN_TEST)
def test_a_setting_of_train_test_split(setting):
    require_rows(data.train_test_split, TRAIN_TEST)

    def outcome(**settings):
        rv.manual_seed(0)
        return data.train_test_split(X, Y, **settings)

    require_effect(outcome, setting, TRAIN_TEST[setting])


# --- augmentation

IMAGES = np.random.default_rng(0).normal(size=(6, 3, 12, 12)).astype(np.float32)


LABELS = np.arange(6) % 2
MIXED = {"alpha": 9.0, "num_classes": 3, "p": 0.0}
AUGMENT = {
    "CenterCrop": ({"size": 8}, {"size": 6}),
    "CutMix": ({"alpha": 1.0, "num_classes": 2}, MIXED),
    "Mixup": ({"alpha": 1.0, "num_classes": 2}, MIXED),
    "RandomAffine": (
        {"degrees": 30.0},
        {
            "degrees": 80.0, "translate": (0.3, 0.3), "scale": (0.5, 0.6), "shear": 30.0,
            "interpolation": "nearest", "fill": 3.0,
        },
    ),
    "RandomCrop": (
        {"size": 8},
        {
            "size": 6, "padding": 2, "fill": With(3.0, {"padding": 6}),
            "pad_if_needed": Exempt("without it an image that is too small is refused: test_augment"),
            "padding_mode": With("reflect", {"padding": 6}),
        },
    ),
    "RandomErasing": ({"p": 1.0}, {"p": 0.0, "scale": (0.4, 0.5), "ratio": (3.0, 3.1), "value": 3.0}),
    "RandomHorizontalFlip": ({}, {"p": 1.0}),
    "RandomRotation": ({"degrees": 30.0}, {"degrees": 80.0, "interpolation": "nearest", "fill": 3.0}),
    "RandomVerticalFlip": ({}, {"p": 1.0}),
}  # fmt: skip
AUGMENT_ROWS = [(name, setting) for name, (_, rows) in AUGMENT.items() for setting in rows]


def augmented(name, base):
    def outcome(**settings):
        rv.manual_seed(0)
        made = getattr(data.augment, name)(**{**base, **settings})
        if name not in ("CutMix", "Mixup"):
            return np.asarray(made(IMAGES))
        return [np.asarray(part) for part in made(IMAGES, LABELS)]

    return outcome


def test_each_augmentation_has_rows():
    kinds = {n: k for n, k in vars(data.augment).items() if isinstance(k, type)}
    assert set(kinds) - {"Augmentation", "Compose"} == set(AUGMENT)
    for name, (_, rows) in AUGMENT.items():
        require_rows(kinds[name], rows)


@pytest.mark.parametrize(("name", "setting"), AUGMENT_ROWS)
def test_a_setting_of_an_augmentation(name, setting):
    base, rows = AUGMENT[name]
    require_effect(augmented(name, base), setting, rows[setting], base)


def test_batches_are_made_ahead_by_a_thread_or_by_workers():
    with pytest.raises(ValueError, match="got prefetch 2 and num_workers 1; expected one of them"):
        DataLoader(Dataset(), prefetch=2, num_workers=1)
