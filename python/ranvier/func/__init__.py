"""Functions of functions and of modules, with the arguments of ``torch.func``."""

from ranvier.func.call import functional_call
from ranvier.func.transforms import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, vjp

__all__ = ["functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "vjp"]
