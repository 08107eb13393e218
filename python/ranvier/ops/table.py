"""The list of all ops: the public names of each module of ops, and when the module is loaded.

A new op is a name in the row of its module, in one of the three tables below, which differ in when a module
is loaded. The keys are modules below `ranvier.ops`; the fields of a row (`Names`) say where a name is found.
`ops/__init__.py`, `attach.py` (methods and operators), `nn/functional.py` and docs/toolbox.md follow from the
tables. METHODS has the methods of Tensor that are no ops.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import cache
from typing import Any

from ranvier.tensors.errors import own_errors


class Names:
    """The public names of a module, each in one of four texts, by where a user finds it.

    functions: functions only, such as ``cat``.
    methods: functions that are methods of Tensor, too: ``sum`` is also ``x.sum``.
    in_place: functions that are methods, and methods in place: ``add`` is also ``x.add`` and ``x.add_``.
    only_methods: functions of the module that are public as methods of Tensor only: ``x.view``.
    """

    def __init__(
        self, functions: str = "", methods: str = "", in_place: str = "", only_methods: str = ""
    ) -> None:
        self.functions = functions
        self.methods = methods
        self.in_place = in_place
        self.only_methods = only_methods


# A module is loaded with the first use of one of its names. Losses are names of
# `ranvier.ops` alone, not of `ranvier`.
WITH_LAYERS = {
    "activation.piecewise": Names(
        functions="hardshrink hardsigmoid hardswish hardtanh leaky_relu prelu relu6 softshrink",
        methods="heaviside",
        in_place="relu",
    ),
    "activation.smooth": Names(
        functions="celu elu gelu glu logsigmoid mish selu silu softplus softsign tanhshrink",
        in_place="sigmoid tanh",
    ),
    "activation.softmax": Names(methods="log_softmax softmax"),
    "elementwise.arithmetic": Names(in_place="add div divide mul multiply neg negative sub subtract"),
    "elementwise.choice": Names(
        functions="where",
        methods="maximum minimum nonzero",
        in_place="clamp clip masked_fill",
    ),
    "elementwise.compare": Names(methods="eq ge gt le lt ne"),
    "elementwise.functions": Names(
        in_place="abs absolute cos exp expm1 log log1p pow reciprocal round sign sin sqrt square",
    ),
    "matrix.matmul": Names(methods="bmm dot matmul mm mv outer"),
    "reduction.reduce": Names(methods="amax amin argmax argmin max mean min sum"),
    "shape.index": Names(methods="gather index_select masked_select take_along_dim"),
    "shape.join": Names(functions="cat concat concatenate stack", methods="chunk narrow select split unbind"),
    "shape.reshape": Names(
        methods="broadcast_to expand flatten flip movedim permute ravel reshape unflatten",
        in_place="squeeze swapaxes t transpose unsqueeze",
        only_methods="expand_as reshape_as view view_as",
    ),
    "image.conv": Names(functions="conv1d conv2d conv_transpose1d conv_transpose2d"),
    "image.pooling": Names(
        functions="""
            adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d
            avg_pool1d avg_pool2d max_pool1d max_pool2d
        """,
    ),
    "image.resample": Names(functions="interpolate pad"),
    "loss.classification": Names(functions="cross_entropy nll"),
    "loss.margin": Names(functions="cosine_embedding margin_ranking triplet_margin"),
    "loss.probability": Names(functions="bce bce_with_logits kl_div"),
    "loss.regression": Names(functions="gaussian_nll huber l1 mse poisson_nll smooth_l1"),
    "matrix.einsum": Names(functions="einsum"),
    "matrix.linear": Names(functions="linear"),
    "neural.attention": Names(functions="scaled_dot_product_attention"),
    "neural.distance": Names(functions="cosine_similarity pairwise_distance"),
    "neural.dropout": Names(functions="alpha_dropout dropout dropout2d"),
    "neural.embedding": Names(functions="embedding one_hot"),
    "neural.normalization": Names(functions="batch_norm group_norm instance_norm layer_norm rms_norm"),
    "reduction.norms": Names(methods="all any count_nonzero logsumexp norm prod"),
}

# Few networks use these: a module is loaded with the first use of one of its names.
AT_FIRST_USE = {
    "making.draws": Names(
        functions="binomial normal poisson randint_like",
        methods="multinomial",
        in_place="bernoulli",
        only_methods="cauchy_ exponential_ geometric_ log_normal_ normal_ random_ uniform_",
    ),
    "making.rare": Names(
        functions="logspace result_type scalar_tensor",
        only_methods="new_empty new_full new_ones new_tensor new_zeros",
    ),
    "elementwise.elementary": Names(
        methods="isneginf isposinf positive signbit",
        in_place="""
            acos acosh arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh ceil
            cosh deg2rad digamma erf erfc erfinv exp2 fix floor frac lgamma log10 log2 logit
            mvlgamma nan_to_num rad2deg rsqrt sgn sinc sinh tan trunc
        """,
    ),
    "elementwise.logic": Names(
        methods="isclose",
        in_place="""
            bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor
            greater greater_equal less less_equal logical_and logical_not logical_or logical_xor
            not_equal
        """,
    ),
    "elementwise.binary": Names(
        functions="rsub",
        methods="fmax fmin logaddexp",
        in_place="""
            addcdiv addcmul arctan2 atan2 clamp_max clamp_min copysign floor_divide fmod hypot
            ldexp lerp nextafter remainder true_divide xlogy
        """,
    ),
    "matrix.algebra": Names(
        functions="block_diag cdist spmm tensordot",
        methods="corrcoef cov cross dist ger inner kron",
        in_place="addmm baddbmm renorm",
    ),
    "matrix.cholesky": Names(methods="cholesky cholesky_inverse cholesky_solve triangular_solve"),
    "matrix.exponential": Names(methods="matrix_exp"),
    "matrix.factorizations": Names(functions="lu_unpack", methods="lu lu_solve pinverse qr"),
    "matrix.fourier": Names(methods="istft stft"),
    "matrix.inverse": Names(methods="det inverse logdet matrix_power slogdet"),
    "reduction.quantiles": Names(
        functions="bucketize isin searchsorted",
        methods="bincount histc histogram unique unique_consecutive mode nanmedian nanquantile quantile",
    ),
    "reduction.sort": Names(methods="argsort kthvalue median sort topk", in_place="cumprod cumsum"),
    "reduction.statistics": Names(
        functions="cumulative_trapezoid trapezoid trapz",
        methods="aminmax cummax cummin diff logcumsumexp nanmean nansum",
    ),
    "reduction.variance": Names(functions="std_mean var_mean", methods="std var"),
    "shape.arrange": Names(
        functions="broadcast_shapes broadcast_tensors cartesian_prod combinations tril_indices triu_indices",
        methods="argwhere as_strided diag diag_embed fliplr flipud moveaxis rot90 swapdims",
        only_methods="unfold",
    ),
    "shape.repeat": Names(
        functions="meshgrid",
        methods="diagonal repeat repeat_interleave roll tile trace",
        in_place="tril triu",
    ),
    "shape.scatter": Names(in_place="index_add scatter scatter_add"),
    "shape.stacking": Names(
        functions="atleast_1d atleast_2d atleast_3d column_stack hstack row_stack vstack",
        methods="tensor_split",
    ),
    "shape.write": Names(
        methods="take",
        in_place="index_copy index_fill index_put masked_scatter put scatter_reduce",
        only_methods="apply_ fill_diagonal_ map_",
    ),
}

# Loaded like AT_FIRST_USE, but names of `nn.functional` only.
FUNCTIONAL = {
    "loss.ctc": Names(functions="ctc_loss"),
    "loss.rare": Names(
        functions="""
            hinge_embedding_loss multi_margin_loss multilabel_margin_loss
            multilabel_soft_margin_loss soft_margin_loss triplet_margin_with_distance_loss
        """,
    ),
    "image.sampling": Names(
        functions="""
            affine_grid channel_shuffle fold grid_sample local_response_norm max_unpool1d
            max_unpool2d pixel_shuffle pixel_unshuffle unfold
        """,
    ),
    "neural.rare": Names(
        functions="""
            bilinear celu_ dropout1d elu_ embedding_bag feature_alpha_dropout gumbel_softmax
            hardtanh_ leaky_relu_ lp_pool2d normalize pdist relu_ rrelu rrelu_ selu_ softmin
            threshold threshold_
        """,
    ),
}

# Module -> its functions that become methods of Tensor, although they are no ops. Of modules with an empty
# text only the errors get names.
METHODS = {
    "ranvier.ops.making.check": "allclose conj equal is_inference isfinite isinf isnan to_dense",
    "ranvier.ops.making.convert": """
        clone contiguous cpu cuda new pin_memory storage storage_offset to type_as untyped_storage
    """,
    "ranvier.ops.making.creation": "",
    "ranvier.ops.making.random": "",
    "ranvier.tape.backpropagation": "backward",
    "ranvier.tape.hooks": "register_hook register_post_accumulate_grad_hook retain_grad",
    "ranvier.tape.inplace": "copy_ fill_ zero_",
    "ranvier.tape.other_memory": "resize_ resize_as_ set_",
}

# Errors of an op begin with its name: `module_of` wraps the functions in `own_error`, which takes 0.1 us for
# each call. These go without the wrapper, because they take about a microsecond and name themselves in their
# errors: the core does it, or the op itself. A new op gets into this list only if its time was measured.
# The second list is of activations, the third of METHODS.
NAME_THEMSELVES = """
    abs acos acosh adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d add all
    amax amin any argmax argmin argsort asin asinh atan atanh avg_pool1d avg_pool2d batch_norm bce
    bce_with_logits bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor
    broadcast_to cat ceil chunk clamp conv1d conv2d conv_transpose1d conv_transpose2d cos cosh
    cross_entropy cumprod cumsum deg2rad diagonal digamma div dropout embedding eq erf erfc erfinv exp
    exp2 expand expand_as expm1 flatten flip floor floor_divide frac gather ge glu group_norm gt heaviside
    huber index_add index_select isneginf isposinf kl_div l1 layer_norm le lgamma linear log log10 log1p
    log2 log_softmax lt masked_fill masked_select matmul max max_pool1d max_pool2d maximum mean min
    minimum movedim mse mul narrow ne neg pad permute positive pow prelu prod rad2deg random_ ravel
    reciprocal relu remainder reshape reshape_as rms_norm scatter select sigmoid sign signbit sin sinc
    sinh smooth_l1 softmax sort split sqrt square squeeze stack sub sum t tanh topk trace transpose tril
    triu trunc unbind unflatten uniform_ unsqueeze view view_as where

    celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish relu6 selu silu
    softplus softshrink softsign tanhshrink

    as_tensor backward clone conj contiguous copy_ cpu cuda empty fill_ from_numpy is_complex
    is_floating_point is_inference is_tensor isfinite isinf isnan new numel ones pin_memory register_hook
    register_post_accumulate_grad_hook retain_grad storage storage_offset tensor to type_as
    untyped_storage zero_ zeros
"""

COMPARISONS = ("eq", "ge", "gt", "le", "lt", "ne")
# Python's operators (names without underscores) -> their ops
ALONE = {"abs": "abs", "invert": "bitwise_not", "neg": "neg", "pos": "positive"}
ALONE |= {name: name for name in COMPARISONS}
# These also have the method ``__radd__``, and ``__iadd__`` if the op has a method in place.
REFLECTED = {
    "add": "add",
    "and": "bitwise_and",
    "floordiv": "floor_divide",
    "lshift": "bitwise_left_shift",
    "matmul": "matmul",
    "mod": "remainder",
    "mul": "mul",
    "or": "bitwise_or",
    "pow": "pow",
    "rshift": "bitwise_right_shift",
    "sub": "sub",
    "truediv": "div",
    "xor": "bitwise_xor",
}
OPERATORS = ALONE | REFLECTED
_OPERATOR_OF_OP = {op: operator for operator, op in OPERATORS.items()}


def function_names(names: Names) -> list[str]:
    """The names of the functions of a module.

    >>> function_names(Names(functions="cat", in_place="add", only_methods="view"))
    ['cat', 'add']
    """
    return [*names.functions.split(), *names.methods.split(), *names.in_place.split()]


def method_names(names: Names) -> list[str]:
    """The names of the methods of Tensor that follow from the names of a module, with those of operators.

    >>> method_names(Names(functions="cat", in_place="add", only_methods="view"))
    ['view', 'add', 'add_', '__add__', '__radd__', '__iadd__']
    """
    found = names.only_methods.split()
    for op in names.methods.split():
        found += [op, *_operator_methods(op)]
    for op in names.in_place.split():
        operators = _operator_methods(op, in_place=True)
        found += [op, f"{op}_", *operators]
    return found


def _operator_methods(op: str, in_place: bool = False) -> list[str]:
    """The special methods of the operator that the op computes: none for an op without an operator."""
    operator = _OPERATOR_OF_OP.get(op)
    if operator is None:
        return []
    found = [f"__{operator}__"]
    if operator in REFLECTED:
        found.append(f"__r{operator}__")
        if in_place:
            found.append(f"__i{operator}__")
    return found


ROWS = WITH_LAYERS | AT_FIRST_USE | FUNCTIONAL

# The modules whose functions are also names of `nn.functional`.
LAYER_MODULES = [
    module for module in WITH_LAYERS if module.startswith(("activation", "image", "matrix.linear", "neural"))
]


def _module_of_each(table: dict[str, Names]) -> dict[str, str]:
    """The module of each function in a table."""
    modules = {}
    for module, names in table.items():
        for name in function_names(names):
            modules[name] = module
    return modules


# Function -> its module, for ops/__init__.py and nn/functional.py, which load it when the name is used first.
LATER = _module_of_each(WITH_LAYERS | AT_FIRST_USE)
FUNCTIONAL_OF = _module_of_each(FUNCTIONAL)


@cache
def module_of(path: str) -> Any:
    """Loads a module of the library, and makes errors of its public functions begin with their names."""
    module = importlib.import_module(path)
    row = ROWS.get(path.removeprefix("ranvier.ops."), Names())
    names = [*function_names(row), *method_names(row)]
    if path in METHODS:
        names += [*METHODS[path].split(), *getattr(module, "__all__", ())]
    own_errors(vars(module), names, NAME_THEMSELVES)
    return module


def functions_of(modules: Iterable[str]) -> dict[str, Any]:
    """Loads modules of the tables, and returns their functions by name."""
    found = {}
    for module in modules:
        namespace = vars(module_of(f"ranvier.ops.{module}"))
        for name in function_names(ROWS[module]):
            found[name] = namespace[name]
    return found
