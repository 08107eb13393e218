"""Loaders, splits, transforms, augmentation, data sets (`datasets`)."""

import typing as _typing

import ranvier.extension as _extension
import ranvier.first_use as _first_use

if _typing.TYPE_CHECKING:
    from ranvier.data import augment, datasets
    from ranvier.data.collate import *
    from ranvier.data.dataset import *
    from ranvier.data.datasets.files import load as load
    from ranvier.data.datasets.samples import Samples as Samples
    from ranvier.data.loader import *
    from ranvier.data.sampler import *
    from ranvier.data.split import *
    from ranvier.data.transforms import *
    from ranvier.data.workers import *

_MODULES = {
    "augment": "",
    "collate": "default_collate default_convert",
    "dataset": """
        ChainDataset ConcatDataset Dataset IterableDataset StackDataset Subset TensorDataset
    """,
    "datasets": "",
    "datasets.files": "load",
    "datasets.samples": "Samples",
    "loader": "DataLoader",
    "sampler": """
        BatchSampler RandomSampler Sampler SequentialSampler SubsetRandomSampler WeightedRandomSampler
    """,
    "split": "random_split train_test_split",
    "transforms": "Compose MinMaxScaler Normalize Standardize TableEncoder one_hot",
    "workers": "get_worker_info",
}
__getattr__ = _first_use.FirstUse(__name__, _MODULES, left_out="Samples default_convert load")
__dir__ = __getattr__.directory

if not _typing.TYPE_CHECKING:
    __all__ = [*__getattr__.names]
    __all__ += [name for name in _extension.attributes(__name__) if name[0].isupper()]
