"""Functions of functions and of modules, with the arguments of ``torch.func``."""

from ranvier.func.call import functional_call
from ranvier.func.derivatives import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, vjp
from ranvier.func.laplacians import laplacian
from ranvier.func.module_stack import Stack, stack, unstack
from ranvier.func.taylor_series import jet
from ranvier.func.vectorized_map import vmap

__all__ = [
    "Stack", "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jet", "jvp",
    "laplacian", "stack", "unstack", "vjp", "vmap",
]  # fmt: skip
