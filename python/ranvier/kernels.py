"""The core's kernels as functions of NumPy arrays, without tensors and gradients.

Every function takes float32 or float64 arrays of any strides; some also take floats of 16 bits. It returns
new arrays, and accepts ``out=``, an array to write the result into. ``f_backward`` takes the gradient of the
result of f and returns the gradients of the inputs of f.

>>> import numpy as np
>>> from ranvier import kernels
>>> y = kernels.relu(np.array([-1.0, 2.0], np.float32))
>>> y
array([0., 2.], dtype=float32)
>>> kernels.relu_backward(np.ones(2, np.float32), y)
array([0., 1.], dtype=float32)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import ranvier._core as _core

# Names of the core that only the library itself uses: memory, programs, settings, optimizers, parts of ops.
_INTERNAL = """
    Between Check CodeWatch Follower GuardForm Guards Program ProgramForm PublicAttribute PublicFunction
    PublicMethod RankSum Recording Signature addcdiv addcmul allow_conv_algorithm attention attention_backward
    attention_cached average_weight between_ranks bfloat16 byte_products cache_positions cast
    checksum clip_gradients conv1d_pool_backward conv2d_pool conv2d_pool_backward copy_like
    count_equal current_precision draw_rows dropout empty_cache expand fill flat_dot flip fourier
    full full_like get_num_threads get_precision get_winograd gradient_norm has_bfloat16 inside isa
    jet jet_backward lbfgs_loop lerp memory_stats move_parameters next_key optimizer_step paced
    permute pools_over_channels probe_bandwidth probe_barrier probe_fma random_normal random_uniform
    recurrent recurrent_backward repeat repeat_each reset_peak_memory roll run_batches set_alone
    set_bfloat16 set_busy set_byte_products set_isa set_num_threads set_own_precision set_precision
    set_winograd share_memory small_cholesky small_det small_eigh small_lu small_qr small_slogdet
    small_solve stack supported_isas triangle usable_cpus weight_penalty where_equal
    write
"""

if TYPE_CHECKING:
    from ranvier._core import *
else:
    # All other names of the core: a new kernel is public without a change here.
    __all__ = sorted({name for name in dir(_core) if name[0] != "_"} - set(_INTERNAL.split()))
    globals().update({name: getattr(_core, name) for name in __all__})
