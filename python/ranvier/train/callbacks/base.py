"""Callbacks, called between the steps of a run, with Keras's names; and the handling of Ctrl-C.

`Training` names what callbacks and the modules of a run read of a Trainer, which they do not import.
"""

from __future__ import annotations

# The functions in C of `signal`, which itself takes .4 ms to load, for enumerations of its constants.
import _signal as signal  # type: ignore[import-not-found]
import threading
from collections.abc import Callable, Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Protocol

from ranvier.train.history import History

if TYPE_CHECKING:
    from ranvier.metrics.named import Metric

__all__ = ["Callback", "LambdaCallback"]


class HintWarning(UserWarning):
    """A hint of `Trainer.fit` about data and model; `fit(verbose=0)` gives none.

    >>> import warnings
    >>> import ranvier as rv
    >>> with warnings.catch_warnings():
    ...     warnings.filterwarnings("ignore", category=rv.train.HintWarning)
    ...     _ = rv.Trainer(rv.nn.Linear(1, 2), "cross_entropy", "sgd").fit([[500.0]], [1], epochs=1)
    """


class Training(Protocol):
    """The attributes of a Trainer that callbacks and the parts of a run use; `Trainer` describes them."""

    model: Any
    loss: Any
    optimizer: Any
    metrics: dict[str, Metric]
    l1: Any
    l2: Any
    accumulate: int
    clip_grad_norm: float | None
    clip_grad_value: float | None
    compile: bool
    on_nonfinite: str
    distributed: bool
    shards: int
    deterministic: bool
    history: History
    stop_training: bool
    interrupted: bool
    updates: int
    last_epoch: int
    steps_per_epoch: int
    resumed_from: Any
    gives_hints: bool

    @property
    def leads(self) -> bool: ...
    @property
    def classes_(self) -> Any: ...
    @property
    def epoch(self) -> int: ...
    @property
    def batch(self) -> int: ...
    def where(self) -> str: ...
    def checkpoint(self) -> dict[str, Any]: ...
    def settings(self) -> dict[str, Any]: ...


class Callback:
    """Base of callbacks: override what is needed. The names are Keras's.

    `self.trainer` is the Trainer that runs; `self.trainer.stop_training = True` ends it after this epoch.
    `logs` are the epoch's measured values, such as `{"loss": 0.4, "val_loss": 0.5}`. Epochs and batches count
    from 0; a run that continues an earlier one counts on.

    Where a callback has `on_batch_begin` or `on_batch_end`, they are called for each batch, so that each step
    is a separate call to the core. With `every_batch = False` batches may be left out, and the core makes
    many steps in one call: `on_batch_end` is called at least every 50 ms (250 with other ranks), with the
    loss of the last batch. `every_epoch = False`, for a callback that only displays its arguments, lets the
    core run several short epochs in one call: then the methods are called for each of them afterwards, when
    the weights are those of the last, and setting `stop_training` does not end the run before.

    With `Trainer(distributed=True)` each process calls its callbacks; those of a class with
    `everywhere = False`, which print or write, are called by rank 0 only (`self.trainer.leads`).

    A callback that remembers something from epoch to epoch gives it as `state_dict`: checkpoints then hold
    it, and a resumed run continues as if it had not been stopped.

    >>> import ranvier as rv
    >>> class Printer(rv.Callback):
    ...     def on_epoch_end(self, epoch, logs):
    ...         print(epoch, sorted(logs))
    >>> model = rv.nn.Linear(1, 1)
    >>> trainer = rv.Trainer(model, rv.nn.MSELoss(), rv.optim.SGD(model.parameters(), lr=0.1))
    >>> history = trainer.fit([[1.0], [2.0]], [[2.0], [4.0]], epochs=2, callbacks=[Printer()])
    0 ['loss']
    1 ['loss']
    """

    trainer: Training
    every_batch = every_epoch = True
    everywhere = True
    _is_checkpoint = False

    def on_train_begin(self) -> None:
        """Before the first epoch of a `fit`. A resumed run has its model, optimizer and history back here."""

    def on_train_end(self) -> None:
        """After the last epoch, also when an exception or Ctrl-C ends the run."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before an epoch; a run that is resumed within one begins it again."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """After an epoch, validation included."""

    def on_batch_begin(self, batch: int) -> None:
        """Before a step."""

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """After a step; `logs["loss"]` is the loss of this batch."""

    def on_interrupt(self) -> None:
        """After Ctrl-C or a KeyboardInterrupt of a callback, between two steps and before `on_train_end`."""

    def state_dict(self) -> dict[str, Any]:
        """The state that a checkpoint keeps of this callback: arrays, numbers, strings, None, and dicts and
        lists."""
        return {}

    def require_state(self, state: Mapping[str, Any]) -> None:
        """Raises an error for a state of `state_dict` that a callback with other settings has written; called
        before anything of a resumed run is restored."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restores a state from `state_dict`; called after `on_train_begin` of a resumed run."""


class LambdaCallback(Callback):
    """A callback made of functions; each is given under the name of its method (Keras's class).

    Raises:
        TypeError: a name that is no hook, or something that cannot be called.

    >>> import ranvier as rv
    >>> model = rv.nn.Linear(1, 1)
    >>> trainer = rv.Trainer(model, rv.nn.MSELoss(), rv.optim.SGD(model.parameters(), lr=0.1))
    >>> say = rv.train.LambdaCallback(on_epoch_begin=lambda epoch: print("epoch", epoch))
    >>> history = trainer.fit([[1.0], [2.0]], [[2.0], [4.0]], epochs=1, callbacks=[say])
    epoch 0
    """

    def __init__(self, **hooks: Callable[..., Any]) -> None:
        methods = [name for name in vars(Callback) if name.startswith("on_")]
        for name, function in hooks.items():
            if name not in methods:
                raise TypeError(f"[LambdaCallback] got '{name}'; expected one of {', '.join(methods)}")
            if not callable(function):
                raise TypeError(
                    f"[LambdaCallback] got {name} of type {type(function).__name__}; expected a function"
                )
            setattr(self, name, function)


def is_checkpoint(hook: Callback) -> bool:
    """True for a Checkpoint, whose module is not loaded by a run without one."""
    return hook._is_checkpoint


def report(trainer: Training, **values: Any) -> None:
    """Write what a run reports as attributes of its Trainer, which a program cannot set."""
    vars(trainer).update(values)


OF_BATCHES = ("on_batch_begin", "on_batch_end")
OF_EPOCHS = ("on_epoch_begin", "on_epoch_end", *OF_BATCHES)


def must_act(hooks: list[Callback], flag: str, methods: tuple[str, ...]) -> bool:
    """True if a callback has one of these methods, and its flag (`every_batch` ...) asks for each call of
    it."""
    for hook in hooks:
        if getattr(hook, flag, True):
            for name in methods:
                # What a callback does not override is Callback's own function, which does nothing.
                function = getattr(getattr(hook, name), "__func__", None)
                if function is not getattr(Callback, name):
                    return True
    return False


def call(hooks: list[Callback], method: str, *args: Any) -> None:
    """Call a method of all callbacks in turn."""
    for hook in hooks:
        getattr(hook, method)(*args)


class Interrupt:
    """While it is entered, SIGINT is noted, and `check` raises the KeyboardInterrupt.

    So the weights, their optimizer's state and the random numbers belong together when a run ends, and a
    checkpoint can be written. A second Ctrl-C is raised at once. Nothing changes where SIGINT has another
    handler, or outside the main thread.

    Attributes:
        between_steps: whether the interrupt that ended the run came from `check`.
    """

    def __init__(self) -> None:
        self.between_steps = False
        self._pending = False
        self._installed = False

    def __enter__(self) -> Interrupt:
        mine = threading.current_thread() is threading.main_thread()
        if mine and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.note()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def note(self) -> bool:
        """Let the next `check` raise; False if it is to already."""
        first = not self._pending
        self._pending = True
        return first

    def check(self) -> None:
        """Raise KeyboardInterrupt if there was one since the last step."""
        if self._pending:
            self._pending = False
            self.between_steps = True
            raise KeyboardInterrupt

    def __exit__(self, error_class: type[BaseException] | None, *error: object) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._installed = False
        if self._pending:  # it came after the last step
            self._pending = False
            if error_class is None:
                raise KeyboardInterrupt
