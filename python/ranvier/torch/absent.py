"""Names that stay out: libraries import them, and what they are used for is refused by name."""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from ranvier.torch.names import table

LACKS = "ranvier, which is in place of PyTorch, lacks it; docs/pytorch_names.md lists its names"
_FLAT = "images have two dimensions"

# why a name stays out, with all names below it
OUT = table(f"""
    ImageFolder reads folders of images |
        torchvision.datasets.{{INaturalist ImageNet KMNIST Places365 QMNIST}}
    Module.register_buffer makes a buffer | nn.UninitializedBuffer
        nn.parameter.{{UninitializedBuffer UninitializedTensorMixin}}
    PIL and datasets read images; see torchvision.transforms | torchvision.io
    Python's timeit measures | utils.benchmark
    all ranks make as many steps | distributed.algorithms
    all tensors are dense | nested sparse sparse_bsc sparse_bsc_tensor sparse_bsr sparse_bsr_tensor
        sparse_compressed_tensor sparse_coo sparse_csc sparse_csc_tensor sparse_csr sparse_csr_tensor
    distributed.new_group makes a group | distributed.distributed_c10d.{{GroupName _get_global_rank
        _new_process_group_helper _resolve_process_group _world rendezvous}}
    autograd.gradcheck tests gradients | library.opcheck
    cProfile measures the Python code | autograd.profiler autograd.profiler_util profiler
    all operations are computed again | utils.checkpoint.{{CheckpointFunction SAC_IGNORED_OPS
        SelectiveCheckpointContext _CachedTorchDispatchMode _CachingTorchDispatchMode _ignored_ops}}
    data sets are torch.utils.data's | utils.data.{{DFIterDataPipe DataChunk IterDataPipe MapDataPipe
        datapipes functional_datapipe graph graph_settings}}
    the loader's workers are its own | utils.data._utils.{{pin_memory signal_handling}}
        utils.data._utils.worker.{{ManagerWatchdog _IterableDatasetStopIteration _ResumeIteration}}
        utils.data.dataloader.{{_InfiniteConstantSampler _sharding_worker_init_fn}}
    it is PyTorch's own test suite | testing.FileCheck testing._internal.{{common_distributed common_fsdp
        common_pruning common_quantization composite_compliance distributed inductor_utils optests}}
    numbers have 16 bits or more | nn.attention.experimental nn.functional.{{ScalingType SwizzleType
        scaled_grouped_mm scaled_mm}}
    each process has the whole model | distributed.{{DeviceMesh FileStore _composable _composable_state
        _functional_collectives _local_tensor _mesh_layout _ops _shard _sharded_tensor _state_dict_utils
        _symmetric_memory _tensor _tools autograd checkpoint debug device_mesh fsdp init_device_mesh launch
        launcher optim pipelining run tensor}}
    func.vmap of func.grad gives the gradients of samples | nn.utils._per_sample_grad
    images are tensors | torchvision.tv_tensors
    {_FLAT} | conv_transpose3d
    it is inside PyTorch | _awaits _classes _custom_op _custom_ops _decomp _dispatch _environment _export
        _functorch _guards _higher_order_ops _lazy _library _logging _meta_registrations _native _numpy
        _opaque_base _ops _prims _prims_common _python_dispatcher _refs _sources _streambase _strobelight
        _utils_internal _weights_only_unpickler backends.{{_coreml _nnapi python_native xeon}}
        compiler.{{_cache config}} cuda.{{_memory_viz _sanitizer gds green_contexts jiterator nccl profiler
        tunable}} jit.{{frontend mobile}} masked monitor mtia
        _utils._get_device_module _vendor multiprocessing.reductions nn.utils._named_member_accessor
        onnx.{{_internal ops symbolic_helper symbolic_opset9 symbolic_opset12}}
        serialization.normalize_storage_type signal
        utils.flop_counter.{{_unpack_flash_attention_nested_shapes register_flop_formula}}
        utils.{{_device _ordered_set _cxx_pytree _sympy _triton backend_registration bundled_inputs
        mobile_optimizer model_dump viz}}
    masks are tensors: nn.functional.scaled_dot_product_attention | nn.attention.flex_attention
    models give classes of images | torchvision.models.detection
    mpirun starts the processes | distributed.elastic
    nodes keep NumPy arrays, which no hook replaces; torch.utils.checkpoint keeps less |
        autograd.graph.{{allow_mutation_on_saved_tensors saved_tensors_hooks}}
    nn.init.orthogonal_ sets weights; none is kept orthogonal | nn.utils.parametrizations.orthogonal
    no operation looks for __torch_dispatch__ | _subclasses utils._python_dispatch
    nothing is downloaded here | hub.download_url_to_file
    operators are functions of torch | ops.aten
    operators are those of torch | classes
    processes exchange tensors with torch.distributed only | distributed.rpc
    ranvier has no such part | jagged nn.CrossMapLRN2d nn.grad.{{conv3d_input conv3d_weight}}
        nn.modules.CrossMapLRN2d return_types
    ranvier.export joins layers | nn.utils.fusion
    ranvier.export predicts in int8 | ao backends.quantized nn.quantized quantization
    ranvier.onnx writes files | onnx.{{TensorProtoDataType symbolic_opset11}}
    ranvier.save writes models | package
    rv.compile captures steps without it | _dynamo _inductor
    there are no boxes in images | torchvision.ops
    there are no dual tensors; torch.func.jvp computes J v |
        autograd.forward_ad.{{dual_level enter_dual_level exit_dual_level make_dual}}
    there are no graphs of modules | SymBool SymFloat SymInt fx.{{_compatibility _pytree annotate config
        experimental immutable_collections operator_schemas passes subgraph_rewriter tensor_type traceback
        Transformer CodeGen ProxyableClassMeta replace_pattern}} torchvision.models.feature_extraction
    there are no graphs of modules; see ranvier.export and ranvier.onnx | export
    there is no C++ of PyTorch | _C utils.cpp_extension
    there is no GPU | library.wrap_triton cuda.{{CUDAGraph CUDAPluggableAllocator ExternalStream MemPool
        StreamContext graph graphs}}
    there is no TorchScript | AliasDb AnyType Argument Block BoolType CallStack ClassType Code CompilationUnit
        ComplexType ConcreteModuleType DeepCopyMemoTable DictType EnumType FloatType FunctionSchema FutureType
        Graph InferredType IntType InterfaceType JITException ListType Node NoneType NumberType OptionalType
        PyObjectType RRefType ScriptClass ScriptDict ScriptFunction ScriptList ScriptMethod ScriptModule
        ScriptObject StringType SymBoolType SymIntType TensorType TracingState TupleType UnionType Value
        import_ir_module jit.{{CompilationUnit ONNXTracedModule RecursiveScriptClass ScriptFunction
        ScriptWarning TopLevelTracedModule TracedModule trace_module}} parse_ir parse_schema
    there is one device | nn.parallel.scatter_gather.scatter
    this library computes on the CPU, in numbers that are not quantized | accelerator.{{Graph
        current_device_idx current_device_index device_index get_memory_info memory_stats
        reset_accumulated_memory_stats set_device_idx set_stream}} backends.cuda.SDPAParams
        cuda.{{DeferredCudaCallError GreenContext caching_allocator_alloc caching_allocator_delete cudart
        default_generators default_stream device_of get_allocator_backend get_arch_list get_gencode_flags
        graph_pool_handle init ipc_collect list_gpu_processes make_graphed_callables max_memory_cached
        mem_get_info memory_cached memory_snapshot memory_stats memory_usage set_stream set_sync_debug_mode
        temperature use_mem_pool utilization}} mps.{{compile_shader current_allocated_memory
        driver_allocated_memory recommended_max_memory set_per_process_memory_fraction}} numa
        per_channel_affine per_channel_affine_float_qparams per_channel_symmetric per_tensor_affine
        per_tensor_symmetric qscheme
    torch.distributed's calls have no gradients | distributed.nn
    torch.jit.script gives the module itself | jit.freeze
    torch.jit.trace stays out | jit.{{TracingCheckError _get_trace_graph}}
    torch.load reads files | PyTorchFileReader
    transforms are torchvision.transforms's | torchvision.transforms.v2
""")

# a guard, whose answer is a bool: False here
_GUARD = re.compile(r"(_|\w+_)?(is|are|has|can|should|supports?)_|\w+_(enabled|available|supported)$")
_RAISED = re.compile(r"\w*(Error|Exception|Warning|Unsupported)$")


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
        return not _GUARD.match(cls.__name__)

    def __call__(cls, *args: Any, **settings: Any) -> Any:
        if not cls:
            return False
        own = "; `pip install --no-deps torchvision` brings it" * cls._path.startswith("torchvision.")
        raise NotImplementedError(f"[{_full(cls._path)}] ranvier leaves it out: {why(cls._path)}{own}")

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
    bases = (Exception,) if _RAISED.match(name) else ()
    return _Absent(name, bases, {"_path": path, "__module__": module})


class Lacking:
    """A method of PyTorch's Tensor that is not here, which says so; `hasattr` is False."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, tensor: Any, owner: Any) -> Any:
        text = f"'Tensor' object has no attribute {self._name!r}: {LACKS}"
        raise AttributeError(text, name=self._name, obj=tensor)
