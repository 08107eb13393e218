"""Which module of this library has the names of a module of PyTorch, and what PyTorch calls otherwise.

A module `torch.p` has, in this order, the names of `OTHERS`, of the file that `FILES` names, of the
module of this library that `HOMES` names, and of `ranvier.p`.
"""

from __future__ import annotations

import ranvier.torch.unused as unused

# a module of PyTorch: a file of this satellite
FILES = {
    "__config__": "ranvier.torch.machine",
    "_custom_ops": "ranvier.torch.operators",
    "_dynamo": "ranvier.torch.compiler",
    "_ops": "ranvier.torch.operators",
    "_utils": "ranvier.torch.files.plain",
    "autograd.forward_ad": "ranvier.torch.graph",
    "autograd.graph": "ranvier.torch.graph",
    "autograd.profiler": "ranvier.torch.profiler",
    "compiler": "ranvier.torch.compiler",
    "cpu": "ranvier.torch.machine",
    "_vmap_internals": "ranvier.torch.inner",
    "autograd.functional": "ranvier.torch.inner",
    "cuda.amp.common": "ranvier.torch.machine",
    "cuda.nvtx": "ranvier.torch.profiler",
    "distributed": "ranvier.torch.processes",
    "distributed.constants": "ranvier.torch.processes",
    "distributed.distributed_c10d": "ranvier.torch.processes",
    "distributions": "ranvier.distributions.left_out",
    "futures": "ranvier.torch.futures",
    "jit.annotations": "typing",
    "library": "ranvier.torch.operators",
    "nn._reduction": "ranvier.torch.groups",
    "nn.common_types": "ranvier.torch.types",
    "nn.grad": "ranvier.torch.inner",
    "optim.lbfgs": "ranvier.torch.inner",
    "optim.lr_scheduler": "ranvier.torch.schedules",
    "profiler": "ranvier.torch.profiler",
    "quasirandom": "ranvier.torch.quasirandom",
    "storage": "ranvier.torch.files.plain",
    "testing": "ranvier.torch.testing",
    "torch_version": "ranvier.torch.version",
    "types": "ranvier.torch.types",
    "utils._foreach_utils": "ranvier.torch.groups",
    "utils._pytree": "ranvier.torch.pytree",
    "utils.flop_counter": "ranvier.torch.flops",
    "utils.hooks": "ranvier.torch.hooks",
    "version": "ranvier.torch.version",
}

_LEFT_OUT = """
    chi2 continuous_bernoulli exp_family fishersnedecor generalized_pareto inverse_gamma kumaraswamy
    logistic_normal lowrank_multivariate_normal pareto von_mises weibull wishart
"""
FILES |= {f"distributions.{name}": "ranvier.distributions.left_out" for name in _LEFT_OUT.split()}

# a module of PyTorch: the module of this library that has its names
HOMES = {
    "_tensor": "",
    "cpu.amp": "amp",
    "cuda.random": "cuda",
    "distributed.distributed_c10d": "distributed",
    "functional": "",
    "nn.modules.module": "nn.module",
    "nn.modules.rnn": "nn.modules.rnn",
    "nn.utils.clip_grad": "nn.utils",
    "nn.utils.convert_parameters": "nn.utils",
    "nn.utils.stateless": "func",
    "optim.adadelta": "optim",
    "optim.adagrad": "optim",
    "optim.adamax": "optim",
    "optim.adamw": "optim",
    "optim.asgd": "optim",
    "optim.nadam": "optim",
    "optim.radam": "optim",
    "optim.rmsprop": "optim",
    "optim.rprop": "optim",
    "optim.sparse_adam": "optim",
    "special": "",
    "tensor": "",
    "torchvision.datasets.cifar": "datasets",
    "torchvision.datasets.mnist": "datasets",
    "torchvision.datasets.vision": "datasets.folder",
    "torchvision.transforms.transforms": "transforms",
    "utils.data._utils": "data.collate",
    "utils.data._utils.collate": "data.collate",
    "utils.data._utils.worker": "data.workers",
    "utils.tensorboard.summary": "pytorch_names.event_files",
    "utils.tensorboard.writer": "pytorch_names.tensorboard",
    "xpu": "cuda",
    "xpu.amp": "amp",
} | unused.HOMES

# a name of PyTorch: where it is in this library
OTHERS = {
    "DeviceObjType": "ranvier.device",
    "Future": "ranvier.torch.futures.Future",
    "bartlett_window": "ranvier.torch.windows.bartlett_window",
    "blackman_window": "ranvier.torch.windows.blackman_window",
    "hamming_window": "ranvier.torch.windows.hamming_window",
    "hann_window": "ranvier.torch.windows.hann_window",
    "kaiser_window": "ranvier.torch.windows.kaiser_window",
    "TypedStorage": "ranvier.autograd.storage.TypedStorage",
    "UntypedStorage": "ranvier.autograd.storage.UntypedStorage",
    "_C.Future": "ranvier.torch.futures.Future",
    "_C.DispatchKey": "ranvier.torch.operators.DispatchKey",
    "_C.DispatchKeySet": "ranvier.torch.operators.DispatchKeySet",
    "_C._AutoDispatchBelowADInplaceOrView": "ranvier.torch.operators.exclude",
    "_C._AutoDispatchBelowAutograd": "ranvier.torch.operators.exclude",
    "_C._ExcludeDispatchKeyGuard": "ranvier.torch.operators.exclude",
    "_C._LinAlgError": "ranvier.linalg.LinAlgError",
    "_C._nn._parse_to": "ranvier.torch.conversion.parse_to",
    "__version__": "ranvier.torch.version.__version__",
    "_assert": "ranvier.torch.machine.require",
    "_check": "ranvier.torch.machine.check",
    "_convert_indices_from_coo_to_csr": "ranvier.torch.former.row_starts",
    "_segment_reduce": "ranvier.torch.former.segment_reduce",
    "_shape_as_tensor": "ranvier.torch.machine.shape_as_tensor",
    "segment_reduce": "ranvier.torch.former.segment_reduce",
    "_standard_gamma": "ranvier.distributions.gamma.standard_gamma",
    "autograd.function.FunctionCtx": "ranvier.autograd.context.Context",
    "conj": "ranvier.autograd.check.conj",
    "conj_physical": "ranvier.autograd.check.conj",
    "compile": "ranvier.compile.api.compile",
    "cpu.autocast": "ranvier.autocast",
    "cuda.amp.common.amp_definitely_not_available": "ranvier.torch.machine.is_available",
    "distributions.multivariate_normal._precision_to_scale_tril": "ranvier.torch.former.scale_tril",
    "distributions.transforms._clipped_sigmoid": "ranvier.torch.former.clipped_sigmoid",
    "empty": "ranvier.torch.buffers.empty",
    "frombuffer": "ranvier.torch.buffers.frombuffer",
    "func.stack_module_state": "ranvier.func.stacks.state_of",
    "get_autocast_dtype": "ranvier.torch.machine.autocast_dtype",
    "get_num_interop_threads": "ranvier.torch.machine.device_count",
    "hub.HASH_REGEX": "ranvier.torch.machine.HASH",
    "hub._get_torch_home": "ranvier.torch.machine.home",
    "hub.tqdm": "ranvier.torch.machine.tqdm",
    "hub.urlparse": "urllib.parse.urlparse",
    "is_conj": "ranvier.is_complex",
    "is_inference": "ranvier.torch.buffers.is_inference",
    "is_neg": "ranvier.is_complex",
    "jit.Final": "typing.Final",
    "jit.TracerWarning": "ranvier.torch.compiler.TracerWarning",
    "jit._script_if_tracing": "ranvier.jit.script",
    "jit.annotations.BroadcastingList2": "typing.List",
    "jit.annotations.BroadcastingList3": "typing.List",
    "layout": "builtins.str",
    "memory_format": "builtins.str",
    "linalg.eig": "ranvier.torch.former.eig",
    "linalg.eigvals": "ranvier.torch.former.eigvals",
    "nn.RNNBase": "ranvier.nn.recurrent.RNNBase",
    "nn.UninitializedParameter": "ranvier.nn.parameter.UninitializedParameter",
    "nn.RNNCellBase": "ranvier.nn.recurrent_cell.RNNCellBase",
    "nn._reduction.legacy_get_string": "ranvier.torch.groups.reduction",
    "nn.init._calculate_correct_fan": "ranvier.nn.init.fan",
    "nn.init._calculate_fan_in_and_fan_out": "ranvier.nn.init.fans",
    "nn.init._no_grad_fill_": "ranvier.nn.init.constant_",
    "nn.init._no_grad_normal_": "ranvier.nn.init.normal_",
    "nn.init._no_grad_trunc_normal_": "ranvier.nn.init.trunc_normal_",
    "nn.init._no_grad_uniform_": "ranvier.nn.init.uniform_",
    "nn.init._no_grad_zero_": "ranvier.nn.init.zeros_",
    "nn.modules.RNNBase": "ranvier.nn.recurrent.RNNBase",
    "nn.modules.instancenorm._InstanceNorm": "ranvier.nn.norm._InstanceNorm",
    "nn.modules.lazy.LazyModuleMixin": "ranvier.nn.lazy._Lazy",
    "nn.modules.linear.NonDynamicallyQuantizableLinear": "ranvier.nn.Linear",
    "nn.modules.module._IncompatibleKeys": "ranvier.nn.state.LoadResult",
    "nn.modules.rnn.RNNBase": "ranvier.nn.recurrent.RNNBase",
    "nn.modules.rnn.RNNCellBase": "ranvier.nn.recurrent_cell.RNNCellBase",
    "nn.utils.stateless._reparametrize_module": "ranvier.func.call.reparametrized",
    "onnx.operators.shape_as_tensor": "ranvier.torch.machine.shape_as_tensor",
    "onnx.register_custom_op_symbolic": "ranvier.torch.machine.log_usage",
    "onnx.symbolic_helper.parse_args": "ranvier.torch.machine.decorator",
    "ops": "ranvier.torch.operators.ops",
    "optim.SparseAdam": "ranvier.torch.sparse_adam.SparseAdam",
    "optim.sparse_adam.SparseAdam": "ranvier.torch.sparse_adam.SparseAdam",
    "optim.lr_scheduler._LRScheduler": "ranvier.optim.lr_scheduler.LRScheduler",
    "optim.optimizer.ParamsT": "typing.Any",
    "optim.optimizer.StateDict": "builtins.dict",
    "overrides.is_tensor_like": "ranvier.is_tensor",
    "real": "ranvier.autograd.check.conj",
    "resolve_conj": "ranvier.autograd.check.conj",
    "resolve_neg": "ranvier.autograd.check.conj",
    "save": "ranvier.torch.files.save",
    "serialization.DEFAULT_PROTOCOL": "pickle.DEFAULT_PROTOCOL",
    "serialization.MAP_LOCATION": "typing.Any",
    "serialization.save": "ranvier.torch.files.save",
    "special.erfcx": "ranvier.torch.special.erfcx",
    "special.expit": "ranvier.sigmoid",
    "special.gammaln": "ranvier.lgamma",
    "special.psi": "ranvier.digamma",
    "storage.TypedStorage": "ranvier.autograd.storage.TypedStorage",
    "storage.UntypedStorage": "ranvier.autograd.storage.UntypedStorage",
    "svd": "ranvier.torch.former.svd",
    "utils._foreach_utils._group_tensors_by_device_and_dtype": "ranvier.torch.groups.by_dtype",
    "utils._pytree._dict_flatten_with_keys": "ranvier.torch.pytree.flatten_dict",
    "utils._pytree._namedtuple_flatten": "ranvier.torch.pytree.flatten_named",
    "utils._pytree._namedtuple_unflatten": "ranvier.torch.pytree.unflatten_named",
    "utils.checkpoint.get_device_states": "ranvier.torch.machine.device_states",
    "utils.data._utils.collate.np_str_obj_array_pattern": "ranvier.torch.groups.TEXTS",
    "utils.data._utils.worker._generate_state": "ranvier.data.workers._generate_state",
    "utils.data.dataloader._BaseDataLoaderIter": "ranvier.data.loader._BaseDataLoaderIter",
    "utils.data.dataloader._DatasetKind": "ranvier.data.loader._DatasetKind",
    "utils.data.dataloader._MultiProcessingDataLoaderIter": "ranvier.data.loader._BaseDataLoaderIter",
    "utils.data.dataloader._SingleProcessDataLoaderIter": "ranvier.data.loader._BaseDataLoaderIter",
    "utils.data.dataloader._collate_fn_t": "typing.Any",
    "utils.model_zoo.tqdm": "ranvier.torch.machine.tqdm",
    "utils.tensorboard.summary.hparams": "ranvier.pytorch_names.event_files.settings",
} | unused.OTHERS

# methods of Tensor that are functions of PyTorch, too, as are all whose names end with _
FUNCTIONS = frozenset({"adjoint", "detach", "get_device", "is_same_size", "is_signed"})

# modules whose `__dict__` libraries go through: it has all names at once
_WHOLE = """
    torch.distributions torch.nn.init torch.optim torch.optim.lr_scheduler torchvision.datasets
    torchvision.models torchvision.transforms
"""
WHOLE = dict.fromkeys(_WHOLE.split(), "") | {"torch.nn.modules.activation": "ranvier.nn.activation"}

# functions that objects of other libraries take over by `__torch_function__`, and that take any `out=`
_FOREIGN = """
    abs add addcmul bmm cat clamp clip clone cos cumsum diagonal div eq exp eye gather
    index_select inverse isclose lerp linalg.cholesky linalg.cholesky_ex linalg.eigh linalg.eigvalsh
    linalg.inv linalg.norm linalg.solve linalg.solve_triangular linalg.svd linalg.vector_norm log logdet
    logsumexp lt matmul max maximum min minimum mm mul mv nan_to_num ne nn.functional.normalize
    norm numel permute pow prod reciprocal round rsqrt sign sin sort sqrt squeeze stack sub sum
    topk transpose unsqueeze
"""
FOREIGN = frozenset(_FOREIGN.split())

# methods of Tensor that may not be here: an access names this library
LACKING = """
    addbmm addbmm_ addmv addmv_ addr addr_ adjoint angle as_strided_ as_strided_scatter as_subclass
    bfloat16 cdouble cfloat chalf coalesce conj_physical_ const_data_ptr dense_dim dequantize diagflat
    diagonal_scatter dim_order dsplit eig eq_ float_power float_power_ frexp gcd gcd_ ge_ geqrf gt_
    hardshrink heaviside_ hsplit i0 i0_ igamma igamma_ igammac igammac_ imag index_reduce index_reduce_
    indices int_repr is_coalesced is_mkldnn is_neg is_nonzero is_set_to isreal istft lcm lcm_ le_
    logaddexp2 lt_ map2_ msort narrow_copy ne_ new_empty_strided nonzero_static orgqr ormqr polygamma
    polygamma_ prelu q_scale q_zero_point qscheme record_stream resize resize_as select_scatter
    share_memory_ slice_inverse slice_scatter smm sparse_dim sparse_mask split_with_sizes sspaddmm stft
    storage_type sum_to_size svd swapdims_ to_mkldnn to_padded_tensor to_sparse to_sparse_bsc
    to_sparse_bsr to_sparse_coo to_sparse_csc to_sparse_csr unsafe_chunk unsafe_split
    unsafe_split_with_sizes vdot vsplit xpu
"""

# what stays out, and why, with all names below it
FLAT = "images have two dimensions"
_REAL = "there are no complex numbers"
_DENSE = "all tensors are dense"
_GPU = "there is no GPU"
_GRAPHS = "there are no graphs of modules"
_DATA = "ImageFolder reads folders of images"
OUT = {
    "PyTorchFileReader": "torch.load reads files",
    "ScriptFunction": "there is no TorchScript",
    "ScriptModule": "there is no TorchScript",
    "SymBool": _GRAPHS,
    "SymFloat": _GRAPHS,
    "SymInt": _GRAPHS,
    "_C": "there is no C++ of PyTorch",
    "_dynamo": "rv.compile captures steps without it",
    "_inductor": "rv.compile captures steps without it",
    "_subclasses": "no operation looks for __torch_dispatch__",
    "_tensor_str": "rv.set_printoptions sets how tensors are shown",
    "ao": "ranvier.export predicts in int8",
    "autograd.profiler": "cProfile measures the Python code",
    "backends.quantized": "ranvier.export predicts in int8",
    "classes": "operators are those of torch",
    "complex": _REAL,
    "conv3d": FLAT,
    "conv_transpose3d": FLAT,
    "cuda.CUDAGraph": _GPU,
    "cuda.CUDAPluggableAllocator": _GPU,
    "cuda.ExternalStream": _GPU,
    "cuda.MemPool": _GPU,
    "cuda.StreamContext": _GPU,
    "cuda.graph": _GPU,
    "cuda.graphs": _GPU,
    "distributed.algorithms": "all ranks make as many steps",
    "distributed.elastic": "mpirun starts the processes",
    "distributed.nn": "torch.distributed's calls have no gradients",
    "distributed.rpc": "processes exchange tensors with torch.distributed only",
    "export": "there are no graphs of modules; see ranvier.export and ranvier.onnx",
    "fft": _REAL,
    "fx": _GRAPHS,
    "hub.download_url_to_file": "nothing is downloaded here",
    "hub.get_dir": "nothing is downloaded here",
    "istft": _REAL,
    "jit.RecursiveScriptModule": "there is no TorchScript",
    "jit.ScriptFunction": "there is no TorchScript",
    "jit.ScriptModule": "there is no TorchScript",
    "jit.TracingCheckError": "torch.jit.trace stays out",
    "jit._get_trace_graph": "torch.jit.trace stays out",
    "jit.freeze": "torch.jit.script gives the module itself",
    "library.opcheck": "autograd.gradcheck tests gradients",
    "library.wrap_triton": "there is no GPU",
    "nested": _DENSE,
    "nn.attention.flex_attention": "masks are tensors: nn.functional.scaled_dot_product_attention",
    "nn.parallel.scatter_gather.scatter": "there is one device",
    "nn.parameter.UninitializedBuffer": "Module.register_buffer makes a buffer",
    "nn.parameter.UninitializedTensorMixin": "Module.register_buffer makes a buffer",
    "nn.quantized": "ranvier.export predicts in int8",
    "nn.utils._per_sample_grad": "func.vmap of func.grad gives the gradients of samples",
    "nn.utils.fusion": "ranvier.export joins layers",
    "nn.utils.parametrizations.orthogonal": "nn.init.orthogonal_ sets weights; none is kept orthogonal",
    "nn.utils.prune": "weights are not pruned",
    "onnx.TensorProtoDataType": "ranvier.onnx writes files",
    "onnx.symbolic_helper": "ranvier.onnx writes files",
    "onnx.symbolic_opset11": "ranvier.onnx writes files",
    "overrides": "no operation looks for __torch_function__",
    "package": "ranvier.save writes models",
    "polar": _REAL,
    "profiler": "cProfile measures the Python code",
    "quantization": "ranvier.export predicts in int8",
    "sparse": "all tensors are dense",
    "sparse_bsc": _DENSE,
    "sparse_bsc_tensor": _DENSE,
    "sparse_bsr": _DENSE,
    "sparse_bsr_tensor": _DENSE,
    "sparse_compressed_tensor": _DENSE,
    "sparse_coo": _DENSE,
    "sparse_coo_tensor": _DENSE,
    "sparse_csc": _DENSE,
    "sparse_csc_tensor": _DENSE,
    "sparse_csr": _DENSE,
    "sparse_csr_tensor": _DENSE,
    "stft": _REAL,
    "svd_lowrank": "torch.linalg.svd has all singular values",
    "to_sparse": "all tensors are dense",
    "torchvision.datasets.INaturalist": _DATA,
    "torchvision.datasets.ImageNet": _DATA,
    "torchvision.datasets.KMNIST": _DATA,
    "torchvision.datasets.Places365": _DATA,
    "torchvision.datasets.QMNIST": _DATA,
    "torchvision.io": "PIL and datasets read images; see torchvision.transforms",
    "torchvision.models.detection": "models give classes of images",
    "torchvision.models.feature_extraction": _GRAPHS,
    "torchvision.ops": "there are no boxes in images",
    "torchvision.transforms.v2": "transforms are torchvision.transforms's",
    "torchvision.tv_tensors": "images are tensors",
    "utils._python_dispatch": "no operation looks for __torch_dispatch__",
    "utils.benchmark": "Python's timeit measures",
    "utils.cpp_extension": "there is no C++ of PyTorch",
    "utils.data.datapipes": "data sets are torch.utils.data's",
    "view_as_complex": _REAL,
    "view_as_real": _REAL,
} | unused.OUT
