"""Derivatives of second and third order along a direction, by forward mode, are those of nested gradients."""

import numpy as np
import ranvier as rv

from properties.every import every_op, floats, is_smooth, weights_for

REFUSED = """
    amax amin aminmax atan2 batch_norm batch_norm_of_running_statistics BatchNorm1d BatchNorm2d bce
    bce_of_logits_with_weights bce_with_logits bce_with_weights BCELoss BCEWithLogitsLoss bernoulli
    cholesky cholesky_inverse cholesky_solve clamp_max clamp_min clip conv1d Conv1d Conv2d conv2d
    conv_transpose1d conv_transpose2d ConvTranspose1d ConvTranspose2d copysign cross_entropy
    CrossEntropyLoss ctc_loss CTCLoss det diag diag_embed digamma div floor_divide fmax fmin fmod
    group_norm GroupNorm GRU GRUCell heaviside huber HuberLoss hypot index_put instance_norm
    InstanceNorm1d InstanceNorm2d inverse kl_div kl_div_of_logarithms KLDivLoss l1 L1Loss layer_norm
    LayerNorm ldexp linalg_cholesky linalg_eigvalsh linalg_inv linalg_lstsq linalg_matrix_norm
    linalg_pinv linalg_qr linalg_solve linalg_solve_triangular linalg_svdvals linalg_vector_norm logdet
    LSTM LSTMCell lu lu_solve lu_unpack matrix_exp matrix_power max median min mse MSELoss
    MultiheadAttention multilabel_soft_margin_loss nanmedian nextafter nll NLLLoss norm normal
    pairwise_distance pinverse poisson PReLU prelu qr remainder rms_norm RMSNorm RNN RNNCell round
    scaled_dot_product_attention attention_with_dropout Sequential
    scatter_reduce setitem sign slogdet smooth_l1 SmoothL1Loss SyncBatchNorm
    Transformer TransformerDecoderLayer TransformerEncoderLayer triangular_solve tril triu xlogy
"""  # in one of their samples, without derivatives of higher order


def nested(function, leaves, directions, order):
    """Derivatives of the results at s = 0 with leaves + s directions, weighted."""
    s = rv.zeros((), dtype=rv.float64, requires_grad=True)
    ys = function(*(x + s * v for x, v in zip(leaves, directions, strict=True)))
    total = sum((y * weights_for(y, 1)).sum() for y in ys)
    found = []
    for _ in range(order):
        (total,) = rv.autograd.grad(total, s, create_graph=True, allow_unused=True, materialize_grads=True)
        found.append(total.item())
        if not total.requires_grad:
            total = s * 0
    return found


@every_op({}, of=is_smooth)
def test_jet(sample):
    call = sample.tensors(rv.float64)
    moving = [i for i, y in enumerate(floats(call())) if y.requires_grad]
    if not moving:
        return
    leaves = tuple(x.detach() for x in call.leaves)
    directions = [weights_for(x, 2) for x in leaves]

    def function(*xs):
        ys = floats(call.with_leaves(*xs))
        return tuple(ys[i] for i in moving)

    try:
        _, terms = rv.func.jet(function, leaves, tuple((v, 0.0, 0.0) for v in directions))
    except NotImplementedError as error:
        text = str(error)
        assert text.startswith("[")
        assert sample.op.name in REFUSED.split(), text
        return
    for order, wanted in enumerate(nested(function, leaves, directions, 3)):
        weighted = [(t[order] * weights_for(t[order], 1)).numpy() for t in terms]
        size = 1 + sum(np.abs(w).sum() for w in weighted)
        found = sum(w.sum() for w in weighted)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-9 * size, err_msg=str(order))
