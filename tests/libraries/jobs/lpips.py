"""lpips: distances of pictures, with new weights."""

import contextlib
import io

import torch
from lpips import LPIPS
from weights import fill, normal


def job():
    """Two of its networks, and the gradient of a distance."""
    a, b = (torch.from_numpy(normal(1, 3, 64, 64, seed=i)).tanh() for i in range(2))
    results = {}
    for net in ("squeeze", "alex"):
        with contextlib.redirect_stdout(io.StringIO()):
            distance = fill(LPIPS(pretrained=False, pnet_rand=True, net=net, verbose=False)).eval()
        x = a.clone().requires_grad_()
        results[net] = distance(x, b)
        results[net].sum().backward()
        results[f"{net}_slope"] = x.grad[0, :, ::30, ::30]
    return results
