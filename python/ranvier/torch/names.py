"""Which module of this library has the names of a module of PyTorch, and what PyTorch calls otherwise.

A module `torch.p` has, in this order, the names of `OTHERS`, of its file in `ranvier.torch.modules`, of the
module of this library that `HOMES` names, and of `ranvier.p`.
"""

from __future__ import annotations

# a module of PyTorch: a file of this satellite
FILES = {
    "__config__": "ranvier.torch.machine",
    "_dynamo": "ranvier.torch.compiler",
    "autograd.profiler": "ranvier.torch.profiler",
    "compiler": "ranvier.torch.compiler",
    "cpu": "ranvier.torch.machine",
    "futures": "ranvier.torch.futures",
    "profiler": "ranvier.torch.profiler",
    "testing": "ranvier.torch.testing",
    "torch_version": "ranvier.torch.version",
    "types": "ranvier.torch.types",
    "utils._pytree": "ranvier.torch.pytree",
    "version": "ranvier.torch.version",
}

# a module of PyTorch: the module of this library that has its names
HOMES = {
    "cpu.amp": "amp",
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
    "special": "",
    "xpu": "cuda",
    "xpu.amp": "amp",
}

# a name of PyTorch: where it is in this library
OTHERS = {
    "_C._log_api_usage_once": "ranvier.torch.machine.log_usage",
    "distributed.rpc.is_available": "ranvier.cuda.is_available",
    "optim.lr_scheduler._LRScheduler": "ranvier.optim.lr_scheduler.LRScheduler",
    "overrides.has_torch_function": "ranvier.torch.machine.is_hooked",
    "overrides.has_torch_function_unary": "ranvier.torch.machine.is_hooked",
    "overrides.has_torch_function_variadic": "ranvier.torch.machine.is_hooked",
    "overrides.is_tensor_like": "ranvier.is_tensor",
    "special.expit": "ranvier.sigmoid",
    "special.gammaln": "ranvier.lgamma",
    "special.psi": "ranvier.digamma",
    "__version__": "ranvier.torch.version.__version__",
    "save": "ranvier.torch.files.save",
    "serialization.save": "ranvier.torch.files.save",
}

# what stays out, and why, with all names below it
_FLAT = "images have two dimensions"
_DENSE = "all tensors are dense"
OUT = {
    "_C": "there is no C++ of PyTorch",
    "_dynamo": "rv.compile captures steps without it",
    "_inductor": "rv.compile captures steps without it",
    "autograd.profiler": "cProfile measures the Python code",
    "classes": "operators are those of torch",
    "distributed.elastic": "mpirun starts the processes",
    "distributed.fsdp": "each process has the whole model",
    "distributed.optim": "each process has the whole model",
    "distributed.pipelining": "each process has the whole model",
    "distributed.rpc": "processes exchange tensors with torch.distributed only",
    "distributed.tensor": "each process has the whole model",
    "export": "there are no graphs of modules; see ranvier.export and ranvier.onnx",
    "fft": "there are no complex numbers",
    "fx": "there are no graphs of modules",
    "library": "operators are those of torch; autograd.Function makes new ones",
    "nested": _DENSE,
    "ops": "operators are those of torch",
    "overrides": "no operation looks for __torch_function__",
    "package": "ranvier.save writes models",
    "profiler": "cProfile measures the Python code",
    "quantization": "ranvier.export predicts in int8",
    "nn.functional.avg_pool3d": _FLAT,
    "nn.functional.conv3d": _FLAT,
    "nn.functional.max_pool3d": _FLAT,
    "nn.AvgPool3d": _FLAT,
    "nn.BatchNorm3d": _FLAT,
    "nn.Conv3d": _FLAT,
    "nn.ConvTranspose3d": _FLAT,
    "nn.MaxPool3d": _FLAT,
    "sparse": _DENSE,
    "sparse_bsc": _DENSE,
    "sparse_bsr": _DENSE,
    "sparse_compressed_tensor": _DENSE,
    "sparse_coo": _DENSE,
    "sparse_coo_tensor": _DENSE,
    "sparse_csc": _DENSE,
    "sparse_csr": _DENSE,
    "sparse_csr_tensor": _DENSE,
    "utils.benchmark": "Python's timeit measures",
}
