"""The tape: Functions, which record their calls, and backward, which runs through them."""

import ranvier.tape.forms as _forms  # noqa: F401  # gives classes of Functions their `apply`
