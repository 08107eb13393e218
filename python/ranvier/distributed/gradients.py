"""Mean gradients of a module over ranks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from weakref import ref

import numpy as np

import ranvier.autograd.hooks as hooks
from ranvier.autograd import Tensor, wrap
from ranvier.autograd.observe import refuse
from ranvier.distributed.collectives import broadcast, mark
from ranvier.distributed.exchange import Flat
from ranvier.distributed.messages import in_place
from ranvier.distributed.ranks import World, agree
from ranvier.distributed.shared import Sum

__all__ = ["MeanGradients"]

NAME = "DistributedDataParallel"


class MeanGradients:
    """Exchanges the gradients of a module's parameters after each backward that has reached one of them.

    They are copied to one buffer for each dtype, and the means are copied from it: a program may keep them.
    The buffer begins with a number for each parameter: how many ranks have a gradient for it.

    enabled: whether they are exchanged (`no_sync`).
    """

    def __init__(self, module: Any, here: World) -> None:
        self.enabled, self._due, self.here = True, False, here
        # Of each parameter, and for each dtype. A parameter keeps this object by its hook; this keeps none.
        self._layout: list[tuple[Any, Any]] = []
        self._parts: list[tuple[list[Any], Flat, Sum]] = []
        self._hooks: list[Any] = []
        self.renew(module)
        self.take_from_first([*module.parameters(), *module.buffers()])

    def renew(self, module: Any) -> None:
        """Take the parameters that require gradients now; every rank calls it."""
        parameters = [p for p in module.parameters() if p.requires_grad]
        pairs = zip(parameters, self._layout)  # noqa: B905
        same = all(p is of() and p._array.dtype == dtype for p, (of, dtype) in pairs)
        if same and len(parameters) == len(self._layout):
            return
        shapes = " ".join(f"{p.dtype}{tuple(p.shape)}" for p in parameters)
        agree(self.here, NAME, f"of {len(parameters)} parameters, {mark(shapes)}")
        for hook in self._hooks:
            hook.remove()
        self._layout, self._parts = [(ref(p), p._array.dtype) for p in parameters], []
        for dtype in {p._array.dtype: None for p in parameters}:
            own = [p for p in parameters if p._array.dtype == dtype]
            flat = Flat([p._array for p in own], dtype, len(own))
            self._parts.append(([ref(p) for p in own], flat, Sum(self.here, flat.values, NAME)))
        self._hooks = [p.register_post_accumulate_grad_hook(self._reached) for p in parameters]

    def take_from_first(self, tensors: Iterable[Any]) -> None:
        """Give every rank the values of rank 0."""
        for tensor in tensors:
            in_place(NAME, tensor, lambda values: broadcast(values, 0, self.here))

    def _reached(self, _: Tensor) -> None:
        """A gradient was computed: the exchange follows at the end of the backward."""
        refuse(f"{NAME} exchanges gradients", "call backward outside the compiled step, or use Trainer")
        if self.enabled and not self._due:
            self._due = True
            hooks.at_end.append(self.exchange)

    def exchange(self) -> None:
        """The means of the gradients."""
        self._due, here = False, self.here
        for refs, flat, total in self._parts:
            parameters = [of() for of in refs]  # None: it was replaced, and is gone
            for i, (p, view) in enumerate(zip(parameters, flat.views, strict=True)):
                gradient = getattr(p, "_grad", None)
                flat.numbers[i] = gradient is not None
                view[...] = 0 if gradient is None else gradient._array
            total.add()
            for p, view, ranks in zip(parameters, flat.views, flat.numbers.tolist(), strict=True):
                mean = np.multiply(view, 1 / here.size, out=np.empty_like(view))
                if p is not None:
                    p._grad = wrap(mean) if ranks else None
