"""vector-quantize-pytorch: quantized vectors, their codes, the losses and gradients."""

import torch
import vector_quantize_pytorch as vq
from weights import fill, normal


def job():
    """Each kind on one batch."""
    kinds = {
        "plain": vq.VectorQuantize(16, 12),
        "cosine": vq.VectorQuantize(16, 12, use_cosine_sim=True),
        "low": vq.VectorQuantize(16, 12, codebook_dim=4),
        "heads": vq.VectorQuantize(16, 12, heads=2, separate_codebook_per_head=True),
        "learned": vq.VectorQuantize(16, 12, learnable_codebook=True, ema_update=False),
        "residual": vq.ResidualVQ(dim=16, num_quantizers=2, codebook_size=12),
        "finite": vq.FSQ([8, 5, 5, 3], dim=16),
        "free": vq.LFQ(codebook_size=16, dim=16),
        "simple": vq.SimVQ(dim=16, codebook_size=12),
    }
    answer = {}
    for name, layer in kinds.items():
        for buffer in layer.buffers():  # codes that were drawn
            if buffer.is_floating_point() and buffer.ndim > 1:
                buffer.copy_(torch.from_numpy(normal(*buffer.shape, seed=7)))
        x = torch.from_numpy(normal(2, 10, 16)).requires_grad_()
        out, codes, *loss = fill(layer)(x)
        (out.square().sum() + sum(part.sum() for part in loss)).backward()
        answer |= {name: out, f"{name} codes": codes, f"{name} slope": x.grad}
    return answer
