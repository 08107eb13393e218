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
    "nn.common_types": "ranvier.torch.types",
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
    "fx.wrap": "ranvier.jit.script",
    "jit._overload": "ranvier.jit.script",
    "jit._overload_method": "ranvier.jit.script",
    "jit.TracerWarning": "ranvier.torch.compiler.TracerWarning",
    "jit.Final": "typing.Final",
    "nn.init._no_grad_fill_": "ranvier.nn.init.constant_",
    "nn.init._no_grad_normal_": "ranvier.nn.init.normal_",
    "nn.init._no_grad_trunc_normal_": "ranvier.nn.init.trunc_normal_",
    "nn.init._no_grad_uniform_": "ranvier.nn.init.uniform_",
    "nn.init._no_grad_zero_": "ranvier.nn.init.zeros_",
    "nn.init._calculate_correct_fan": "ranvier.nn.init.fan",
    "nn.init._calculate_fan_in_and_fan_out": "ranvier.nn.init.fans",
    "nn.modules.instancenorm._InstanceNorm": "ranvier.nn.norm._InstanceNorm",
    "optim.lr_scheduler._LRScheduler": "ranvier.optim.lr_scheduler.LRScheduler",
    "get_autocast_dtype": "ranvier.torch.machine.autocast_dtype",
    "is_autocast_enabled": "ranvier.torch.machine.is_hooked",
    "overrides.has_torch_function": "ranvier.torch.machine.is_hooked",
    "overrides.has_torch_function_unary": "ranvier.torch.machine.is_hooked",
    "overrides.has_torch_function_variadic": "ranvier.torch.machine.is_hooked",
    "overrides.is_tensor_like": "ranvier.is_tensor",
    "special.expit": "ranvier.sigmoid",
    "special.gammaln": "ranvier.lgamma",
    "special.psi": "ranvier.digamma",
    "utils._pytree._namedtuple_flatten": "ranvier.torch.pytree.flatten_named",
    "utils._pytree._namedtuple_unflatten": "ranvier.torch.pytree.unflatten_named",
    "utils.checkpoint.get_device_states": "ranvier.torch.machine.device_states",
    "utils.checkpoint.set_device_states": "ranvier.torch.machine.log_usage",
    "__version__": "ranvier.torch.version.__version__",
    "save": "ranvier.torch.files.save",
    "serialization.save": "ranvier.torch.files.save",
}

# what stays out, and why, with all names below it
FLAT = "images have two dimensions"
_DENSE = "all tensors are dense"
OUT = {
    "_C": "there is no C++ of PyTorch",
    "_dynamo": "rv.compile captures steps without it",
    "_inductor": "rv.compile captures steps without it",
    "ao": "ranvier.export predicts in int8",
    "autograd.profiler": "cProfile measures the Python code",
    "classes": "operators are those of torch",
    "distributed.elastic": "mpirun starts the processes",
    "distributed.fsdp": "each process has the whole model",
    "distributed.nn": "torch.distributed's calls have no gradients",
    "distributed.optim": "each process has the whole model",
    "distributed.pipelining": "each process has the whole model",
    "distributed.rpc": "processes exchange tensors with torch.distributed only",
    "distributed.tensor": "each process has the whole model",
    "export": "there are no graphs of modules; see ranvier.export and ranvier.onnx",
    "fft": "there are no complex numbers",
    "fx": "there are no graphs of modules",
    "jit.ScriptFunction": "torch.jit.script gives the function itself",
    "jit.ScriptModule": "torch.jit.script gives the module itself",
    "jit.RecursiveScriptModule": "torch.jit.script gives the module itself",
    "jit.TracingCheckError": "torch.jit.trace stays out",
    "jit.freeze": "torch.jit.script gives the module itself",
    "jit._get_trace_graph": "torch.jit.trace stays out",
    "library": "operators are those of torch; autograd.Function makes new ones",
    "nested": _DENSE,
    "ops": "operators are those of torch",
    "overrides": "no operation looks for __torch_function__",
    "package": "ranvier.save writes models",
    "profiler": "cProfile measures the Python code",
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
    "utils.benchmark": "Python's timeit measures",
    "utils.cpp_extension": "there is no C++ of PyTorch",
    "utils._foreach_utils": "optimizers take one parameter after the other",
    "utils._python_dispatch": "no operation looks for __torch_dispatch__",
}
