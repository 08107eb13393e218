"""Functions of functions and of modules, with the arguments of ``torch.func``."""

from ranvier.func.call import functional_call
from ranvier.func.mapped import vmap
from ranvier.func.stacks import Stack, stack, unstack
from ranvier.func.transforms import grad, grad_and_value, hessian, jacfwd, jacrev, jet, jvp, laplacian, vjp

__all__ = [
    "Stack", "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jet", "jvp",
    "laplacian", "stack", "unstack", "vjp", "vmap",
]  # fmt: skip
