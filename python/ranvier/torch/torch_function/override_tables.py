"""Tables of the functions, methods and operators that ask `__torch_function__`, and of PyTorch's names for
them.

`dispatch.py` and `activation.py` read them when they make the objects that ask. A function binds if it
becomes a method when it is an attribute of a class: functions that PyTorch writes in Python do, built-in ones
do not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import ranvier._core as _core
from ranvier.tape.function import by_kernel

# --- functions: those that PyTorch writes in Python, those that are not wrapped, and those that ask modes
# only
_IN_PYTHON = """
    atleast_1d atleast_2d atleast_3d block_diag broadcast_tensors cartesian_prod cdist chain_matmul einsum lu
    meshgrid norm split stft istft tensordot unique unique_consecutive unravel_index pca_lowrank svd_lowrank
"""
_NOT_WRAPPED = """
    are_deterministic_algorithms_enabled broadcast_shapes compile compiled_with_cxx11_abi cond from_dlpack
    get_default_device get_deterministic_debug_mode get_float32_matmul_precision get_rng_state initial_seed
    is_deterministic_algorithms_warn_only_enabled is_storage is_tensor is_warn_always_enabled load lobpcg
    manual_seed save seed set_default_device set_default_dtype set_default_tensor_type
    set_deterministic_debug_mode set_float32_matmul_precision set_printoptions set_rng_state set_warn_always
    typename use_deterministic_algorithms vmap while_loop
"""
_FACTORIES = """
    arange as_tensor asarray bartlett_window blackman_window empty empty_permuted empty_strided eye from_file
    from_numpy frombuffer full hamming_window hann_window kaiser_window linspace logspace ones rand randint
    randn randperm range scalar_tensor tensor tril_indices triu_indices zeros can_cast promote_types
    result_type get_default_dtype get_num_threads
    is_grad_enabled is_inference_mode_enabled set_num_threads is_autocast_enabled
"""
_BUILT_IN = """
    adaptive_avg_pool1d avg_pool1d avg_pool2d avg_pool3d bilinear celu_ channel_shuffle conv1d conv2d conv3d
    conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d cosine_similarity elu_ gelu hardshrink
    hardtanh_ leaky_relu_ linear logsigmoid native_channel_shuffle one_hot pairwise_distance pdist
    pixel_shuffle pixel_unshuffle prelu relu_ rrelu_ scaled_dot_product_attention selu_ softplus softshrink
    threshold_
"""
# The signature of kernels of one tensor that have their function's name; docstrings of kernels begin with it.
_OF_ONE_TENSOR = "(x: Array, out: Array | None = None)"
SPACES = {  # module of PyTorch -> the names that bind; all others of the module do not bind
    "": frozenset(_IN_PYTHON.split()),
    "functional": frozenset(_IN_PYTHON.split()),
    "autograd": frozenset({"backward", "grad"}),
    "fft": frozenset[str](),
    "linalg": frozenset[str](),
    "special": frozenset[str](),
    "nn.functional": None,  # all names except those of _BUILT_IN bind
    "nn.init": None,
}
PLAIN = frozenset(_NOT_WRAPPED.split())
ONLY_MODES = frozenset(_FACTORIES.split())
F_BUILT_IN = frozenset(_BUILT_IN.split())
# --- attributes of Tensor: the method that __torch_function__ gets for an operator, and attributes that do
# not ask
OPERATORS = {
    "__add__": "add",
    "__radd__": "add",
    "__mul__": "mul",
    "__rmul__": "mul",
    "__sub__": "sub",
    "__matmul__": "matmul",
    "__neg__": "neg",
    "__abs__": "abs",
    "__lt__": "lt",
    "__le__": "le",
    "__gt__": "gt",
    "__ge__": "ge",
    "__ne__": "ne",
    "__iadd__": "add_",
    "__isub__": "sub_",
    "__imul__": "mul_",
    "__rand__": "bitwise_and",
    "__ror__": "bitwise_or",
    "__rxor__": "bitwise_xor",
    "__truediv__": "div",
    "__mod__": "remainder",
    "__rmatmul__": "__rmatmul__",
    "__itruediv__": "div_",
    "__imod__": "remainder_",
    "__ifloordiv__": "floor_divide_",
    "ndimension": "dim",
    "nelement": "numel",
}
CALLED = {"__pow__": "pow", "__ipow__": "pow_", "__rtruediv__": "__rdiv__"}  # -> PyTorch's __name__ of it
_OF_ONE = """
    abs neg array array_wrap bool complex contains deepcopy dlpack dlpack_device float format getitem index
    int invert len reduce_ex repr reversed setitem setstate copy
"""
_DUNDERS = """
    and array array_wrap bool complex contains deepcopy dlpack dlpack_device eq float floordiv format
    getitem iand ifloordiv ilshift imod index int invert ior ipow irshift ixor len lshift or pow
    reduce_ex repr reversed rfloordiv rlshift rmod rpow rrshift rshift rsub rtruediv setitem setstate xor copy
"""
_UNARY = {
    f"__{name}__" for name in _OF_ONE.split()
}  # methods of one Tensor, and others that are no operators
SPECIAL = {
    f"__{name}__" for name in _DUNDERS.split()
} | OPERATORS.keys()  # that ask, though they begin with _
BINARY = frozenset(SPECIAL) - _UNARY  # methods of operators of two operands
OWN_GLOBALS = {"__name__": "ranvier."}  # stands for the globals of functions that are written in C
ASK_NOBODY = frozenset({"as_subclass", "edges", "hooks"})


# --- what the core answers without Python
class SimpleOp(NamedTuple):
    """An op that the core calls in place of a function, where no class or mode has to be asked."""

    op: Any  # the op, or its name in the function's module; "" if the kernel has the function's name
    needed: int  # how many arguments it needs
    names: tuple[str, ...]  # of the arguments that it takes


def _unary_kernels() -> list[str]:
    """The names of the kernels of one Tensor."""
    names = []
    for name, kernel in vars(_core).items():
        if (kernel.__doc__ or "").startswith(name + _OF_ONE_TENSOR):
            names.append(name)
    return names


OPS = {  # function -> its op
    **dict.fromkeys(_unary_kernels(), SimpleOp("", 1, ("input",))),
    "softmax": SimpleOp("", 2, ("input", "dim")),
    "log_softmax": SimpleOp("", 2, ("input", "dim")),
    "linear": SimpleOp("_linear", 2, ("input", "weight", "bias")),
    "where": SimpleOp("_WHERE", 3, ("condition", "input", "other")),
}


def find_op(function: Callable[..., Any]) -> SimpleOp | None:
    """The op that simple calls of a function go to, or None."""
    name = function.__name__
    own_globals = getattr(function, "__globals__", OWN_GLOBALS)
    if name not in OPS or not own_globals["__name__"].startswith("ranvier.ops."):
        return None
    simple = OPS[name]
    if simple.op:
        return simple._replace(op=own_globals[simple.op])
    # the class of its nodes: `node` of a module for one op, or the name of the function as a class has it
    node = own_globals.get("node") or own_globals.get(name.title().replace("_", ""))
    return simple._replace(op=by_kernel(getattr(_core, name), node, floats=True)(function))
