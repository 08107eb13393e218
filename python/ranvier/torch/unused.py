"""Names of PyTorch that libraries import or ask, and whose answer is always the same: tables for `names`."""

from __future__ import annotations

# modules that are imported only, with all below them: `import` gives names that refuse a call
_INNER = """
    _awaits _classes _custom_op _custom_ops _decomp _dispatch _environment _export _functorch _guards
    _higher_order_ops _lazy _library _logging _meta_registrations _native _numpy _opaque_base
    _ops _prims _prims_common _python_dispatcher _refs _sources _streambase _strobelight _utils_internal
    _weights_only_unpickler backends._coreml backends._nnapi backends.python_native backends.xeon
    compiler._cache compiler.config cuda._memory_viz cuda._sanitizer cuda.gds cuda.green_contexts
    cuda.jiterator cuda.nccl cuda.profiler cuda.tunable jit.frontend jit.mobile masked monitor mtia
    onnx._internal onnx.ops onnx.symbolic_helper onnx.symbolic_opset9 onnx.symbolic_opset12 signal
    utils._cxx_pytree utils._sympy utils._triton utils.backend_registration utils.bundled_inputs
    utils.mobile_optimizer utils.model_dump utils.viz
"""
_WHOLE_MODEL = "each process has the whole model"
OUT = dict.fromkeys(_INNER.split(), "it is inside PyTorch")
_DISTRIBUTED = """
    _composable _composable_state _functional_collectives _local_tensor _mesh_layout _ops _shard
    _sharded_tensor _state_dict_utils _symmetric_memory _tensor _tools autograd checkpoint debug device_mesh
    fsdp launch launcher optim pipelining run tensor
"""
OUT |= {f"distributed.{name}": _WHOLE_MODEL for name in _DISTRIBUTED.split()}
OUT |= dict.fromkeys(
    ("distributed.DeviceMesh", "distributed.init_device_mesh", "distributed.FileStore"), _WHOLE_MODEL
)
_SCRIPTS = """
    AliasDb AnyType Argument Block BoolType CallStack ClassType Code CompilationUnit ComplexType
    ConcreteModuleType DeepCopyMemoTable DictType EnumType FloatType FunctionSchema FutureType Graph
    InferredType IntType InterfaceType JITException ListType Node NoneType NumberType OptionalType
    PyObjectType RRefType ScriptClass ScriptDict ScriptList ScriptMethod ScriptObject StringType SymBoolType
    SymIntType TensorType TracingState TupleType UnionType Value import_ir_module
    jit.CompilationUnit jit.ONNXTracedModule jit.RecursiveScriptClass jit.ScriptWarning
    jit.TopLevelTracedModule jit.TracedModule jit.trace_module parse_ir parse_schema
"""
OUT |= dict.fromkeys(_SCRIPTS.split(), "there is no TorchScript")
_DEVICES = """
    Event Stream accelerator.Graph accelerator.current_device_idx accelerator.current_device_index
    accelerator.current_stream accelerator.device_index accelerator.empty_cache accelerator.get_memory_info
    accelerator.max_memory_allocated accelerator.max_memory_reserved accelerator.memory_allocated
    accelerator.memory_reserved accelerator.memory_stats accelerator.reset_accumulated_memory_stats
    accelerator.reset_peak_memory_stats accelerator.set_device_idx accelerator.set_stream
    backends.cuda.SDPAParams cuda.DeferredCudaCallError cuda.GreenContext cuda.caching_allocator_alloc
    cuda.caching_allocator_delete cuda.cudart cuda.default_generators cuda.default_stream cuda.device_of
    cuda.get_allocator_backend cuda.get_arch_list cuda.get_gencode_flags cuda.graph_pool_handle cuda.init
    cuda.ipc_collect cuda.list_gpu_processes cuda.make_graphed_callables cuda.max_memory_cached
    cuda.mem_get_info cuda.memory_cached cuda.memory_snapshot cuda.memory_stats cuda.memory_usage
    cuda.set_stream cuda.set_sync_debug_mode cuda.temperature cuda.use_mem_pool cuda.utilization mps.Event
    mps.compile_shader mps.current_allocated_memory mps.driver_allocated_memory mps.get_rng_state mps.seed
    mps.recommended_max_memory mps.set_per_process_memory_fraction mps.set_rng_state numa
    per_channel_affine per_channel_affine_float_qparams per_channel_symmetric per_tensor_affine
    per_tensor_symmetric qscheme
"""
OUT |= dict.fromkeys(_DEVICES.split(), "this library computes on the CPU, in numbers that are not quantized")
_OTHER = """
    jagged nn.CrossMapLRN2d nn.grad.conv3d_input nn.grad.conv3d_weight nn.modules.CrossMapLRN2d
    onnx.ONNXProgram onnx.OperatorExportTypes onnx.TrainingMode return_types
"""
OUT |= dict.fromkeys(_OTHER.split(), "ranvier has no such part")

# modules whose names are those of the module above them
_ABOVE = """
    amp.autocast_mode amp.grad_scaler autograd.anomaly_mode autograd.grad_mode autograd.gradcheck
    cpu.amp.autocast_mode cpu.amp.grad_scaler cuda.amp.autocast_mode cuda.amp.grad_scaler cuda.memory
    cuda.streams
"""
HOMES = {path: path.rpartition(".")[0].removeprefix("cpu.") for path in _ABOVE.split()}
HOMES["_jit_internal"] = "jit"

# functions that answer False
_NO = """
    _C._are_functorch_transforms_active _C._is_tracing _nnpack_available _utils.is_compiling
    amp.is_autocast_available autograd._profiler_enabled autograd._is_kineto_stopped
    autograd.kineto_available autograd.is_view_replay_enabled backends.cuda.can_use_cudnn_attention
    backends.cuda.can_use_efficient_attention backends.cuda.can_use_flash_attention
    backends.cuda.is_ck_sdpa_available backends.cuda.is_flash_attention_available
    backends.mps.is_macos13_or_newer backends.mps.is_macos_or_newer compiler._is_non_strict_tracing
    cpu._is_amx_fp16_supported cpu._is_amx_tile_supported cpu._is_avx2_supported
    cpu._is_avx512_bf16_supported cpu._is_avx512_supported cpu._is_vnni_supported
    cuda._check_bf16_tensor_supported cuda._is_compiled cuda._is_in_bad_fork cuda.can_device_access_peer
    cuda.is_current_stream_capturing cuda.is_tf32_supported cudnn_is_acceptable
    distributed._is_spmd_types_available distributed.is_xccl_available
    distributed.distributed_c10d.is_xccl_available distributed.rpc.is_available
    is_anomaly_check_nan_enabled is_autocast_cache_enabled is_autocast_cpu_enabled is_autocast_enabled
    is_autocast_ipu_enabled is_autocast_xla_enabled is_deterministic_algorithms_warn_only_enabled
    is_distributed is_vulkan_available is_warn_always_enabled jit.onednn_fusion_enabled
    mps._is_in_bad_fork nn.modules.activation._is_make_fx_tracing nn.parallel.replicate._is_jit_enabled
    nn.parallel.replicate._is_script_method nn.parallel.replicate._is_script_module onnx.is_in_onnx_export
    profiler.kineto_available serialization._is_torchscript_zip
    utils._foreach_utils._device_has_foreach_support utils._foreach_utils._has_foreach_support
    utils.checkpoint._is_compiling xpu._is_compiled xpu._is_in_bad_fork xpu.can_device_access_peer
    xpu.is_current_stream_capturing xpu.is_tf32_supported
"""
# decorators that give the function itself
_SAME = """
    _jit_internal._copy_to_script_wrapper _jit_internal._overload _jit_internal._overload_method
    _dynamo.forbid_in_graph _dynamo.nonstrict_trace distributed.rpc.api._require_initialized
    jit._overload jit._overload_method jit.interface jit.optimize_for_inference jit.freeze
    jit.script_if_tracing jit.annotations.ignore utils._config_module.install_config_module
"""
_OPTIONAL = "amp.custom_bwd amp.custom_fwd amp.autocast_mode.custom_bwd amp.autocast_mode.custom_fwd"
# decorators with settings: they give one that gives the function itself
_MARKS = """
    _decomp.register_decomposition _dynamo.substitute_in_graph fx._compatibility.compatibility
"""
# calls that do nothing
_NOTHING = """
    _C._get_tracing_state _C._jit_set_bailout_depth _C._jit_set_num_profiled_runs
    _C._jit_set_profiling_executor _C._jit_set_profiling_mode _C._jit_set_texpr_fuser_enabled
    _C._log_api_usage_once _C._log_api_usage_metadata _C._get_accelerator
    _dynamo.mark_dynamic _dynamo.mark_static _dynamo.mark_static_address _dynamo.mark_unbacked
    _dynamo.maybe_mark_dynamic autocast_decrement_nesting autocast_increment_nesting clear_autocast_cache
    jit.enable_onednn_fusion set_autocast_cache_enabled set_autocast_cpu_dtype set_autocast_cpu_enabled
    set_autocast_dtype set_autocast_enabled set_autocast_gpu_dtype set_warn_always
    fx._pytree.register_pytree_flatten_spec set_num_interop_threads
    fx.experimental.proxy_tensor.get_proxy_mode utils.checkpoint.set_device_states
"""
_BOOL = """
    fx.experimental.symbolic_shapes.guard_or_false fx.experimental.symbolic_shapes.guard_or_true
    fx.experimental.symbolic_shapes.statically_known_true
"""
_ASKING = "_tensor autograd functional nn.functional"
_ASKED = "has_torch_function has_torch_function_unary has_torch_function_variadic"
_SHARDS = "Partial Placement Replicate Shard"
_SHARD_HOMES = "distributed.tensor", "distributed.tensor.placement_types", "distributed._tensor"
OTHERS = {
    "_logging.set_logs": "ranvier.torch.compiler.mark",
    "_dynamo.list_backends": "builtins.list",
    **dict.fromkeys(_NO.split(), "ranvier.torch.machine.is_hooked"),
    **dict.fromkeys(_SAME.split(), "ranvier.jit.script"),
    **dict.fromkeys(_OPTIONAL.split(), "ranvier.jit.ignore"),
    **dict.fromkeys(_MARKS.split(), "ranvier.torch.compiler.mark"),
    **dict.fromkeys(_NOTHING.split(), "ranvier.torch.machine.log_usage"),
    **dict.fromkeys(_BOOL.split(), "builtins.bool"),
    **{f"{home}.{n}": f"ranvier.torch.overrides.{n}" for home in _ASKING.split() for n in _ASKED.split()},
    "AcceleratorError": "ranvier.cuda.OutOfMemoryError",
    "GradScaler": "ranvier.pytorch_names.amp.GradScaler",
    "OutOfMemoryError": "ranvier.cuda.OutOfMemoryError",
    "cuda.AcceleratorError": "ranvier.cuda.OutOfMemoryError",
    "get_autocast_cpu_dtype": "ranvier.torch.machine.autocast_dtype",
    "get_autocast_gpu_dtype": "ranvier.torch.machine.autocast_dtype",
    **{
        f"nn.functional.{name}": f"ranvier.torch.inner.{name}"
        for name in ("softmin", "upsample", "upsample_bilinear", "upsample_nearest")
    },
    "nn.utils.parametrize.cached": "ranvier.torch.scripts.optimized_execution",
    **{f"{home}.{n}": f"ranvier.torch.processes.{n}" for home in _SHARD_HOMES for n in _SHARDS.split()},
}
