"""Where PyTorch's modules and names are in this library. `absent.py` has those that stay out.

A table has in each row a place here and the paths of PyTorch that are found there, without `torch.`. A path
that is in no table, neither here nor there, is the same path below `ranvier`, if that exists.
"""

from __future__ import annotations


def by_path(rows: dict[str, str]) -> dict[str, str]:
    """The place of each path.

    >>> by_path({"ranvier.a": "b c.d"})
    {'b': 'ranvier.a', 'c.d': 'ranvier.a'}
    """
    return {path: place for place, paths in rows.items() for path in paths.split()}


# Modules: those of this library that have their names, in the order of asking. These are modules below both
# roots, `ranvier` and `torch`.
PATHS = by_path(
    {
        "ranvier.data": """
        utils.data utils.data.dataloader utils.data.dataset utils.data.distributed utils.data.sampler
    """,
        "ranvier.distributed.parallel": """
        data.distributed nn.parallel nn.parallel.comm nn.parallel.data_parallel nn.parallel.distributed
        nn.parallel.parallel_apply nn.parallel.replicate nn.parallel.scatter_gather
    """,
        "ranvier.distributions": """
        distributions.bernoulli distributions.beta distributions.binomial distributions.categorical
        distributions.cauchy distributions.dirichlet distributions.distribution distributions.exponential
        distributions.geometric distributions.gumbel distributions.half_cauchy distributions.half_normal
        distributions.independent distributions.kl distributions.laplace distributions.lkj_cholesky
        distributions.log_normal distributions.mixture_same_family distributions.multinomial
        distributions.multivariate_normal distributions.negative_binomial distributions.normal
        distributions.one_hot_categorical distributions.poisson distributions.relaxed_bernoulli
        distributions.relaxed_categorical distributions.studentT distributions.transformed_distribution
        distributions.uniform
    """,
        "ranvier.nn ranvier.torch.bases": """
        nn.modules nn.modules.activation nn.modules.batchnorm nn.modules.channelshuffle nn.modules.container
        nn.modules.conv nn.modules.distance nn.modules.dropout nn.modules.flatten nn.modules.fold
        nn.modules.instancenorm nn.modules.lazy nn.modules.linear nn.modules.loss nn.modules.module
        nn.modules.normalization nn.modules.padding nn.modules.pixelshuffle nn.modules.pooling nn.modules.rnn
        nn.modules.sparse nn.modules.transformer nn.modules.upsampling nn.modules.utils
    """,
        "ranvier.ops.making.dlpack": "utils.dlpack",
        "ranvier.ops.making.random": "random",
        "ranvier.torch.amp": "amp cuda.amp",
        "ranvier.torch.backends": "backends",
        "ranvier.torch.checkpoint": "utils.checkpoint",
        "ranvier.torch.cuda": "accelerator cuda cuda.random mps",
        "ranvier.torch.einops": "utils.einops",
        "ranvier.torch.hub": "hub utils.model_zoo",
        "ranvier.torch.jit": "jit",
        "ranvier.torch.multiprocessing": "multiprocessing",
        "ranvier.torch.tensorboard": "utils.tensorboard",
        "ranvier.torch.utils": "utils",
    }
)

# and these below `torch` alone; "" is `torch` itself
_MODULES = {
    "ranvier": "_tensor functional tensor",
    "ranvier.autograd": "autograd.anomaly_mode autograd.function autograd.grad_mode autograd.gradcheck",
    "ranvier.data.collate": "utils.data._utils utils.data._utils.collate",
    "ranvier.data.vision.datasets": "torchvision.datasets.cifar torchvision.datasets.mnist",
    "ranvier.data.vision.datasets.folder": "torchvision.datasets.vision",
    "ranvier.data.vision.models.networks": "torchvision.models.resnet torchvision.models.vgg",
    "ranvier.data.vision.transforms": "torchvision.transforms.transforms",
    "ranvier.data.workers": "utils.data._utils.worker",
    "ranvier.distributions.left_out": """
        distributions.chi2 distributions.continuous_bernoulli distributions.exp_family
        distributions.fishersnedecor distributions.generalized_pareto distributions.inverse_gamma
        distributions.kumaraswamy distributions.logistic_normal distributions.lowrank_multivariate_normal
        distributions.pareto distributions.von_mises distributions.weibull distributions.wishart
    """,
    "ranvier.distributions.left_out ranvier.distributions": "distributions",
    "ranvier.func": "nn.utils.stateless",
    "ranvier.nn.module ranvier.torch.bases": "nn.modules.module",
    "ranvier.nn.utils": "nn.utils.clip_grad nn.utils.convert_parameters",
    "ranvier.optim": """
        optim.adadelta optim.adagrad optim.adam optim.adamax optim.adamw optim.asgd optim.nadam optim.radam
        optim.rmsprop optim.rprop optim.sgd optim.sparse_adam
    """,
    "ranvier.torch.amp": """
        amp.autocast_mode amp.grad_scaler cpu.amp cpu.amp.autocast_mode cpu.amp.grad_scaler
        cuda.amp.autocast_mode cuda.amp.grad_scaler xpu.amp
    """,
    "ranvier.torch.compiler": "_dynamo autograd.profiler compiler cuda.nvtx profiler",
    "ranvier.torch.cuda": "cuda.memory cuda.streams xpu",
    "ranvier.torch.event_files": "utils.tensorboard.summary",
    "ranvier.torch.files.plain": "_utils storage",
    "ranvier.torch.flops": "utils.flop_counter",
    "ranvier.torch.futures": "futures",
    "ranvier.torch.fx.modules ranvier.torch.fx.nodes ranvier.torch.fx.tracing": """
        fx fx._symbolic_trace fx.graph fx.graph_module fx.interpreter fx.node fx.proxy
    """,
    "ranvier.torch.graph": "autograd.forward_ad autograd.graph utils.hooks",
    "ranvier.torch.inner": "_vmap_internals nn._reduction nn.grad",
    "ranvier.torch.inner ranvier.autograd.functional": "autograd.functional",
    "ranvier.torch.inner ranvier.optim.lbfgs": "optim.lbfgs",
    "ranvier.torch.jit": "_jit_internal",
    "ranvier.torch.library": "_custom_ops library",
    "ranvier.torch.machine": "__config__ cpu cuda.amp.common utils.deterministic",
    "ranvier.torch.matrices ranvier.linalg": "linalg",
    "ranvier.torch.operators": "_ops",
    "ranvier.torch.optimizers": "utils._foreach_utils",
    "ranvier.torch.optimizers ranvier.optim.optimizer": "optim.optimizer",
    "ranvier.torch.overrides": "overrides",
    "ranvier.torch.processes ranvier.torch.store": "distributed.constants",
    "ranvier.torch.processes ranvier.torch.store ranvier.distributed": """
        distributed distributed.distributed_c10d
    """,
    "ranvier.torch.pruning": "nn.utils.prune",
    "ranvier.torch.pytree": "utils._pytree",
    "ranvier.torch.quasirandom": "quasirandom",
    "ranvier.torch.shown": "_tensor_str",
    "ranvier.torch.special ranvier": "special",
    "ranvier.torch.spectra ranvier.fft": "fft",
    "ranvier.torch.states": "distributed.checkpoint.state_dict",
    "ranvier.torch.tensorboard": "utils.tensorboard.writer",
    "ranvier.torch.testing": "testing testing._internal testing._internal.common_utils",
    "ranvier.torch.types": "nn.common_types types",
    "ranvier.torch.version": "torch_version",
    "ranvier.torch.version ranvier.version": "version",
    "ranvier.torch.weak": "utils.weak",
    "ranvier.torch.windows": "signal signal.windows",
    "typing": "jit.annotations",
}

MODULES = PATHS | by_path(_MODULES) | {"": "ranvier.torch.top ranvier"}

# Names that are not in the modules above, or otherwise: the modules that have them,
_NAMES = {
    "pickle": "serialization.DEFAULT_PROTOCOL",
    "ranvier": "cpu.autocast sparse.addmm sparse.sum",
    "ranvier.compile.api": "compile",
    "ranvier.data.loader": "utils.data.dataloader._BaseDataLoaderIter utils.data.dataloader._DatasetKind",
    "ranvier.nn.attention": "nn.functional.multi_head_attention_forward",
    "ranvier.nn.functional": """
        bilinear celu_ pdist pixel_shuffle pixel_unshuffle rrelu selu_ threshold
    """,
    "ranvier.nn.parameter": "nn.UninitializedParameter",
    "ranvier.ops.making.check": "conj",
    "ranvier.tensors.storage": "TypedStorage UntypedStorage storage.TypedStorage storage.UntypedStorage",
    "ranvier.torch.amp": """
        GradScaler autocast_decrement_nesting autocast_increment_nesting clear_autocast_cache
        get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype is_autocast_cache_enabled
        is_autocast_cpu_enabled is_autocast_enabled set_autocast_cache_enabled set_autocast_cpu_dtype
        set_autocast_cpu_enabled set_autocast_dtype set_autocast_enabled set_autocast_gpu_dtype
    """,
    "ranvier.torch.bases": "nn.RNNBase nn.RNNCellBase",
    "ranvier.torch.compiler": "jit.TracerWarning",
    "ranvier.torch.cuda": "Event OutOfMemoryError Stream",
    "ranvier.torch.exporting": "onnx.ONNXProgram onnx.OperatorExportTypes onnx.TrainingMode onnx.export",
    "ranvier.torch.files": "save serialization.get_unsafe_globals_in_checkpoint serialization.save",
    "ranvier.torch.former": """
        empty empty_permuted empty_strided frombuffer is_inference linalg.eig linalg.eigvals
        nn.utils.init.skip_init nn.utils.skip_init pca_lowrank segment_reduce svd svd_lowrank
    """,
    "ranvier.torch.futures": "Future _C.Future jit.Future",
    "ranvier.torch.inner": """
        autograd.gradcheck autograd.gradcheck.gradcheck nn.functional.softmin nn.functional.upsample_bilinear
        nn.functional.upsample_nearest
    """,
    "ranvier.torch.machine": "amp.grad_scaler.OptState cuda.amp.grad_scaler.OptState",
    "ranvier.torch.matrices": "nn.functional.grouped_mm",
    "ranvier.torch.operators": "_C.DispatchKey _C.DispatchKeySet ops",
    "ranvier.torch.optimizers": "optim.SparseAdam optim.sparse_adam.SparseAdam",
    "ranvier.torch.overrides": """
        _C.DisableTorchFunction _C.DisableTorchFunctionSubclass _tensor.has_torch_function
        _tensor.has_torch_function_unary _tensor.has_torch_function_variadic autograd.has_torch_function
        autograd.has_torch_function_unary autograd.has_torch_function_variadic functional.has_torch_function
        functional.has_torch_function_unary functional.has_torch_function_variadic
        nn.functional.has_torch_function nn.functional.has_torch_function_unary
        nn.functional.has_torch_function_variadic
    """,
    "ranvier.torch.pair_functions": "angle imag is_tensor polar view_as_complex view_as_real",
    "ranvier.torch.positions": "sparse_coo_tensor",
    "ranvier.torch.processes": """
        distributed._tensor.Partial distributed._tensor.Placement distributed._tensor.Replicate
        distributed._tensor.Shard distributed.tensor.Partial distributed.tensor.Placement
        distributed.tensor.Replicate distributed.tensor.Shard distributed.tensor.placement_types.Partial
        distributed.tensor.placement_types.Placement distributed.tensor.placement_types.Replicate
        distributed.tensor.placement_types.Shard
    """,
    "ranvier.torch.spectra": "istft stft",
    "ranvier.torch.top": "linalg.multi_dot",
    "ranvier.torch.version": "__version__",
    "ranvier.torch.volumes": """
        conv3d nn.Conv3d nn.functional.conv3d nn.functional.max_pool3d nn.modules.Conv3d
        nn.modules.conv.Conv3d
    """,
    "ranvier.torch.windows": "bartlett_window blackman_window hamming_window hann_window kaiser_window",
    "typing": "jit.Final",
}

# and what has another name here.
_RENAMED = {
    "builtins.bool": """
        fx.experimental.symbolic_shapes.guard_or_false fx.experimental.symbolic_shapes.guard_or_true
        fx.experimental.symbolic_shapes.statically_known_true
    """,
    "builtins.list": "_dynamo.list_backends",
    "builtins.str": "layout memory_format",
    "builtins.type": "_C._TensorMeta",
    "contextlib.ContextDecorator": "utils._contextlib._DecoratorContextManager",
    "ranvier.Tensor": "_C.TensorBase _C._TensorBase",
    "ranvier.data.loader._BaseDataLoaderIter": """
        utils.data.dataloader._MultiProcessingDataLoaderIter
        utils.data.dataloader._SingleProcessDataLoaderIter
    """,
    "ranvier.device": "DeviceObjType",
    "ranvier.digamma": "special.psi",
    "ranvier.distributions.gamma.sample_dirichlet": "_sample_dirichlet",
    "ranvier.distributions.gamma.standard_gamma": "_standard_gamma",
    "ranvier.func.call.reparametrized": "nn.utils.stateless._reparametrize_module",
    "ranvier.func.stacks.state_of": "func.stack_module_state",
    "ranvier.is_complex": "is_conj is_neg",
    "ranvier.lgamma": "special.gammaln",
    "ranvier.linalg.LinAlgError": "_C._LinAlgError",
    "ranvier.matmul": "sparse.mm",
    "ranvier.nn.Linear": "nn.modules.linear.NonDynamicallyQuantizableLinear",
    "ranvier.nn.LocalResponseNorm": "nn.CrossMapLRN2d nn.modules.normalization.CrossMapLRN2d",
    "ranvier.nn.functional.interpolate": "nn.functional.upsample",
    "ranvier.nn.init.constant_": "nn.init._no_grad_fill_",
    "ranvier.nn.init.fan": "nn.init._calculate_correct_fan",
    "ranvier.nn.init.fans": "nn.init._calculate_fan_in_and_fan_out",
    "ranvier.nn.init.normal_": "nn.init._no_grad_normal_",
    "ranvier.nn.init.trunc_normal_": "nn.init._no_grad_trunc_normal_",
    "ranvier.nn.init.uniform_": "nn.init._no_grad_uniform_",
    "ranvier.nn.init.zeros_": "nn.init._no_grad_zero_",
    "ranvier.nn.lazy._Lazy": "nn.modules.lazy.LazyModuleMixin",
    "ranvier.nn.state.EXTRA": "nn.modules.module._EXTRA_STATE_KEY_SUFFIX",
    "ranvier.nn.state.LoadResult": "nn.modules.module._IncompatibleKeys",
    "ranvier.ops.making.check.conj": "conj_physical real resolve_conj resolve_neg",
    "ranvier.optim.lr_scheduler.LRScheduler": "optim.lr_scheduler._LRScheduler",
    "ranvier.sigmoid": "special.expit",
    "ranvier.tape.context.Context": "autograd.function.FunctionCtx",
    "ranvier.torch.amp.CPUAutocast": "cpu.amp.autocast cpu.amp.autocast_mode.autocast",
    "ranvier.torch.amp.CUDAAutocast": "cuda.amp.autocast cuda.amp.autocast_mode.autocast",
    "ranvier.torch.compiler.NoEffect": """
        _dynamo._trace_wrapped_higher_order_op.TransformGetItemToIndex nn.utils.parametrize.cached
    """,
    "ranvier.torch.compiler.mark": """
        _decomp.register_decomposition _dynamo.substitute_in_graph _logging.set_logs
        fx._compatibility.compatibility onnx.symbolic_helper.parse_args
    """,
    "ranvier.torch.cuda.OutOfMemoryError": "AcceleratorError cuda.AcceleratorError",
    "ranvier.torch.dispatch.silent": "_C._disabled_torch_function_impl",
    "ranvier.torch.event_files.settings": "utils.tensorboard.summary.hparams",
    "ranvier.torch.former.clipped_sigmoid": "distributions.transforms._clipped_sigmoid",
    "ranvier.torch.former.row_starts": "_convert_indices_from_coo_to_csr",
    "ranvier.torch.former.scale_tril": "distributions.multivariate_normal._precision_to_scale_tril",
    "ranvier.torch.former.segment_reduce": "_segment_reduce",
    "ranvier.torch.grad_scaler.CPUGradScaler": "cpu.amp.GradScaler cpu.amp.grad_scaler.GradScaler",
    "ranvier.torch.grad_scaler.CUDAGradScaler": "cuda.amp.GradScaler cuda.amp.grad_scaler.GradScaler",
    "ranvier.torch.inner.TEXTS": "utils.data._utils.collate.np_str_obj_array_pattern",
    "ranvier.torch.inner.reduction": "nn._reduction.legacy_get_string",
    "ranvier.torch.jit.script_method": """
        _dynamo.forbid_in_graph _dynamo.nonstrict_trace _jit_internal._copy_to_script_wrapper
        _jit_internal._overload _jit_internal._overload_method distributed.rpc.api._require_initialized
        jit._overload jit._overload_method jit._script_if_tracing jit.annotations.ignore jit.freeze
        jit.interface jit.optimize_for_inference jit.script_if_tracing
        utils._config_module.install_config_module
    """,
    "ranvier.torch.machine.device_count": "get_num_interop_threads",
    "ranvier.torch.machine.device_states": "utils.checkpoint.get_device_states",
    "ranvier.torch.machine.is_available": "cuda.amp.common.amp_definitely_not_available",
    "ranvier.torch.machine.is_hooked": """
        _C._are_functorch_transforms_active _C._is_tracing _nnpack_available _utils.is_compiling
        autograd._is_kineto_stopped autograd._profiler_enabled autograd.is_view_replay_enabled
        autograd.kineto_available backends.cuda.can_use_cudnn_attention
        backends.cuda.can_use_efficient_attention backends.cuda.can_use_flash_attention
        backends.cuda.is_ck_sdpa_available backends.cuda.is_flash_attention_available
        backends.mps.is_macos13_or_newer backends.mps.is_macos_or_newer compiler._is_non_strict_tracing
        cpu._is_amx_fp16_supported cpu._is_amx_tile_supported cpu._is_avx2_supported
        cpu._is_avx512_bf16_supported cpu._is_avx512_supported cpu._is_vnni_supported
        cuda._check_bf16_tensor_supported cuda._is_compiled cuda._is_in_bad_fork cuda.can_device_access_peer
        cuda.is_current_stream_capturing cuda.is_tf32_supported cudnn_is_acceptable
        distributed._is_spmd_types_available distributed.distributed_c10d.is_xccl_available
        distributed.is_xccl_available distributed.rpc.is_available is_anomaly_check_nan_enabled
        is_autocast_ipu_enabled is_autocast_xla_enabled is_deterministic_algorithms_warn_only_enabled
        is_distributed is_vulkan_available is_warn_always_enabled jit.onednn_fusion_enabled
        mps._is_in_bad_fork nn.modules.activation._is_make_fx_tracing nn.parallel.replicate._is_jit_enabled
        nn.parallel.replicate._is_script_method nn.parallel.replicate._is_script_module onnx.is_in_onnx_export
        profiler.kineto_available serialization._is_torchscript_zip
        utils._foreach_utils._device_has_foreach_support utils._foreach_utils._has_foreach_support
        utils._pytree.is_structseq_instance utils.checkpoint._is_compiling xpu._is_compiled
        xpu._is_in_bad_fork xpu.can_device_access_peer xpu.is_current_stream_capturing xpu.is_tf32_supported
    """,
    "ranvier.torch.machine.log_usage": """
        _C._get_accelerator _C._get_tracing_state _C._jit_set_bailout_depth _C._jit_set_num_profiled_runs
        _C._jit_set_profiling_executor _C._jit_set_profiling_mode _C._jit_set_texpr_fuser_enabled
        _C._log_api_usage_metadata _C._log_api_usage_once _dynamo.mark_dynamic _dynamo.mark_static
        _dynamo.mark_static_address _dynamo.mark_unbacked _dynamo.maybe_mark_dynamic
        _utils._get_available_device_type cuda._lazy_call fx._pytree.register_pytree_flatten_spec
        fx.experimental.proxy_tensor.get_proxy_mode jit.enable_onednn_fusion
        nn.attention.activate_flash_attention_impl nn.attention.restore_flash_attention_impl
        onnx.register_custom_op_symbolic set_num_interop_threads set_warn_always
        utils.checkpoint.set_device_states
    """,
    "ranvier.torch.machine.parse_to": "_C._nn._parse_to",
    "ranvier.torch.matrices.grouped_mm": "_grouped_mm",
    "ranvier.torch.operators.exclude": """
        _C._AutoDispatchBelowADInplaceOrView _C._AutoDispatchBelowAutograd _C._ExcludeDispatchKeyGuard
    """,
    "ranvier.torch.optimizers.by_dtype": "utils._foreach_utils._group_tensors_by_device_and_dtype",
    "ranvier.torch.overrides.has_torch_function": "_C._has_torch_function",
    "ranvier.torch.overrides.has_torch_function_unary": "_C._has_torch_function_unary",
    "ranvier.torch.overrides.has_torch_function_variadic": "_C._has_torch_function_variadic",
    "ranvier.torch.overrides.is_enabled": "_C._is_torch_function_enabled",
    "ranvier.torch.overrides.len_modes": "_C._len_torch_function_stack",
    "ranvier.torch.pair_functions.complex_of": "complex",
    "ranvier.torch.top._shape_as_tensor": "onnx.operators.shape_as_tensor",
    "typing.Any": """
        fx.graph.Argument fx.node.Argument optim.optimizer._params_t serialization.MAP_LOCATION
        utils.data.dataloader._collate_fn_t utils.data.dataloader._worker_init_fn_t
    """,
    "typing.List": "jit.annotations.BroadcastingList2 jit.annotations.BroadcastingList3",
    "typing.cast": "jit.annotate",
}

# path: module and name here
PLACES = {path: (home, path.rpartition(".")[2]) for path, home in by_path(_NAMES).items()}
for _path, _place in by_path(_RENAMED).items():
    _home, _, _name = _place.rpartition(".")
    PLACES[_path] = _home, _name

# modules whose `__dict__` libraries go through: it has all names at once, or those of a module here
_WHOLE = """
    torch.distributions torch.nn.init torch.optim torch.optim.lr_scheduler torchvision.datasets
    torchvision.models torchvision.transforms
"""
WHOLE = dict.fromkeys(_WHOLE.split(), "") | {"torch.nn.modules.activation": "ranvier.nn.activation"}

# methods of Tensor that files of this package have
METHODS = by_path(
    {
        "ranvier.torch.methods": """
            addbmm addbmm_ addmv addmv_ addr addr_ adjoint as_strided_scatter conj_physical_ const_data_ptr
            diagflat diagonal_scatter dim_order dsplit eq_ float_power float_power_ frexp gcd gcd_ ge_ gt_
            hardshrink heaviside_ hsplit index_reduce index_reduce_ is_neg is_nonzero is_set_to isreal lcm
            lcm_ le_ logaddexp2 lt_ msort narrow_copy ne_ new_empty_strided nonzero_static prelu record_stream
            select_scatter slice_scatter split_with_sizes sum_to_size swapdims_ unsafe_chunk unsafe_split
            unsafe_split_with_sizes vdot vsplit
        """,
        "ranvier.torch.pair_functions": "angle cdouble cfloat",
        "ranvier.torch.positions": "to_sparse to_sparse_coo",
        "ranvier.torch.shared": "is_shared share_memory_",
        "ranvier.torch.spectra": "stft",
    }
)

# methods that are functions of PyTorch, too, as are those of ranvier.torch.methods and all that end with _
FUNCTIONS = frozenset({"adjoint", "detach", "get_device", "is_same_size", "is_signed"})

# methods of Tensor that may not be here: an access names this library
LACKING = """
    as_strided_ chalf coalesce dense_dim dequantize eig geqrf i0 i0_ igamma igamma_ igammac
    igammac_ imag indices int_repr is_coalesced is_mkldnn istft map2_ orgqr ormqr polygamma polygamma_
    q_scale q_zero_point qscheme resize resize_as share_memory_ slice_inverse smm sparse_dim sparse_mask
    sspaddmm storage_type svd to_mkldnn to_padded_tensor to_sparse_bsc to_sparse_bsr to_sparse_csc
    to_sparse_csr xpu
"""
