"""The tape: Functions, which record their calls, and backward, which runs through them."""

import ranvier.tape.context as _context  # noqa: F401  # makes `Function` take the form of PyTorch's, too
