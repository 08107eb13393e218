"""Data before it meets the network: loaders, splits, transforms and data sets (`ranvier.data.datasets`)."""

from ranvier.data import augment, datasets
from ranvier.data.collate import default_collate, default_convert
from ranvier.data.dataset import ConcatDataset, Dataset, Subset, TensorDataset
from ranvier.data.datasets import Samples, load
from ranvier.data.loader import DataLoader
from ranvier.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    StratifiedSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from ranvier.data.split import random_split, train_test_split
from ranvier.data.transforms import (
    Compose,
    MinMaxScaler,
    Normalize,
    OneHot,
    Standardize,
    minmax_scale,
    one_hot,
    standardize,
)

__all__ = [
    "BatchSampler",
    "Compose",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "MinMaxScaler",
    "Normalize",
    "OneHot",
    "RandomSampler",
    "Sampler",
    "Samples",
    "SequentialSampler",
    "Standardize",
    "StratifiedSampler",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "augment",
    "datasets",
    "default_collate",
    "default_convert",
    "load",
    "minmax_scale",
    "one_hot",
    "random_split",
    "standardize",
    "train_test_split",
]
