"""Ops that few networks use, by the modules that are loaded with the first use of one of their names.

So ``import ranvier`` does not load them. NAMES are names of ``ranvier.ops`` and ``ranvier``, TENSOR_METHODS
those of Tensor, FUNCTIONAL_NAMES those of ``ranvier.nn.functional`` alone. A name that ends in _ changes the
tensor in place.
"""

NAMES = {
    "matrix.algebra": """
        addbmm addmm addmv addr baddbmm block_diag cdist corrcoef cov cross dist ger inner kron
        renorm spmm tensordot vdot
    """,
    "shape.arrange": """
        argwhere broadcast_shapes broadcast_tensors cartesian_prod combinations diag diag_embed
        diagflat fliplr flipud moveaxis rot90 swapdims tril_indices triu_indices
    """,
    "reduction.quantiles": """
        bincount bucketize histc histogram isin searchsorted unique unique_consecutive
        mode msort nanmedian nanquantile quantile
    """,
    "elementwise.elementary": """
        acos acosh arccos arccosh arcsin arcsinh arctan arctanh asin asinh atan atanh ceil cosh
        deg2rad digamma erf erfc erfinv exp2 fix floor frac isneginf isposinf lgamma log10 log2
        logit nan_to_num positive rad2deg rsqrt sgn signbit sinc sinh tan trunc
    """,
    "creation": """
        logspace scalar_tensor
        bernoulli multinomial normal poisson randint_like
    """,
    "elementwise.logic": """
        bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor gcd
        greater greater_equal isclose lcm less less_equal logical_and logical_not logical_or
        logical_xor not_equal
    """,
    "elementwise.pairs": """
        addcdiv addcmul arctan2 atan2 clamp_max clamp_min copysign float_power floor_divide fmax
        fmin fmod hypot ldexp lerp logaddexp logaddexp2 nextafter remainder rsub true_divide xlogy
    """,
    "matrix.inverse": """
        cholesky cholesky_solve det inverse logdet matrix_power slogdet
    """,
    "matrix.factors": """
        lu lu_unpack pinverse qr
    """,
    "shape.write": """
        diagonal_scatter index_copy index_fill index_put masked_scatter put scatter_reduce
        select_scatter slice_scatter take
    """,
    "shape.stacks": """
        atleast_1d atleast_2d atleast_3d column_stack dsplit dstack hsplit hstack row_stack
        tensor_split vsplit vstack
    """,
    "reduction.statistics": """
        aminmax cummax cummin cumulative_trapezoid diff logcumsumexp nanmean nansum trapezoid trapz
    """,
}

TENSOR_METHODS = {
    "matrix.algebra": """
        addbmm addbmm_ addmm addmm_ addmv addmv_ addr addr_ baddbmm baddbmm_ corrcoef cov cross dist
        ger inner kron renorm renorm_ vdot
    """,
    "shape.arrange": """
        argwhere diag diag_embed diagflat fliplr flipud moveaxis rot90 swapdims unfold
    """,
    "reduction.quantiles": """
        bincount histc histogram unique unique_consecutive
        mode msort nanmedian nanquantile quantile
    """,
    "elementwise.elementary": """
        __pos__ acos acos_ acosh acosh_ arccos arccos_ arccosh arccosh_ arcsin arcsin_ arcsinh
        arcsinh_ arctan arctan_ arctanh arctanh_ asin asin_ asinh asinh_ atan atan_ atanh atanh_
        ceil ceil_ cosh cosh_ deg2rad deg2rad_ digamma digamma_ erf erf_ erfc erfc_ erfinv erfinv_
        exp2 exp2_ fix fix_ floor floor_ frac frac_ isneginf isposinf lgamma lgamma_ log10 log10_
        log2 log2_ logit logit_ nan_to_num nan_to_num_ positive rad2deg rad2deg_ rsqrt rsqrt_ sgn
        sgn_ signbit sinc sinc_ sinh sinh_ tan tan_ trunc trunc_
    """,
    "creation": """
        new_empty new_full new_ones new_tensor new_zeros
        bernoulli bernoulli_ exponential_ geometric_ log_normal_ multinomial normal_ random_
        uniform_
    """,
    "elementwise.logic": """
        __and__ __invert__ __lshift__ __or__ __rand__ __rlshift__ __ror__ __rrshift__ __rshift__ __rxor__
        __xor__
        bitwise_and bitwise_and_ bitwise_left_shift bitwise_left_shift_ bitwise_not bitwise_not_
        bitwise_or bitwise_or_ bitwise_right_shift bitwise_right_shift_ bitwise_xor bitwise_xor_ gcd
        gcd_ greater greater_ greater_equal greater_equal_ isclose lcm lcm_ less less_ less_equal
        less_equal_ logical_and logical_and_ logical_not logical_not_ logical_or logical_or_
        logical_xor logical_xor_ not_equal not_equal_
    """,
    "matrix.inverse": """
        cholesky cholesky_solve det inverse logdet matrix_power slogdet
    """,
    "matrix.factors": """
        lu pinverse qr
    """,
    "elementwise.pairs": """
        __floordiv__ __ifloordiv__ __imod__ __mod__ __rfloordiv__ __rmod__
        addcdiv addcdiv_ addcmul addcmul_ arctan2 arctan2_ atan2 atan2_ clamp_max clamp_max_
        clamp_min clamp_min_ copysign copysign_ float_power float_power_ floor_divide floor_divide_
        fmax fmin fmod fmod_ hypot hypot_ ldexp ldexp_ lerp lerp_ logaddexp logaddexp2 nextafter
        nextafter_ remainder remainder_ true_divide true_divide_ xlogy xlogy_
    """,
    "shape.write": """
        diagonal_scatter fill_diagonal_ index_copy index_copy_ index_fill index_fill_ index_put
        index_put_ masked_scatter masked_scatter_ put put_ scatter_reduce scatter_reduce_ select_scatter
        slice_scatter take
    """,
    "shape.stacks": """
        dsplit hsplit tensor_split vsplit
    """,
    "reduction.statistics": """
        aminmax cummax cummin diff logcumsumexp nanmean nansum
    """,
}

FUNCTIONAL_NAMES = {
    "image.sampling": """
        affine_grid channel_shuffle fold grid_sample local_response_norm max_unpool1d max_unpool2d
        pixel_shuffle pixel_unshuffle unfold
    """,
    "neural.functional": """
        bilinear celu_ elu_ embedding_bag gumbel_softmax hardtanh_ leaky_relu_ lp_pool1d lp_pool2d
        normalize pdist relu_ rrelu rrelu_ selu_ threshold threshold_
    """,
    "loss.ctc": """
        ctc_loss multilabel_margin_loss multilabel_soft_margin_loss triplet_margin_with_distance_loss
    """,
}

MODULE_OF = {name: module for module, names in NAMES.items() for name in names.split()}
FUNCTIONAL_OF = {name: module for module, names in FUNCTIONAL_NAMES.items() for name in names.split()}
