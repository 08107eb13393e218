"""Data before it meets the network: loaders, splits, transforms and data sets (`ranvier.data.datasets`)."""

from ranvier.data import datasets
from ranvier.data.loader import DataLoader, Dataset, Subset, TensorDataset, default_collate
from ranvier.data.split import random_split, train_test_split
from ranvier.data.transforms import Normalize, Standardize, normalise, one_hot, standardise

__all__ = [
    "DataLoader",
    "Dataset",
    "Normalize",
    "Standardize",
    "Subset",
    "TensorDataset",
    "datasets",
    "default_collate",
    "normalise",
    "one_hot",
    "random_split",
    "standardise",
    "train_test_split",
]
