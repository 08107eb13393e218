"""Optimizers under PyTorch's names."""

from ranvier.optim.adam import Adam, AdamW
from ranvier.optim.optimizer import Optimizer
from ranvier.optim.rmsprop import RMSprop
from ranvier.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "RMSprop"]
