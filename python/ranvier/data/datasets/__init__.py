"""Data sets: digits and iris ship inside the package, `load_mnist` reads or downloads its files."""

from ranvier.data.datasets.idx import read_idx
from ranvier.data.datasets.mnist import MNIST_CLASSES, load_mnist
from ranvier.data.datasets.shipped import DIGITS_CLASSES, IRIS_CLASSES, IRIS_FEATURES, load_digits, load_iris

__all__ = [
    "DIGITS_CLASSES",
    "IRIS_CLASSES",
    "IRIS_FEATURES",
    "MNIST_CLASSES",
    "load_digits",
    "load_iris",
    "load_mnist",
    "read_idx",
]
