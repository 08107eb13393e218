"""Layers, networks and losses, under PyTorch's names."""

from ranvier.nn import init
from ranvier.nn.container import ModuleDict, ModuleList, Sequential
from ranvier.nn.conv import Conv2d
from ranvier.nn.linear import Linear
from ranvier.nn.module import Module, Parameter
from ranvier.nn.reshape import Flatten, Identity, Unflatten

__all__ = [
    "Conv2d",
    "Flatten",
    "Identity",
    "Linear",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "Sequential",
    "Unflatten",
    "init",
]
