"""Ops whose modules are loaded with the first use of one of their names, since few networks use them.

So ``import ranvier`` does not load them. A name in OPS is one of ``ranvier.ops`` and ``ranvier``; with + a
method of Tensor, too, with * also a method in place (``x.addmm_``); with a dot before it, a method alone.
FUNCTIONAL_NAMES are those of ``ranvier.nn.functional`` alone.
"""

OPS = {
    "matrix.algebra": """
        addmm* baddbmm* block_diag cdist corrcoef+ cov+ cross+ dist+ ger+ inner+ kron+ renorm* spmm tensordot
    """,
    "reduction.variance": """
        std+ std_mean var+ var_mean
    """,
    "reduction.sort": """
        argsort+ cumprod* cumsum* kthvalue+ median+ sort+ topk+
    """,
    "shape.repeat": """
        diagonal+ meshgrid repeat+ repeat_interleave+ roll+ tile+ trace+ tril* triu*
    """,
    "shape.scatter": """
        index_add* scatter* scatter_add*
    """,
    "shape.arrange": """
        argwhere+ as_strided+ broadcast_shapes broadcast_tensors cartesian_prod combinations diag+ diag_embed+
        fliplr+ flipud+ moveaxis+ rot90+ swapdims+ tril_indices triu_indices .unfold
    """,
    "reduction.quantiles": """
        bincount+ bucketize histc+ histogram+ isin searchsorted unique+ unique_consecutive+ mode+
        nanmedian+ nanquantile+ quantile+
    """,
    "elementwise.elementary": """
        acos* acosh* arccos* arccosh* arcsin* arcsinh* arctan* arctanh* asin* asinh* atan* atanh* ceil*
        cosh* deg2rad* digamma* erf* erfc* erfinv* exp2* fix* floor* frac* isneginf+ isposinf+ lgamma*
        log10* log2* logit* mvlgamma* nan_to_num* positive+ rad2deg* rsqrt* sgn* signbit+ sinc* sinh*
        tan* trunc* .__pos__
    """,
    "creation": """
        logspace result_type scalar_tensor bernoulli* binomial multinomial+ normal poisson randint_like
        .new_empty .new_full .new_ones .new_tensor .new_zeros .cauchy_ .exponential_ .geometric_ .log_normal_
        .normal_ .random_ .uniform_
    """,
    "elementwise.logic": """
        bitwise_and* bitwise_left_shift* bitwise_not* bitwise_or* bitwise_right_shift* bitwise_xor*
        greater* greater_equal* isclose+ less* less_equal* logical_and* logical_not* logical_or*
        logical_xor* not_equal* .__and__ .__iand__ .__ilshift__ .__invert__ .__ior__ .__irshift__ .__ixor__
        .__lshift__ .__or__ .__rand__ .__rlshift__ .__ror__ .__rrshift__ .__rshift__ .__rxor__ .__xor__
    """,
    "elementwise.pairs": """
        addcdiv* addcmul* arctan2* atan2* clamp_max* clamp_min* copysign* floor_divide* fmax+
        fmin+ fmod* hypot* ldexp* lerp* logaddexp+ nextafter* remainder* rsub true_divide*
        xlogy* .__floordiv__ .__ifloordiv__ .__imod__ .__mod__ .__rfloordiv__ .__rmod__
    """,
    "matrix.cholesky": """
        cholesky+ cholesky_inverse+ cholesky_solve+ triangular_solve+
    """,
    "matrix.inverse": """
        det+ inverse+ logdet+ matrix_power+ slogdet+
    """,
    "matrix.exponential": """
        matrix_exp+
    """,
    "matrix.fourier": """
        istft+ stft+
    """,
    "matrix.factors": """
        lu+ lu_solve+ lu_unpack pinverse+ qr+
    """,
    "shape.write": """
        index_copy* index_fill* index_put* masked_scatter* put* scatter_reduce* take+ .apply_
        .fill_diagonal_ .map_
    """,
    "shape.stacks": """
        atleast_1d atleast_2d atleast_3d column_stack hstack row_stack tensor_split+ vstack
    """,
    "reduction.statistics": """
        aminmax+ cummax+ cummin+ cumulative_trapezoid diff+ logcumsumexp+ nanmean+ nansum+ trapezoid trapz
    """,
}

FUNCTIONAL_NAMES = {
    "loss.ctc": """
        ctc_loss
    """,
    "loss.rare": """
        hinge_embedding_loss multi_margin_loss multilabel_margin_loss multilabel_soft_margin_loss
        soft_margin_loss
    """,
    "image.sampling": """
        affine_grid fold grid_sample local_response_norm max_unpool1d max_unpool2d
        pixel_shuffle pixel_unshuffle unfold
    """,
    "neural.functional": """
        bilinear celu_ elu_ embedding_bag gumbel_softmax hardtanh_ leaky_relu_ lp_pool2d
        normalize pdist relu_ rrelu rrelu_ selu_ threshold threshold_
    """,
}

MODULE_OF: dict[str, str] = {}
TENSOR_METHODS: dict[str, str] = {}
for _module, _words in OPS.items():
    _names = [_word.rstrip("+*") for _word in _words.split()]
    MODULE_OF.update({_name: _module for _name in _names if _name[0] != "."})
    _methods = [_word.strip(".+*") for _word in _words.split() if _word[0] == "." or _word[-1] in "+*"]
    _methods += [f"{_word[:-1]}_" for _word in _words.split() if _word[-1] == "*"]
    TENSOR_METHODS[_module] = " ".join(_methods)
FUNCTIONAL_OF = {name: module for module, names in FUNCTIONAL_NAMES.items() for name in names.split()}
