"""Layers, networks and losses, under PyTorch's names."""

from ranvier.nn import functional, init, utils
from ranvier.nn.activation import (
    ELU,
    GELU,
    Hardtanh,
    LeakyReLU,
    LogSoftmax,
    ReLU,
    ReLU6,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Step,
    Tanh,
)
from ranvier.nn.container import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from ranvier.nn.conv import Conv1d, Conv2d
from ranvier.nn.conv_transpose import ConvTranspose1d, ConvTranspose2d
from ranvier.nn.dropout import Dropout
from ranvier.nn.linear import Linear
from ranvier.nn.loss import BCELoss, BCEWithLogitsLoss, CrossEntropyLoss, MSELoss
from ranvier.nn.module import Module, Parameter
from ranvier.nn.pooling import AdaptiveAvgPool2d, AvgPool2d, MaxPool2d
from ranvier.nn.reshape import Flatten, Identity, Unflatten

__all__ = [
    "ELU",
    "GELU",
    "AdaptiveAvgPool2d",
    "AvgPool2d",
    "BCELoss",
    "BCEWithLogitsLoss",
    "Conv1d",
    "Conv2d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "Hardtanh",
    "Identity",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "MSELoss",
    "MaxPool2d",
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "ReLU",
    "ReLU6",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Step",
    "Tanh",
    "Unflatten",
    "functional",
    "init",
    "utils",
]
