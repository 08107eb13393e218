"""einops: rearranged and reduced tensors, its layers, and their gradients."""

import torch
from einops import einsum, pack, rearrange, reduce, repeat, unpack
from einops.layers.torch import EinMix, Rearrange, Reduce
from torch import nn
from weights import fill, normal


def job():
    """A network of patches, ten steps."""
    x = torch.from_numpy(normal(32, 3, 16, 16))
    network = nn.Sequential(
        Rearrange("b c (h p) (w q) -> b (h w) (c p q)", p=4, q=4),
        EinMix("b t c -> b t d", weight_shape="c d", bias_shape="d", c=48, d=32),
        nn.GELU(),
        Reduce("b t d -> b d", "mean"),
        nn.Linear(32, 4),
    )
    fill(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = network(x).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    tokens, shapes = pack([x, x[:, 0]], "b *")
    return {
        "losses": losses,
        "rearranged": rearrange(x, "b c (h p) w -> (b p) w h c", p=2)[::9, ::5],
        "repeated": repeat(reduce(x, "b c h w -> b c", "max"), "b c -> b (c r)", r=2)[::9],
        "einsum": einsum(x, x, "b c h w, b c v w -> b h v")[::9, ::5],
        "unpacked": unpack(tokens, shapes, "b *")[1][::9, ::5],
    }
