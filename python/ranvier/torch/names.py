"""Which module of this library has the names of a module of PyTorch, and what PyTorch calls otherwise.

A module `torch.p` has, in this order, the names of `OTHERS`, of its file in `ranvier.torch.modules`, of the
module of this library that `HOMES` names, and of `ranvier.p`.
"""

from __future__ import annotations

# a module of PyTorch: a file of this satellite
FILES = {
    "_dynamo": "ranvier.torch.compiler",
    "compiler": "ranvier.torch.compiler",
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

# what stays out, and why, with all names below it
_DENSE = "all tensors are dense"
OUT = {
    "_C": "there is no C++ of PyTorch",
    "_dynamo": "rv.compile captures steps without it",
    "_inductor": "rv.compile captures steps without it",
    "classes": "operators are those of torch",
    "distributed.elastic": "mpirun starts the processes",
    "distributed.fsdp": "each process has the whole model",
    "distributed.pipelining": "each process has the whole model",
    "distributed.rpc": "processes exchange tensors with torch.distributed only",
    "distributed.tensor": "each process has the whole model",
    "export": "there are no graphs of modules; see ranvier.export and ranvier.onnx",
    "fx": "there are no graphs of modules",
    "library": "operators are those of torch; autograd.Function makes new ones",
    "nested": _DENSE,
    "ops": "operators are those of torch",
    "package": "ranvier.save writes models",
    "quantization": "ranvier.export predicts in int8",
    "sparse": _DENSE,
    "sparse_bsc": _DENSE,
    "sparse_bsr": _DENSE,
    "sparse_compressed_tensor": _DENSE,
    "sparse_coo": _DENSE,
    "sparse_coo_tensor": _DENSE,
    "sparse_csc": _DENSE,
    "sparse_csr": _DENSE,
    "sparse_csr_tensor": _DENSE,
}
