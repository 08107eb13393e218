"""Rule: an optimizer with a rule of the core, whose settings and their defaults are keywords of its class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, ClassVar

from ranvier.optim.optimizer import Optimizer, arguments

_ANNOTATIONS = {float: "float", bool: "bool", tuple: "tuple[float, float]"}


class Rule(Optimizer):
    """Base of the library's optimizers: ``class Lion(Rule, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0)``.

    - ``_by_name``: further settings, which are given by name alone; ``_fixed``: those that are no arguments
    """

    _by_name: ClassVar[Mapping[str, Any]] = {"maximize": False}
    _fixed: ClassVar[Mapping[str, Any]] = {}

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__()
        if settings:
            cls.__init__ = _constructor(settings, cls._by_name)  # type: ignore[method-assign]

    if TYPE_CHECKING:

        def __init__(self, params: Iterable[Any], *settings: Any, **named: Any) -> None: ...


def _constructor(settings: Mapping[str, Any], by_name: Mapping[str, Any]) -> Callable[..., None]:
    """``__init__`` with these settings, and PyTorch's keywords that have no effect."""
    either, by_keyword = Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY
    parameters = [Parameter("self", either), Parameter("params", either, annotation="Iterable[Any]")]
    for row, kind in ((settings, either), (by_name, by_keyword)):
        for name, value in row.items():
            parameters.append(Parameter(name, kind, default=value, annotation=_ANNOTATIONS[type(value)]))
    parameters.append(Parameter("ignored", Parameter.VAR_KEYWORD, annotation="Any"))
    signature = Signature(parameters, return_annotation="None")

    def __init__(self: Rule, *args: Any, **named: Any) -> None:
        bound = signature.bind(self, *args, **named)
        bound.apply_defaults()
        given = bound.arguments
        Optimizer.__init__(self, given["params"], {**arguments(given), **self._fixed}, given["ignored"])

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    return __init__
