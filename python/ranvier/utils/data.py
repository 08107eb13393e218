"""`ranvier.data` under the path that PyTorch programs import it from, `utils.data`."""

from ranvier.data import DataLoader, Dataset, Subset, TensorDataset, default_collate, random_split

__all__ = ["DataLoader", "Dataset", "Subset", "TensorDataset", "default_collate", "random_split"]
