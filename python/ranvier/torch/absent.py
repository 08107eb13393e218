"""Names that stay out: libraries import them, and what they are used for is refused by name."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from ranvier.torch.names import by_path

LACKS = "ranvier, which is in place of PyTorch, lacks it; docs/pytorch_names.md lists its names"
_FLAT = "images have two dimensions"

# why a name stays out, with all names below it
OUT = by_path(
    {
        "ImageFolder reads folders of images": """
        torchvision.datasets.INaturalist torchvision.datasets.ImageNet torchvision.datasets.KMNIST
        torchvision.datasets.Places365 torchvision.datasets.QMNIST
    """,
        "Module.register_buffer makes a buffer": """
        nn.UninitializedBuffer nn.parameter.UninitializedBuffer nn.parameter.UninitializedTensorMixin
    """,
        "PIL and datasets read images; see torchvision.transforms": "torchvision.io",
        "Python's timeit measures": "utils.benchmark",
        "all operations are computed again": """
        utils.checkpoint.CheckpointFunction utils.checkpoint.SAC_IGNORED_OPS
        utils.checkpoint.SelectiveCheckpointContext utils.checkpoint._CachedTorchDispatchMode
        utils.checkpoint._CachingTorchDispatchMode utils.checkpoint._ignored_ops
    """,
        "all ranks make as many steps": "distributed.algorithms",
        "all tensors are dense": """
        nested sparse sparse_bsc sparse_bsc_tensor sparse_bsr sparse_bsr_tensor sparse_compressed_tensor
        sparse_coo sparse_csc sparse_csc_tensor sparse_csr sparse_csr_tensor
    """,
        "autograd.gradcheck tests gradients": "library.opcheck",
        "cProfile measures the Python code": "autograd.profiler autograd.profiler_util profiler",
        "data sets are torch.utils.data's": """
        utils.data.DFIterDataPipe utils.data.DataChunk utils.data.IterDataPipe utils.data.MapDataPipe
        utils.data.datapipes utils.data.functional_datapipe utils.data.graph utils.data.graph_settings
    """,
        "distributed.new_group makes a group": """
        distributed.distributed_c10d.GroupName distributed.distributed_c10d._get_global_rank
        distributed.distributed_c10d._new_process_group_helper
        distributed.distributed_c10d._resolve_process_group distributed.distributed_c10d._world
        distributed.distributed_c10d.rendezvous
    """,
        "each process has the whole model": """
        distributed.DeviceMesh distributed.FileStore distributed._composable distributed._composable_state
        distributed._functional_collectives distributed._local_tensor distributed._mesh_layout
        distributed._ops distributed._shard distributed._sharded_tensor distributed._state_dict_utils
        distributed._symmetric_memory distributed._tensor distributed._tools distributed.autograd
        distributed.checkpoint distributed.debug distributed.device_mesh distributed.fsdp
        distributed.init_device_mesh distributed.launch distributed.launcher distributed.optim
        distributed.pipelining distributed.run distributed.tensor
    """,
        "func.vmap of func.grad gives the gradients of samples": "nn.utils._per_sample_grad",
        "images are tensors": "torchvision.tv_tensors",
        "images have two dimensions": "conv_transpose3d",
        "it is PyTorch's own test suite": """
        testing.FileCheck testing._internal.common_distributed testing._internal.common_fsdp
        testing._internal.common_pruning testing._internal.common_quantization
        testing._internal.composite_compliance testing._internal.distributed testing._internal.inductor_utils
        testing._internal.optests
    """,
        "it is inside PyTorch": """
        _awaits _classes _custom_op _custom_ops _decomp _dispatch _environment _export _functorch _guards
        _higher_order_ops _lazy _library _logging _meta_registrations _native _numpy _opaque_base _ops _prims
        _prims_common _python_dispatcher _refs _sources _streambase _strobelight _utils._get_device_module
        _utils_internal _vendor _weights_only_unpickler backends._coreml backends._nnapi
        backends.python_native backends.xeon compiler._cache compiler.config cuda._memory_viz cuda._sanitizer
        cuda.gds cuda.green_contexts cuda.jiterator cuda.nccl cuda.profiler cuda.tunable jit.frontend
        jit.mobile masked monitor mtia multiprocessing.reductions nn.utils._named_member_accessor
        onnx._internal onnx.ops onnx.symbolic_helper onnx.symbolic_opset12 onnx.symbolic_opset9
        serialization.normalize_storage_type signal utils._cxx_pytree utils._device utils._ordered_set
        utils._sympy utils._triton utils.backend_registration utils.bundled_inputs
        utils.flop_counter._unpack_flash_attention_nested_shapes utils.flop_counter.register_flop_formula
        utils.mobile_optimizer utils.model_dump utils.viz
    """,
        "masks are tensors: nn.functional.scaled_dot_product_attention": "nn.attention.flex_attention",
        "models give classes of images": "torchvision.models.detection",
        "mpirun starts the processes": "distributed.elastic",
        "nn.init.orthogonal_ sets weights; none is kept orthogonal": "nn.utils.parametrizations.orthogonal",
        "no operation looks for __torch_dispatch__": "_subclasses utils._python_dispatch",
        "nodes keep NumPy arrays, which no hook replaces; torch.utils.checkpoint keeps less": """
        autograd.graph.allow_mutation_on_saved_tensors autograd.graph.saved_tensors_hooks
    """,
        "nothing is downloaded here": "hub.download_url_to_file",
        "numbers have 16 bits or more": """
        nn.attention.experimental nn.functional.ScalingType nn.functional.SwizzleType
        nn.functional.scaled_grouped_mm nn.functional.scaled_mm
    """,
        "operators are functions of torch": "ops.aten",
        "operators are those of torch": "classes",
        "processes exchange tensors with torch.distributed only": "distributed.rpc",
        "ranvier has no such part": """
        jagged nn.grad.conv3d_input nn.grad.conv3d_weight nn.modules.CrossMapLRN2d
        return_types
    """,
        "ranvier.export joins layers": "nn.utils.fusion",
        "ranvier.export predicts in int8": "ao backends.quantized nn.quantized quantization",
        "ranvier.onnx writes files": "onnx.TensorProtoDataType onnx.symbolic_opset11",
        "ranvier.save writes models": "package",
        "rv.compile captures steps without it": "_dynamo _inductor",
        "the loader's workers are its own": """
        utils.data._utils.pin_memory utils.data._utils.signal_handling
        utils.data._utils.worker.ManagerWatchdog utils.data._utils.worker._IterableDatasetStopIteration
        utils.data._utils.worker._ResumeIteration utils.data.dataloader._InfiniteConstantSampler
        utils.data.dataloader._sharding_worker_init_fn
    """,
        "there are no boxes in images": "torchvision.ops",
        "there are no dual tensors; torch.func.jvp computes J v": """
        autograd.forward_ad.dual_level autograd.forward_ad.enter_dual_level
        autograd.forward_ad.exit_dual_level autograd.forward_ad.make_dual
    """,
        "there are no graphs of modules": """
        SymBool SymFloat SymInt fx.CodeGen fx.ProxyableClassMeta fx.Transformer fx._compatibility fx._pytree
        fx.annotate fx.config fx.experimental fx.immutable_collections fx.operator_schemas fx.passes
        fx.replace_pattern fx.subgraph_rewriter fx.tensor_type fx.traceback
        torchvision.models.feature_extraction
    """,
        "there are no graphs of modules; see ranvier.export and ranvier.onnx": "export",
        "there is no C++ of PyTorch": "_C utils.cpp_extension",
        "there is no GPU": """
        cuda.CUDAGraph cuda.CUDAPluggableAllocator cuda.ExternalStream cuda.MemPool cuda.StreamContext
        cuda.graph cuda.graphs library.wrap_triton
    """,
        "there is no TorchScript": """
        AliasDb AnyType Argument Block BoolType CallStack ClassType Code CompilationUnit ComplexType
        ConcreteModuleType DeepCopyMemoTable DictType EnumType FloatType FunctionSchema FutureType Graph
        InferredType IntType InterfaceType JITException ListType Node NoneType NumberType OptionalType
        PyObjectType RRefType ScriptClass ScriptDict ScriptFunction ScriptList ScriptMethod ScriptModule
        ScriptObject StringType SymBoolType SymIntType TensorType TracingState TupleType UnionType Value
        import_ir_module jit.CompilationUnit jit.ONNXTracedModule jit.RecursiveScriptClass jit.ScriptFunction
        jit.ScriptWarning jit.TopLevelTracedModule jit.TracedModule jit.trace_module parse_ir parse_schema
    """,
        "there is one device": "nn.parallel.scatter_gather.scatter",
        "this library computes on the CPU, in numbers that are not quantized": """
        accelerator.Graph accelerator.current_device_idx accelerator.current_device_index
        accelerator.device_index accelerator.get_memory_info accelerator.memory_stats
        accelerator.reset_accumulated_memory_stats accelerator.set_device_idx accelerator.set_stream
        backends.cuda.SDPAParams cuda.DeferredCudaCallError cuda.GreenContext cuda.caching_allocator_alloc
        cuda.caching_allocator_delete cuda.cudart cuda.default_generators cuda.default_stream cuda.device_of
        cuda.get_allocator_backend cuda.get_arch_list cuda.get_gencode_flags cuda.graph_pool_handle cuda.init
        cuda.ipc_collect cuda.list_gpu_processes cuda.make_graphed_callables cuda.max_memory_cached
        cuda.mem_get_info cuda.memory_cached cuda.memory_snapshot cuda.memory_stats cuda.memory_usage
        cuda.set_stream cuda.set_sync_debug_mode cuda.temperature cuda.use_mem_pool cuda.utilization
        mps.compile_shader mps.current_allocated_memory mps.driver_allocated_memory mps.recommended_max_memory
        mps.set_per_process_memory_fraction numa per_channel_affine per_channel_affine_float_qparams
        per_channel_symmetric per_tensor_affine per_tensor_symmetric qscheme
    """,
        "torch.distributed's calls have no gradients": "distributed.nn",
        "torch.jit.trace stays out": "jit.TracingCheckError jit._get_trace_graph",
        "torch.load reads files": "PyTorchFileReader",
        "transforms are torchvision.transforms's": "torchvision.transforms.v2",
    }
)

# a guard, whose answer is a bool: False here
_GUARD = r"(_|\w+_)?(is|are|has|can|should|supports?)_|\w+_(enabled|available|supported)$"
_RAISED = r"\w*(Error|Exception|Warning|Unsupported)$"


def why(path: str) -> str:
    """The reason why a name stays out, or "" for a name that does not."""
    if path.startswith("nn.") and path.endswith("3d"):
        return _FLAT
    while path not in OUT and "." in path:
        path = path.rpartition(".")[0]
    return OUT.get(path, "")


def _full(path: str) -> str:
    return path if path.startswith("torchvision.") else f"torch.{path}"


class _Absent(type):
    """The class of such names: an annotation, a base class, a test with isinstance, which is False, as is a
    guard by its name (`is_...`); a call of another raises."""

    _path: str

    def __bool__(cls) -> bool:
        return not re.match(_GUARD, cls.__name__)

    def __call__(cls, *args: Any, **settings: Any) -> Any:
        if not cls:
            return False
        raise NotImplementedError(f"[{_full(cls._path)}] ranvier leaves it out: {why(cls._path)}")

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return absent(f"{cls._path}.{name}")

    def __getitem__(cls, key: Any) -> Any:
        return cls

    def __iter__(cls) -> Any:  # else Python asks for item 0, 1, 2 ... without end
        return iter(())


@cache  # libraries ask for a type at each call: isinstance(x, torch.SymInt)
def absent(path: str) -> Any:
    """The object in place of a name that stays out: it raises where it is used.

    >>> absent("fx.replace_pattern")(None)
    Traceback (most recent call last):
    NotImplementedError: [torch.fx.replace_pattern] ranvier leaves it out: there are no graphs of modules
    """
    module, _, name = _full(path).rpartition(".")
    bases = (Exception,) if re.match(_RAISED, name) else ()
    return _Absent(name, bases, {"_path": path, "__module__": module})


class Lacking:
    """A method of PyTorch's Tensor that is not here, which says so; `hasattr` is False."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, tensor: Any, owner: Any) -> Any:
        text = f"'Tensor' object has no attribute {self._name!r}: {LACKS}"
        raise AttributeError(text, name=self._name, obj=tensor)
