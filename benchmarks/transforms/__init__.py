"""Function transforms beside torch.func and JAX: vmap, grad, jacobians, hessians.

``python -m benchmarks.transforms`` measures them.
"""
