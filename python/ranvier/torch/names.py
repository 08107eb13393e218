"""Which module of this library has the names of a module of PyTorch, and what PyTorch calls otherwise.

A module `torch.p` has, in this order, the names of `OTHERS`, of its file in `ranvier.torch.modules`, of the
module of this library that `HOMES` names, and of `ranvier.p`.
"""

from __future__ import annotations

# a module of PyTorch: a file of this satellite
FILES = {
    "torch_version": "ranvier.torch.version",
    "version": "ranvier.torch.version",
}

# a module of PyTorch: the module of this library that has its names
HOMES = {
    "functional": "",
    "nn.modules.rnn": "nn.modules.rnn",
    "optim.adadelta": "optim",
    "optim.adagrad": "optim",
    "optim.adamax": "optim",
    "optim.adamw": "optim",
    "optim.nadam": "optim",
    "optim.radam": "optim",
    "optim.rmsprop": "optim",
    "optim.rprop": "optim",
    "tensor": "",
    "_tensor": "",
}

# a name of PyTorch: where it is in this library
OTHERS = {
    "optim.lr_scheduler._LRScheduler": "ranvier.optim.lr_scheduler.LRScheduler",
    "__version__": "ranvier.torch.version.__version__",
}

# what stays out, and why; as much as is named here is the beginning of a path
OUT = {
    "_dynamo": "rv.compile captures steps without it",
    "_inductor": "rv.compile captures steps without it",
    "fx": "there are no graphs of modules",
    "sparse": "all tensors are dense",
    "to_sparse": "all tensors are dense",
    "distributed.rpc": "processes exchange tensors with torch.distributed only",
}
