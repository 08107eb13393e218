"""In a block of autocast ops compute in the block's dtype, in float32, or as outside: PyTorch's lists."""

import ranvier as rv

from properties.every import NO_HALVES, every_op, outside, weights_for

LOWER = """
    matmul mm bmm addmm baddbmm addbmm einsum tensordot inner cov vecdot chain_matmul multi_dot linear
    conv1d conv2d
    conv3d conv_transpose1d conv_transpose2d prelu scaled_dot_product_attention Linear Conv1d Conv2d
    ConvTranspose1d
    ConvTranspose2d PReLU RNN LSTM RNNCell MultiheadAttention
    affine_grid Sequential linalg_vecdot cov_weighted corrcoef attention_with_dropout
"""
FLOAT32 = """
    mse l1 smooth_l1 huber kl_div cross_entropy nll bce bce_with_logits poisson_nll hinge_embedding
    margin_ranking
    triplet_margin cosine_embedding soft_margin multi_margin multilabel_margin ctc prod trace cdist quantile
    nanquantile grid_sample max_unpool1d max_unpool2d
    kl_div_of_logarithms bce_with_weights bce_of_logits_with_weights ctc_loss hinge_embedding_loss
    soft_margin_loss multi_margin_loss multilabel_margin_loss BCELoss BCEWithLogitsLoss CosineEmbeddingLoss
    CrossEntropyLoss HuberLoss KLDivLoss L1Loss MSELoss MarginRankingLoss NLLLoss PoissonNLLLoss SmoothL1Loss
    TripletMarginLoss CTCLoss grid_sample_nearest
    grid_sample_bicubic MaxUnpool1d MaxUnpool2d ReflectionPad1d ReflectionPad2d
    ReplicationPad1d ReplicationPad2d
"""
LEAVES_OUT = {
    "matrix_power pad local_response_norm LocalResponseNorm einsum inner lu_solve lu_unpack": "by mode",
}


def dtypes(ys):
    return [y.dtype for y in ys]


@every_op(LEAVES_OUT, only=outside(NO_HALVES))
def test_autocast(sample):
    for dtype in (rv.float32, rv.float64, rv.bfloat16):
        outside = dtypes(sample.tensors(dtype)())
        with rv.autocast("cpu"):
            inside = dtypes(sample.tensors(dtype)())
        name = sample.op.name
        listed = {rv.float32, rv.bfloat16}
        wanted = rv.bfloat16 if name in LOWER.split() else rv.float32 if name in FLOAT32.split() else None
        assert inside == [wanted if wanted and y in listed else y for y in outside], str(dtype)


@every_op(
    {"det logdet slogdet linalg_pinv linalg_matrix_norm": "not listed"}, only=lambda op: op.name in NO_HALVES
)
def test_autocast_without_halves(sample):
    """What has no halves computes them in float32 there."""
    outside = [rv.float32 if y.is_floating_point() else y.dtype for y in sample.tensors(rv.float32)()]
    with rv.autocast("cpu"):
        assert dtypes(sample.tensors(rv.bfloat16)()) == outside


def gradients(call, of_leaf, block):
    """What the call gives of float32 leaves, and their gradients, as bits."""
    leaves = [x.detach().requires_grad_() for x in call.leaves]
    with block:
        ys = [y for y in call.with_leaves(*map(of_leaf, leaves)) if y.requires_grad]
    slopes = rv.autograd.grad(ys, leaves, [weights_for(y, 1) for y in ys])
    return [(x.dtype, x.float().numpy(force=True).tobytes()) for x in (*ys, *slopes)]


OF_SEVERAL = """
    inner einsum cov cov_weighted corrcoef scaled_dot_product_attention Conv2d MultiheadAttention
"""


@every_op({OF_SEVERAL: "of several ops, by mode"}, only=lambda op: op.name in LOWER.split())
def test_autocast_gradients(sample):
    """They are those of explicit casts."""
    call = sample.tensors(rv.float32)
    for dtype in (rv.bfloat16, rv.float16):
        found = gradients(call, lambda x: x, rv.autocast("cpu", dtype))
        casts = gradients(call, lambda x, dtype=dtype: x.to(dtype), rv.autocast("cpu", enabled=False))
        assert found == casts
