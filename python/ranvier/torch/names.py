"""The tables of PyTorch's modules and names, with their places in this library. `absent.py` has those that
stay out.

A row of a table is `value | names`. `a.{b c}` is short for a.b and a.c, and a module that begins with a point
is one of ranvier. A module of PyTorch has, in this order, the names of `OTHERS`, of the file that `FILES`
gives, and of the modules that `PATHS` or `HOMES` give: below the root `ranvier` for PATHS alone, else for
all, and of `ranvier.p` for a path p that is in no table.
"""

from __future__ import annotations

import re


def table(text: str) -> dict[str, str]:
    """The value of each name.

    >>> table("one | a b.{c d}")
    {'a': 'one', 'b.c': 'one', 'b.d': 'one'}
    """
    found: dict[str, str] = {}
    for row in re.split(r"\n(?=.* \|)", text):
        value, _, names = row.partition(" |")
        names = re.sub(r"(\S*)\{([^}]*)\}", lambda m: " ".join(m[1] + x for x in m[2].split()), names)
        found |= dict.fromkeys(names.split(), value.strip())
    return found


# paths below both roots, `ranvier` and `torch`: the modules that have their names
_MODULES = """
    activation batchnorm channelshuffle container conv distance dropout flatten fold instancenorm lazy linear
    loss module normalization padding pixelshuffle pooling rnn sparse transformer upsampling utils
"""
_DISTRIBUTIONS = """
    bernoulli beta binomial categorical cauchy dirichlet distribution exponential geometric gumbel half_cauchy
    half_normal independent kl laplace lkj_cholesky log_normal mixture_same_family multinomial
    multivariate_normal negative_binomial normal one_hot_categorical poisson relaxed_bernoulli
    relaxed_categorical studentT transformed_distribution uniform
"""
_PARALLEL = "comm data_parallel distributed parallel_apply replicate scatter_gather"
PATHS = table(f"""
    .ops.making.dlpack | utils.dlpack
    .ops.making.random | random
    .data | utils.data utils.data.{{dataloader dataset distributed sampler}}
    .distributed.parallel | data.distributed nn.parallel nn.parallel.{{{_PARALLEL}}}
    .distributions | distributions.{{{_DISTRIBUTIONS}}}
    .nn .torch.bases | nn.modules nn.modules.{{{_MODULES}}}
    .torch.amp | amp cuda.amp
    .torch.backends | backends
    .torch.checkpoint | utils.checkpoint
    .torch.cuda | accelerator cuda cuda.random mps
    .torch.einops | utils.einops
    .torch.hub | hub utils.model_zoo
    .torch.jit | jit
    .torch.multiprocessing | multiprocessing
    .torch.tensorboard | utils.tensorboard
    .torch.utils | utils
""")

# other paths of PyTorch
HOMES = PATHS | table("""
    . | _tensor functional special tensor
    .autograd | autograd.{anomaly_mode function grad_mode gradcheck}
    .data.collate | utils.data._utils utils.data._utils.collate
    .data.vision.datasets | torchvision.datasets.{cifar mnist}
    .data.vision.datasets.folder | torchvision.datasets.vision
    .data.vision.models.resnet_vgg | torchvision.models.{resnet vgg}
    .data.vision.transforms | torchvision.transforms.transforms
    .data.workers | utils.data._utils.worker
    .distributed | distributed.distributed_c10d
    .func | nn.utils.stateless
    .nn.module .torch.bases | nn.modules.module
    .nn.utils | nn.utils.{clip_grad convert_parameters}
    .optim | optim.{adadelta adagrad adam adamax adamw asgd nadam radam rmsprop rprop sgd sparse_adam}
    .torch.amp | amp.{autocast_mode grad_scaler} cpu.amp cpu.amp.{autocast_mode grad_scaler} xpu.amp
        cuda.amp.{autocast_mode grad_scaler}
    .torch.cuda | cuda.{memory streams} xpu
    .torch.event_files | utils.tensorboard.summary
    .torch.jit | _jit_internal
    .torch.tensorboard | utils.tensorboard.writer
""")

# files of this package whose names come first
_LEFT_OUT = """
    chi2 continuous_bernoulli exp_family fishersnedecor generalized_pareto inverse_gamma kumaraswamy
    logistic_normal lowrank_multivariate_normal pareto von_mises weibull wishart
"""
FILES = table(f"""
    .distributions.left_out | distributions distributions.{{{_LEFT_OUT}}}
    .torch.compiler | _dynamo autograd.profiler compiler cuda.nvtx profiler
    .torch.files.plain | _utils storage
    .torch.flops | utils.flop_counter
    .torch.futures | futures
    .torch.fx.modules .torch.fx.nodes .torch.fx.tracing | fx
        fx.{{_symbolic_trace graph graph_module interpreter node proxy}}
    .torch.graph | autograd.forward_ad autograd.graph utils.hooks
    .torch.inner | _vmap_internals autograd.functional nn._reduction nn.grad optim.lbfgs
    .torch.library | _custom_ops library
    .torch.machine | __config__ cpu cuda.amp.common utils.deterministic
    .torch.matrices | linalg
    .torch.operators | _ops
    .torch.optimizers | optim.optimizer utils._foreach_utils
    .torch.overrides | overrides
    .torch.processes .torch.store | distributed distributed.{{constants distributed_c10d}}
    .torch.pruning | nn.utils.prune
    .torch.pytree | utils._pytree
    .torch.quasirandom | quasirandom
    .torch.shown | _tensor_str
    .torch.special | special
    .torch.spectra | fft
    .torch.states | distributed.checkpoint.state_dict
    .torch.testing | testing testing._internal testing._internal.common_utils
    .torch.types | nn.common_types types
    .torch.version | torch_version version
    .torch.weak | utils.weak
    .torch.windows | signal signal.windows
    typing | jit.annotations
""") | {"": ".torch.top"}

# names that no such module has: `name=another` for one that is called otherwise here; rows with a name in
# place of a module alone have it for all
_ASKED = "{has_torch_function has_torch_function_unary has_torch_function_variadic}"
_SHARDS = "{Partial Placement Replicate Shard}"
_NO = """
    _C._are_functorch_transforms_active _C._is_tracing _nnpack_available _utils.is_compiling
    autograd.{_profiler_enabled _is_kineto_stopped kineto_available is_view_replay_enabled}
    backends.cuda.{can_use_cudnn_attention can_use_efficient_attention can_use_flash_attention
    is_ck_sdpa_available is_flash_attention_available} backends.mps.{is_macos13_or_newer is_macos_or_newer}
    compiler._is_non_strict_tracing cpu.{_is_amx_fp16_supported _is_amx_tile_supported _is_avx2_supported
    _is_avx512_bf16_supported _is_avx512_supported _is_vnni_supported}
    cuda.{_check_bf16_tensor_supported _is_compiled _is_in_bad_fork can_device_access_peer
    is_current_stream_capturing is_tf32_supported} cudnn_is_acceptable
    distributed.{_is_spmd_types_available is_xccl_available rpc.is_available}
    distributed.distributed_c10d.is_xccl_available is_anomaly_check_nan_enabled is_autocast_ipu_enabled
    is_autocast_xla_enabled
    is_deterministic_algorithms_warn_only_enabled is_distributed is_vulkan_available is_warn_always_enabled
    jit.onednn_fusion_enabled mps._is_in_bad_fork nn.modules.activation._is_make_fx_tracing
    nn.parallel.replicate.{_is_jit_enabled _is_script_method _is_script_module} onnx.is_in_onnx_export
    profiler.kineto_available serialization._is_torchscript_zip
    utils._pytree.is_structseq_instance
    utils._foreach_utils.{_device_has_foreach_support _has_foreach_support} utils.checkpoint._is_compiling
    xpu.{_is_compiled _is_in_bad_fork can_device_access_peer is_current_stream_capturing is_tf32_supported}
"""
_NOTHING = """
    _C.{_get_accelerator _get_tracing_state _jit_set_bailout_depth _jit_set_num_profiled_runs
    _jit_set_profiling_executor _jit_set_profiling_mode _jit_set_texpr_fuser_enabled _log_api_usage_metadata
    _log_api_usage_once} _dynamo.{mark_dynamic mark_static mark_static_address mark_unbacked
    maybe_mark_dynamic} jit.enable_onednn_fusion set_warn_always
    fx._pytree.register_pytree_flatten_spec fx.experimental.proxy_tensor.get_proxy_mode
    _utils._get_available_device_type cuda._lazy_call
    nn.attention.{activate_flash_attention_impl restore_flash_attention_impl}
    onnx.register_custom_op_symbolic set_num_interop_threads utils.checkpoint.set_device_states
"""
_OTHERS = table(f"""
    . | _C.TensorBase=Tensor _C._TensorBase=Tensor DeviceObjType=device cpu.autocast is_conj=is_complex
        is_neg=is_complex sparse.addmm sparse.mm=matmul sparse.sum special.expit=sigmoid
        special.gammaln=lgamma special.psi=digamma
    .ops.making.check conj | conj conj_physical real resolve_conj resolve_neg
    .tape.context | autograd.function.FunctionCtx=Context
    .tensors.storage | TypedStorage UntypedStorage storage.{{TypedStorage UntypedStorage}}
    .compile.api | compile
    .data.loader | utils.data.dataloader.{{_BaseDataLoaderIter _DatasetKind}}
    .data.loader _BaseDataLoaderIter |
        utils.data.dataloader.{{_MultiProcessingDataLoaderIter _SingleProcessDataLoaderIter}}
    .distributions.gamma | _sample_dirichlet=sample_dirichlet _standard_gamma=standard_gamma
    .func.call | nn.utils.stateless._reparametrize_module=reparametrized
    .func.module_stack | func.stack_module_state=state_of
    .linalg | _C._LinAlgError=LinAlgError
    .nn | nn.modules.linear.NonDynamicallyQuantizableLinear=Linear
    .nn LocalResponseNorm | nn.CrossMapLRN2d nn.modules.normalization.CrossMapLRN2d
    .nn.attention | nn.functional.multi_head_attention_forward
    .nn.functional | nn.functional.upsample=interpolate
    .nn.init | nn.init.{{_calculate_correct_fan=fan _calculate_fan_in_and_fan_out=fans
        _no_grad_fill_=constant_ _no_grad_normal_=normal_ _no_grad_trunc_normal_=trunc_normal_
        _no_grad_uniform_=uniform_ _no_grad_zero_=zeros_}}
    .nn.lazy | nn.modules.lazy.LazyModuleMixin=_Lazy
    .nn.parameter | nn.UninitializedParameter
    .nn.state_dicts | nn.modules.module.{{_EXTRA_STATE_KEY_SUFFIX=EXTRA _IncompatibleKeys=LoadResult}}
    .optim.lr_scheduler | optim.lr_scheduler._LRScheduler=LRScheduler
    .torch.amp | GradScaler autocast_decrement_nesting autocast_increment_nesting clear_autocast_cache
        cpu.amp.autocast=CPUAutocast cpu.amp.autocast_mode.autocast=CPUAutocast
        cuda.amp.autocast=CUDAAutocast cuda.amp.autocast_mode.autocast=CUDAAutocast
        get_autocast_cpu_dtype get_autocast_dtype get_autocast_gpu_dtype is_autocast_cache_enabled
        is_autocast_cpu_enabled is_autocast_enabled set_autocast_cache_enabled set_autocast_cpu_dtype
        set_autocast_cpu_enabled set_autocast_dtype set_autocast_enabled set_autocast_gpu_dtype
    .torch.bases | nn.RNNBase nn.RNNCellBase
    .torch.compiler | jit.TracerWarning nn.utils.parametrize.cached=NoEffect
        _dynamo._trace_wrapped_higher_order_op.TransformGetItemToIndex=NoEffect
    .torch.compiler mark | _decomp.register_decomposition _dynamo.substitute_in_graph _logging.set_logs
        fx._compatibility.compatibility onnx.symbolic_helper.parse_args
    .torch.cuda | Event Stream
    .torch.cuda OutOfMemoryError | AcceleratorError OutOfMemoryError cuda.AcceleratorError
    .torch.dispatch | _C._disabled_torch_function_impl=silent
    .torch.event_files | utils.tensorboard.summary.hparams=settings
    .torch.exporting | onnx.{{ONNXProgram OperatorExportTypes TrainingMode export}}
    .torch.files | save serialization.save serialization.get_unsafe_globals_in_checkpoint
    .torch.former | _convert_indices_from_coo_to_csr=row_starts _segment_reduce=segment_reduce
        distributions.multivariate_normal._precision_to_scale_tril=scale_tril
        distributions.transforms._clipped_sigmoid=clipped_sigmoid empty empty_permuted empty_strided
        frombuffer is_inference linalg.eig linalg.eigvals nn.utils.init.skip_init nn.utils.skip_init
        pca_lowrank segment_reduce svd svd_lowrank
    .torch.futures | Future _C.Future jit.Future
    .torch.grad_scaler CPUGradScaler | cpu.amp.GradScaler cpu.amp.grad_scaler.GradScaler
    .torch.grad_scaler CUDAGradScaler | cuda.amp.GradScaler cuda.amp.grad_scaler.GradScaler
    .torch.inner | autograd.gradcheck autograd.gradcheck.gradcheck nn._reduction.legacy_get_string=reduction
        nn.functional.{{softmin upsample_bilinear upsample_nearest}}
        utils.data._utils.collate.np_str_obj_array_pattern=TEXTS
    .torch.jit script_method | _dynamo.{{forbid_in_graph nonstrict_trace}}
        _jit_internal.{{_copy_to_script_wrapper _overload _overload_method}}
        distributed.rpc.api._require_initialized jit.{{_overload _overload_method _script_if_tracing
        annotations.ignore freeze interface optimize_for_inference script_if_tracing}}
        utils._config_module.install_config_module
    .torch.machine | _C._nn._parse_to=parse_to amp.grad_scaler.OptState cuda.amp.grad_scaler.OptState
        cuda.amp.common.amp_definitely_not_available=is_available get_num_interop_threads=device_count
        utils.checkpoint.get_device_states=device_states
    .torch.machine is_hooked | {_NO}
    .torch.machine log_usage | {_NOTHING}
    .torch.matrices grouped_mm | _grouped_mm nn.functional.grouped_mm
    .torch.operators | _C.DispatchKey _C.DispatchKeySet ops
    .torch.operators exclude | _C.{{_AutoDispatchBelowADInplaceOrView _AutoDispatchBelowAutograd
        _ExcludeDispatchKeyGuard}}
    .torch.optimizers | optim.SparseAdam optim.sparse_adam.SparseAdam
        utils._foreach_utils._group_tensors_by_device_and_dtype=by_dtype
    .torch.overrides | _C.{{DisableTorchFunction DisableTorchFunctionSubclass
        _has_torch_function=has_torch_function _has_torch_function_unary=has_torch_function_unary
        _has_torch_function_variadic=has_torch_function_variadic _is_torch_function_enabled=is_enabled
        _len_torch_function_stack=len_modes}}
        _tensor.{_ASKED} autograd.{_ASKED} functional.{_ASKED} nn.functional.{_ASKED}
    .torch.pair_functions | angle complex=complex_of imag is_tensor polar view_as_complex view_as_real
    .torch.positions | sparse_coo_tensor
    .torch.processes | distributed.tensor.{_SHARDS} distributed.tensor.placement_types.{_SHARDS}
        distributed._tensor.{_SHARDS}
    .torch.spectra | istft stft
    .torch.top | linalg.multi_dot onnx.operators.shape_as_tensor=_shape_as_tensor
    .torch.version | __version__
    .torch.volumes | conv3d nn.Conv3d nn.functional.conv3d nn.functional.max_pool3d
        nn.modules.Conv3d nn.modules.conv.Conv3d
    .torch.windows | bartlett_window blackman_window hamming_window hann_window kaiser_window
    builtins | _C._TensorMeta=type _dynamo.list_backends=list layout=str memory_format=str
    builtins bool | fx.experimental.symbolic_shapes.{{guard_or_false guard_or_true statically_known_true}}
    pickle | serialization.DEFAULT_PROTOCOL
    typing | jit.Final jit.annotate=cast jit.annotations.{{BroadcastingList2=List BroadcastingList3=List}}
    contextlib | utils._contextlib._DecoratorContextManager=ContextDecorator
    typing Any | fx.graph.Argument fx.node.Argument optim.optimizer._params_t serialization.MAP_LOCATION
        utils.data.dataloader._collate_fn_t utils.data.dataloader._worker_init_fn_t
""")


def _of(row: tuple[str, str]) -> tuple[str, tuple[str, str]]:
    """A name, and its module and name here."""
    (path, _, other), (home, _, whole) = row[0].partition("="), row[1].partition(" ")
    return path, (home, other or whole or path.rpartition(".")[2])


OTHERS = dict(map(_of, _OTHERS.items()))

# methods of Tensor that are functions of PyTorch, too, as are all whose names end with _
FUNCTIONS = frozenset({"adjoint", "detach", "get_device", "is_same_size", "is_signed"})

# modules whose `__dict__` libraries go through: it has all names at once, or those of a module here
_WHOLE = """
    torch.distributions torch.nn.init torch.optim torch.optim.lr_scheduler torchvision.datasets
    torchvision.models torchvision.transforms
"""
WHOLE = dict.fromkeys(_WHOLE.split(), "") | {"torch.nn.modules.activation": "ranvier.nn.activation"}

# methods of Tensor that files of this package have
METHODS = table("""
    ranvier.torch.methods | addbmm addbmm_ addmv addmv_ addr addr_ adjoint as_strided_scatter conj_physical_
        const_data_ptr diagflat diagonal_scatter dim_order dsplit eq_ float_power float_power_ frexp gcd gcd_
        ge_ gt_ hardshrink heaviside_ hsplit index_reduce index_reduce_ is_neg is_nonzero is_set_to isreal lcm
        lcm_ le_ logaddexp2 lt_ msort narrow_copy ne_ new_empty_strided nonzero_static prelu record_stream
        select_scatter slice_scatter split_with_sizes sum_to_size swapdims_ unsafe_chunk unsafe_split
        unsafe_split_with_sizes vdot vsplit
    ranvier.torch.pair_functions | angle cdouble cfloat
    ranvier.torch.positions | to_sparse to_sparse_coo
    ranvier.torch.spectra | stft
""")

# methods of Tensor that may not be here: an access names this library
LACKING = """
    as_strided_ chalf coalesce dense_dim dequantize eig geqrf i0 i0_ igamma igamma_ igammac
    igammac_ imag indices int_repr is_coalesced is_mkldnn istft map2_ orgqr ormqr polygamma polygamma_
    q_scale q_zero_point qscheme resize resize_as share_memory_ slice_inverse smm sparse_dim sparse_mask
    sspaddmm storage_type svd to_mkldnn to_padded_tensor to_sparse_bsc to_sparse_bsr to_sparse_csc
    to_sparse_csr xpu
"""
