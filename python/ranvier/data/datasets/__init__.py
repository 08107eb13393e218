"""Data sets: digits and iris ship inside the package, MNIST, Fashion-MNIST and CIFAR-10 are read or
downloaded, tables, archives and images come from one's own files."""

from ranvier.data.datasets.archives import load_npz
from ranvier.data.datasets.cifar import CIFAR10_CLASSES, load_cifar10
from ranvier.data.datasets.files import load
from ranvier.data.datasets.idx import read_idx
from ranvier.data.datasets.images import ImageFolder, load_images, read_image
from ranvier.data.datasets.mnist import FASHION_MNIST_CLASSES, MNIST_CLASSES, load_fashion_mnist, load_mnist
from ranvier.data.datasets.samples import Samples
from ranvier.data.datasets.shipped import DIGITS_CLASSES, IRIS_CLASSES, IRIS_FEATURES, load_digits, load_iris
from ranvier.data.datasets.tables import load_csv, load_digit_recognizer

__all__ = [
    "CIFAR10_CLASSES",
    "DIGITS_CLASSES",
    "FASHION_MNIST_CLASSES",
    "IRIS_CLASSES",
    "IRIS_FEATURES",
    "MNIST_CLASSES",
    "ImageFolder",
    "Samples",
    "load",
    "load_cifar10",
    "load_csv",
    "load_digit_recognizer",
    "load_digits",
    "load_fashion_mnist",
    "load_images",
    "load_iris",
    "load_mnist",
    "load_npz",
    "read_idx",
    "read_image",
]
