"""PyTorch's DataParallel, DistributedDataParallel, SyncBatchNorm and DistributedSampler, for a loop of the
program.

A Trainer with `distributed=True` divides batches itself (`reduction.py`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sized
from operator import index
from typing import Any
from weakref import ref

import numpy as np

import ranvier.tape.hooks as hooks
from ranvier.autograd import Tensor, bump, is_grad_enabled, wrap
from ranvier.data import Sampler
from ranvier.data.sampler import permutation
from ranvier.distributed.collectives import broadcast, mark
from ranvier.distributed.exchange import Flat, Sum
from ranvier.distributed.messages import in_place
from ranvier.distributed.ranks import World, agree
from ranvier.nn import Module
from ranvier.nn.lazy import _Lazy
from ranvier.nn.norm import _BatchNorm
from ranvier.observe import refuse
from ranvier.tensors.errors import own_errors
from ranvier.tensors.memory import Array

NAME = "DistributedDataParallel"


class MeanGradients:
    """Replaces gradients by their means over ranks, after each backward that has reached one of the
    parameters.

    The gradients are copied to one buffer for each dtype. The means are copied from the buffer to new arrays,
    which the program may keep. The buffer begins with a number for each parameter: how many ranks have a
    gradient for it.

    enabled: whether gradients are exchanged; False within `no_sync`.
    """

    def __init__(self, module: Module, here: World) -> None:
        self.enabled = True
        self._due = False
        self.here = here
        # For each parameter (weak reference, dtype); for each dtype (weak references, buffer, its sum over
        # ranks). The references are weak because the hook of a parameter refers to this object.
        self._layout: list[tuple[Any, Any]] = []
        self._parts: list[tuple[list[Any], Flat, Sum]] = []
        self._hooks: list[Any] = []
        self.renew(module)
        self.take_from_first([*module.parameters(), *module.buffers()])

    def renew(self, module: Module) -> None:
        """Make the buffers and hooks for the parameters that require gradients now; every rank calls it."""
        parameters = [p for p in module.parameters() if p.requires_grad]
        pairs = zip(parameters, self._layout)  # noqa: B905
        same = all(p is of() and p._array.dtype == dtype for p, (of, dtype) in pairs)
        if same and len(parameters) == len(self._layout):
            return
        shapes = " ".join(f"{p.dtype}{tuple(p.shape)}" for p in parameters)
        agree(self.here, NAME, f"of {len(parameters)} parameters, {mark(shapes)}")
        for hook in self._hooks:
            hook.remove()
        self._layout = [(ref(p), p._array.dtype) for p in parameters]
        self._parts = []
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
        """The hook of each parameter: its gradient is computed, so an exchange follows after backward."""
        refuse(f"{NAME} exchanges gradients", "call backward outside the compiled step, or use Trainer")
        if self.enabled and not self._due:
            self._due = True
            hooks.at_end.append(self.exchange)

    def exchange(self) -> None:
        """Replace the gradients by their means over ranks; None for a parameter that no rank has used."""
        self._due = False
        here = self.here
        for refs, flat, total in self._parts:
            parameters = [of() for of in refs]  # None for a parameter that no longer exists
            for i, (p, view) in enumerate(zip(parameters, flat.views, strict=True)):
                gradient = getattr(p, "_grad", None)
                flat.numbers[i] = gradient is not None
                view[...] = 0 if gradient is None else gradient._array
            total.add()
            for p, view, ranks in zip(parameters, flat.views, flat.numbers.tolist(), strict=True):
                mean = np.multiply(view, 1 / here.size, out=np.empty_like(view))
                if p is not None:
                    p._grad = wrap(mean) if ranks else None


class DistributedSampler(Sampler[int]):
    """Every `num_replicas`-th index, beginning with `rank`: each process gets another part of the data set.

    The order of an epoch depends on `seed` and the epoch, which `set_epoch` sets. All ranks get the same
    number of samples: the first ones are repeated at the end, or with `drop_last` the last ones are left out.

    Args:
        dataset: anything with a length.
        num_replicas, rank: by default those of :func:`ranvier.distributed.init`.
        shuffle: whether the order is random.

    Raises ValueError: a rank that is not in 0 .. num_replicas - 1.

    >>> from ranvier.data import DistributedSampler
    >>> list(DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False))
    [1, 3, 0]
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            from ranvier.distributed.job import world

            if num_replicas is None:
                num_replicas = world().size
            if rank is None:
                rank = world().rank
        num_replicas = index(num_replicas)
        rank = index(rank)
        if not 0 <= rank < num_replicas:
            raise ValueError(
                f"[DistributedSampler] got rank {rank} of {num_replicas} replicas; expected 0 to "
                f"{num_replicas - 1}"
            )
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.shuffle, self.seed, self.drop_last = bool(shuffle), index(seed), bool(drop_last)
        self.epoch = 0
        self._count()

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in ("dataset", "num_replicas", "drop_last") and "total_size" in vars(self):
            self._count()

    def _count(self) -> None:
        n = len(self.dataset)
        replicas = self.num_replicas
        self.num_samples = n // replicas if self.drop_last else -(-n // replicas)
        self.total_size = self.num_samples * replicas

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch; without it, every epoch has the same order."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        if self.shuffle:
            order = permutation(n, self.seed + self.epoch)
        else:
            order = np.arange(n)
        whole = np.resize(order, self.total_size)  # The order is repeated, or cut, to the total size.
        return iter(whole[self.rank :: self.num_replicas].tolist())

    def __len__(self) -> int:
        return self.num_samples


class DataParallel(Module):
    """Calls `module`, which uses all threads; its parameters are named "module.weight" ..., as in PyTorch.

    device_ids, output_device and dim have no effect, as in PyTorch on a machine without GPUs.

    >>> import ranvier as rv
    >>> list(rv.nn.DataParallel(rv.nn.Linear(2, 1)).state_dict())
    ['module.weight', 'module.bias']
    """

    def __init__(
        self, module: Module, device_ids: Any = None, output_device: Any = None, dim: int = 0, **settings: Any
    ) -> None:
        super().__init__()
        _require_module(type(self).__name__, module)
        self.module = module
        self.output_device = None
        self.dim = dim
        self.device_ids: list[int] | None = []

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)


class DistributedDataParallel(DataParallel):
    """Calls `module`; at the end of each backward, its gradients are the means over all ranks.

    Parameters and buffers get the values of rank 0. Buffers (running statistics) are copied from rank 0 again
    before each forward pass in training mode, unless `broadcast_buffers` is False. A parameter that no rank
    has used keeps grad None. Parameters that are added, replaced or unfrozen later take part from the next
    forward pass in training mode on, and so does a copy of this module. Over a power of two of ranks the sums
    are added along one binary tree. The ranks are those of :func:`ranvier.distributed.init`, or of
    `process_group`. If `require_backward_grad_sync` is False in the forward pass, backward exchanges nothing,
    as in :meth:`no_sync`. Other settings of PyTorch have no effect.

    Raises RuntimeError: a module without parameters that require gradients, as in PyTorch.

    >>> import ranvier as rv
    >>> rv.nn.parallel.DistributedDataParallel(rv.nn.Linear(2, 1))(rv.zeros(1, 2)).shape
    (1, 1)
    """

    def __init__(
        self,
        module: Module,
        device_ids: Any = None,
        output_device: Any = None,
        dim: int = 0,
        broadcast_buffers: bool = True,
        init_sync: bool = True,
        process_group: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__(module, dim=dim)
        self.process_group = process_group
        self.device_ids = None
        if not any(p.requires_grad for p in module.parameters()):
            raise RuntimeError(
                "[DistributedDataParallel] got a module without parameters that require gradients; expected "
                "some"
            )
        self.broadcast_buffers = broadcast_buffers
        self.require_backward_grad_sync = True
        for name in ("find_unused_parameters", "gradient_as_bucket_view", "static_graph"):
            setattr(self, name, settings.get(name, False))
        self._means: Any = None
        self._connect()

    def _connect(self) -> None:
        """Begin to exchange gradients, if there are several ranks."""
        from ranvier.distributed.job import world

        here = self.process_group or world()
        if not hasattr(here, "connection"):
            raise ValueError(
                f"[DistributedDataParallel] got process_group {here!r}; expected one of this rank"
            )
        if here.size > 1:
            self._means = MeanGradients(self.module, here)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_means": None}  # a copy has separate parameters

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.training and is_grad_enabled():
            if self._means is None:
                self._connect()
            else:
                self._means.renew(self.module)
        if self._means is not None:
            self._means.enabled = self.require_backward_grad_sync
        if self._means is not None and self.broadcast_buffers and self.training:
            self._means.take_from_first(self.module.buffers())
        return self.module(*args, **kwargs)

    @contextlib.contextmanager
    def no_sync(self) -> Iterator[None]:
        """Within the block gradients are added up on each rank; the next backward after it exchanges them."""
        before = self.require_backward_grad_sync
        self.require_backward_grad_sync = False
        try:
            yield
        finally:
            self.require_backward_grad_sync = before

    def will_sync_module_buffers(self) -> bool:
        """True if the next forward pass takes the buffers of rank 0."""
        return self.training and self.broadcast_buffers and any(True for _ in self.module.buffers())

    def join(self, divide_by_initial_world_size: bool = True, enable: bool = True, **settings: Any) -> Any:
        """A block for ranks with different numbers of batches. One process needs nothing.

        Raises NotImplementedError on several ranks: all ranks make as many steps.
        """
        if self._means is not None and enable:
            raise NotImplementedError(
                "[DistributedDataParallel] got join() on several ranks; expected as many steps on each: "
                "DistributedSampler gives all ranks as many batches"
            )
        return contextlib.nullcontext()


class SyncBatchNorm(_BatchNorm):
    """Batch norm whose mean and variance in training are those over all ranks: x and y (N, C, ...).

    Under :class:`DistributedDataParallel` and in a loop of your own, the statistics are those of the batches
    of all ranks together. In a Trainer with `distributed=True` they are those of the whole batch, not of each
    of its `shards`; the Trainer's steps are not compiled then. The statistics are added in float64 along one
    binary tree. In evaluation mode, and in one process with one part, it computes what :class:`BatchNorm1d`
    does, for 2 to 5 dimensions.

    process_group: None; statistics over a part of the ranks are not available.

    Raises ValueError for other shapes, and in training for a single value per channel on all ranks together.

    >>> import ranvier as rv
    >>> rv.nn.SyncBatchNorm(2)(rv.tensor([[1.0, 10.0], [3.0, 30.0]]))
    tensor([[-1.0000, -1.0000],
            [ 1.0000,  1.0000]], grad_fn=<BatchNorm>)
    """

    _compared = False  # True after the ranks have compared their first calls
    _ranks = {  # noqa: RUF012
        2: "2 dimensions (N, C)", 3: "3 (N, C, L)", 4: "4 (N, C, H, W)", 5: "5 (N, C, D, H, W)"
    }  # fmt: skip

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        _require_all_ranks(process_group)
        super().__init__(num_features, eps, momentum, affine, track_running_stats, dtype, bias=bias)

    def forward(self, input: Any) -> Tensor:
        if not self.training:
            return super().forward(input)
        import ranvier.distributed.sync_norm as sync

        join = sync.current()
        if join is None:
            return super().forward(input)
        self._check_input_dim(input)
        if not self._compared:  # the first time, the ranks compare their calls
            self._compared = True
            sync.compare(f"of {self.num_features} channels")
        node = sync.SyncBatchNorm(join, self.eps)
        y: Tensor = node.apply(input, self.weight, self.bias)
        self._track(node.count, node.mean, node.var)
        return y

    def _track(self, count: float, mean: Array, var: Array) -> None:
        """Move the running statistics towards those of a batch."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked._array[...] += 1
        if self.momentum is None:
            factor = 1 / int(self.num_batches_tracked._array)
        else:
            factor = self.momentum
        for running, measured in ((self.running_mean, mean), (self.running_var, var * (count / (count - 1)))):
            old = running._array.astype(float)
            running._array[...] = old + factor * (measured - old)
        for buffer in self.buffers():
            bump(buffer)

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module with a SyncBatchNorm, of the same parameters and buffers, for each BatchNorm inside it.

        >>> from ranvier import nn
        >>> model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8))
        >>> nn.SyncBatchNorm.convert_sync_batchnorm(model)[1]
        SyncBatchNorm(8, eps=1e-05, momentum=0.1, affine=True, bias=True, track_running_stats=True)
        """
        _require_module("convert_sync_batchnorm", module)
        _require_all_ranks(process_group)
        return _converted(cls, module, {})


def _require_module(name: str, module: Any) -> None:
    if not isinstance(module, Module):
        raise TypeError(f"[{name}] got a {type(module).__name__}; expected a Module")


def _require_all_ranks(process_group: Any) -> None:
    if process_group is not None:
        raise ValueError(
            f"[SyncBatchNorm] got process_group {process_group!r}; expected None: the statistics are those "
            "of all ranks"
        )


def _converted(cls: type[SyncBatchNorm], module: Module, done: dict[int, Module]) -> Module:
    """`convert_sync_batchnorm` of a module; done: id of a shared module -> its result."""
    if id(module) not in done:
        if isinstance(module, _BatchNorm) and not isinstance(module, SyncBatchNorm):
            done[id(module)] = _of_norm(cls, module)
        else:
            done[id(module)] = module
        for name, child in list(module._modules.items()):
            converted = _converted(cls, child, done)
            if converted is not child:
                setattr(module, name, converted)
    return done[id(module)]


def _of_norm(cls: type[SyncBatchNorm], norm: _BatchNorm) -> SyncBatchNorm:
    if isinstance(norm, _Lazy):
        raise ValueError(
            f"[SyncBatchNorm] got a {type(norm).__name__} without sizes; expected a call of the model first"
        )
    settings = {name: getattr(norm, name) for name in ("eps", "momentum", "affine", "track_running_stats")}
    dtype = next((t.dtype for t in (*norm.parameters(), *norm.buffers())), None)
    new = cls(norm.num_features, **settings, dtype=dtype, bias=norm.bias is not None)
    for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
        setattr(new, name, getattr(norm, name))
    new.training = norm.training
    return new


own_errors(globals(), ["DistributedSampler"])
own_errors(DistributedSampler, ["__iter__"])
