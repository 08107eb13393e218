"""The list of all ops: the public names of each module, and when the module is loaded.

Each row is a module, below `ranvier.ops`, and its names. ``cat``: a function. ``sum+``: also a method of
Tensor. ``add*``: also a method in place (``x.add_``). ``.view``: only a method. Activations of
`activation/table.py` need no name here.

Errors of an op begin with its name: `module_of` wraps the functions in `own_error`. The mark in ``add!``
leaves that out for ops of about a microsecond, since the wrapper takes 0.1 us: the core, or the op itself,
puts the name in its errors. Activations go without the wrapper, too. A new op gets the mark only if its time
was measured.

A new op is a name in one of the four tables below, which differ in when a module is loaded.
`ops/__init__.py`, `attach.py` (methods and operators), `nn/functional.py` and docs/toolbox.md follow from the
tables.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import cache
from typing import Any

from ranvier.ops.activation.table import TABLE as ACTIVATIONS
from ranvier.tensors.errors import own_errors

AT_IMPORT = {
    "activation.piecewise": "heaviside+! prelu! relu*!",
    "activation.smooth": "glu! sigmoid*! tanh*!",
    "activation.softmax": "log_softmax+! softmax+!",
    "elementwise.arithmetic": "add*! div*! divide* mul*! multiply* neg*! negative* sub*! subtract*",
    "elementwise.choice": "clamp*! clip* masked_fill*! maximum+! minimum+! nonzero+ where!",
    "elementwise.compare": "eq+! ge+! gt+! le+! lt+! ne+!",
    "elementwise.functions": """
        abs*! absolute* cos*! exp*! expm1*! log*! log1p*! pow*! reciprocal*! round* sign*! sin*! sqrt*!
        square*!
    """,
    "matrix.matmul": "bmm+ dot+ matmul+! mm+ mv+ outer+",
    "reduction.reduce": "amax+! amin+! argmax+! argmin+! max+! mean+! min+! sum+!",
    "shape.index": "gather+! index_select+! masked_select+! take_along_dim+",
    "shape.join": "cat! chunk+! concat concatenate narrow+! select+! split+! stack! unbind+!",
    "shape.reshape": """
        broadcast_to+! expand+! flatten+! flip+! movedim+! permute+! ravel+! reshape+! squeeze*!
        swapaxes* t*! transpose*! unflatten+! unsqueeze*! .expand_as! .reshape_as! .view! .view_as!
    """,
}

# A module is loaded with the first use of one of its names, or with `rv.compile`. Losses are names of
# `ranvier.ops` alone, not of `ranvier`.
WITH_LAYERS = {
    "image.conv": "conv1d! conv2d! conv_transpose1d! conv_transpose2d!",
    "image.pooling": """
        adaptive_avg_pool1d! adaptive_avg_pool2d! adaptive_max_pool1d! adaptive_max_pool2d! avg_pool1d!
        avg_pool2d! max_pool1d! max_pool2d!
    """,
    "image.resample": "interpolate pad!",
    "loss.classification": "cross_entropy! nll",
    "loss.margin": "cosine_embedding margin_ranking triplet_margin",
    "loss.probability": "bce! bce_with_logits! kl_div!",
    "loss.regression": "gaussian_nll huber! l1! mse! poisson_nll smooth_l1!",
    "matrix.einsum": "einsum",
    "matrix.linear": "linear!",
    "neural.attention": "scaled_dot_product_attention",
    "neural.distance": "cosine_similarity pairwise_distance",
    "neural.dropout": "alpha_dropout dropout! dropout2d",
    "neural.embedding": "embedding! one_hot",
    "neural.normalization": "batch_norm! group_norm! instance_norm layer_norm! rms_norm!",
}

# Few networks use these: a module is loaded with the first use of one of its names.
AT_FIRST_USE = {
    "making.draws": """
        bernoulli* binomial multinomial+ normal poisson randint_like .cauchy_ .exponential_ .geometric_
        .log_normal_ .normal_ .random_! .uniform_!
    """,
    "making.rare": "logspace result_type scalar_tensor .new_empty .new_full .new_ones .new_tensor .new_zeros",
    "elementwise.elementary": """
        acos*! acosh*! arccos* arccosh* arcsin* arcsinh* arctan* arctanh* asin*! asinh*! atan*! atanh*!
        ceil*! cosh*! deg2rad*! digamma*! erf*! erfc*! erfinv*! exp2*! fix* floor*! frac*! isneginf+!
        isposinf+! lgamma*! log10*! log2*! logit* mvlgamma* nan_to_num* positive+! rad2deg*! rsqrt* sgn*
        signbit+! sinc*! sinh*! tan* trunc*!
    """,
    "elementwise.logic": """
        bitwise_and*! bitwise_left_shift*! bitwise_not*! bitwise_or*! bitwise_right_shift*!
        bitwise_xor*! greater* greater_equal* isclose+ less* less_equal* logical_and* logical_not*
        logical_or* logical_xor* not_equal*
    """,
    "elementwise.binary": """
        addcdiv* addcmul* arctan2* atan2* clamp_max* clamp_min* copysign* floor_divide*! fmax+ fmin+
        fmod* hypot* ldexp* lerp* logaddexp+ nextafter* remainder*! rsub true_divide* xlogy*
    """,
    "matrix.algebra": """
        addmm* baddbmm* block_diag cdist corrcoef+ cov+ cross+ dist+ ger+ inner+ kron+ renorm* spmm
        tensordot
    """,
    "matrix.cholesky": "cholesky+ cholesky_inverse+ cholesky_solve+ triangular_solve+",
    "matrix.exponential": "matrix_exp+",
    "matrix.factorizations": "lu+ lu_solve+ lu_unpack pinverse+ qr+",
    "matrix.fourier": "istft+ stft+",
    "matrix.inverse": "det+ inverse+ logdet+ matrix_power+ slogdet+",
    "reduction.norms": "all+! any+! count_nonzero+ logsumexp+ norm+ prod+!",
    "reduction.quantiles": """
        bincount+ bucketize histc+ histogram+ isin searchsorted unique+ unique_consecutive+ mode+
        nanmedian+ nanquantile+ quantile+
    """,
    "reduction.sort": "argsort+! cumprod*! cumsum*! kthvalue+ median+ sort+! topk+!",
    "reduction.statistics": """
        aminmax+ cummax+ cummin+ cumulative_trapezoid diff+ logcumsumexp+ nanmean+ nansum+ trapezoid
        trapz
    """,
    "reduction.variance": "std+ std_mean var+ var_mean",
    "shape.arrange": """
        argwhere+ as_strided+ broadcast_shapes broadcast_tensors cartesian_prod combinations diag+
        diag_embed+ fliplr+ flipud+ moveaxis+ rot90+ swapdims+ tril_indices triu_indices .unfold
    """,
    "shape.repeat": "diagonal+! meshgrid repeat+ repeat_interleave+ roll+ tile+ trace+! tril*! triu*!",
    "shape.scatter": "index_add*! scatter*! scatter_add*",
    "shape.stacking": "atleast_1d atleast_2d atleast_3d column_stack hstack row_stack tensor_split+ vstack",
    "shape.write": """
        index_copy* index_fill* index_put* masked_scatter* put* scatter_reduce* take+ .apply_
        .fill_diagonal_ .map_
    """,
}

# Loaded like AT_FIRST_USE, but names of `nn.functional` only.
FUNCTIONAL = {
    "loss.ctc": "ctc_loss",
    "loss.rare": """
        hinge_embedding_loss multi_margin_loss multilabel_margin_loss multilabel_soft_margin_loss
        soft_margin_loss triplet_margin_with_distance_loss
    """,
    "image.sampling": """
        affine_grid channel_shuffle fold grid_sample local_response_norm max_unpool1d max_unpool2d
        pixel_shuffle pixel_unshuffle unfold
    """,
    "neural.rare": """
        bilinear celu_ dropout1d elu_ embedding_bag feature_alpha_dropout gumbel_softmax hardtanh_
        leaky_relu_ lp_pool2d normalize pdist relu_ rrelu rrelu_ selu_ softmin threshold threshold_
    """,
}

# Functions that `attach.py` makes methods, and that go without the wrapper `own_error`, as ops with the mark
# "!".
_QUICK_METHODS = """
    as_tensor backward clone conj contiguous copy_ cpu cuda empty fill_ from_numpy is_complex
    is_floating_point is_inference is_tensor isfinite isinf isnan new numel ones pin_memory register_hook
    register_post_accumulate_grad_hook retain_grad storage storage_offset tensor to type_as
    untyped_storage zero_ zeros
"""

COMPARISONS = ("eq", "ge", "gt", "le", "lt", "ne")
# Python's operators (names without underscores) -> their ops. Operators of REFLECTED also have the method
# ``__radd__``, and ``__iadd__`` if the op has a method in place.
ALONE = {"abs": "abs", "invert": "bitwise_not", "neg": "neg", "pos": "positive"}
ALONE |= {name: name for name in COMPARISONS}
REFLECTED = {
    **{name: name for name in ("add", "matmul", "mul", "pow", "sub")},
    **{name: f"bitwise_{name}" for name in ("and", "or", "xor")},
    **{"lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift"},
    **{"floordiv": "floor_divide", "mod": "remainder", "truediv": "div"},
}
OPERATORS = ALONE | REFLECTED
_SYMBOLS = {op: name for name, op in OPERATORS.items()}


def functions(words: str) -> list[str]:
    """The names of the functions in a row.

    >>> functions("add* cat .view")
    ['add', 'cat']
    """
    return [word.rstrip("+*!") for word in words.split() if word[0] != "."]


def methods(words: str) -> list[str]:
    """The names of the methods of Tensor that follow from a row, with those of operators.

    >>> methods("add* cat .view")
    ['add', 'add_', '__add__', '__radd__', '__iadd__', 'view']
    """
    found = []
    for word in words.split():
        word = word.rstrip("!")
        name = word.strip(".+*")
        in_place = word[-1] == "*"
        found += [name] * (name != word) + [f"{name}_"] * in_place
        if symbol := _SYMBOLS.get(name):
            found.append(f"__{symbol}__")
        if symbol in REFLECTED:
            found += [f"__r{symbol}__"] + [f"__i{symbol}__"] * in_place
    return found


# The modules whose functions are also names of `nn.functional`.
_SUBJECTS = ("activation", "image", "matrix.linear", "neural")
OF_LAYERS = [m for m in AT_IMPORT | WITH_LAYERS if m.startswith(_SUBJECTS)]
ROWS = AT_IMPORT | WITH_LAYERS | AT_FIRST_USE | FUNCTIONAL
_MARKED = [w.strip(".+*!") for words in ROWS.values() for w in words.split() if w[-1] == "!"]
QUICK = " ".join([_QUICK_METHODS, *_MARKED])
LATER = {name: module for module, words in (WITH_LAYERS | AT_FIRST_USE).items() for name in functions(words)}
FUNCTIONAL_OF = {name: module for module, words in FUNCTIONAL.items() for name in functions(words)}


@cache
def module_of(path: str) -> Any:
    """Loads a module of the library, and makes errors of its public functions begin with their names."""
    module = importlib.import_module(path)
    words = ROWS.get(path.removeprefix("ranvier.ops."), "")
    own_errors(vars(module), [*functions(words), *methods(words)], QUICK)
    return module


def functions_of(modules: Iterable[str]) -> dict[str, Any]:
    """Loads modules of the table, and returns their functions by name."""
    found = {}
    for module in modules:
        space = vars(module_of(f"ranvier.ops.{module}"))
        own = [name for name in ACTIVATIONS if name in space and module.startswith("activation")]
        found.update({name: space[name] for name in (*functions(ROWS[module]), *own)})
    return found
