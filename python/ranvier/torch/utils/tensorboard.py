"""torch.utils.tensorboard: PyTorch's SummaryWriter, which writes TensorBoard's event files
(`event_files.py`)."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ranvier import Tensor
from ranvier.tensors.memory import Array
from ranvier.tensors.types import ArrayLike, TensorLike
from ranvier.torch.utils import event_files as events

__all__ = ["SummaryWriter"]


class SummaryWriter:
    """Writes event files into a folder, for `tensorboard --logdir FOLDER`. No other package is needed.

    log_dir: the folder, by default runs/DATE_HOST followed by the comment.
    purge_step: TensorBoard hides events of an earlier run from this step on.
    max_queue: no effect.
    flush_secs: the most seconds before an event is written to the disk.

    Has add_scalar, add_scalars, add_text, add_histogram, add_image, add_images, add_figure and add_hparams;
    other names raise AttributeError.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] | None = None,
        comment: str = "",
        purge_step: int | None = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        filename_suffix: str = "",
    ) -> None:
        if not log_dir:
            started = time.strftime("%b%d_%H-%M-%S")
            log_dir = os.path.join("runs", f"{started}_{socket.gethostname()}{comment}")
        self.log_dir = os.fspath(log_dir)
        self.purge_step = purge_step
        self._settings = filename_suffix, flush_secs
        self._others: dict[str, events.EventFile] = {}  # the files of add_scalars, by folder
        self._file: events.EventFile | None = None
        self._get_file_writer()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"[tensorboard] SummaryWriter has no {name}")

    def get_logdir(self) -> str:
        return self.log_dir

    def _get_file_writer(self) -> events.EventFile:
        """The file; a new one after `close`."""
        if self._file is None:
            self._file = events.EventFile(self.log_dir, *self._settings)
            if self.purge_step is not None:
                self._file.add(events.field(7, events.field(1, 1)), self.purge_step, None)
                self.purge_step = None
        return self._file

    file_writer = property(_get_file_writer)

    def _add(self, summary: bytes, step: int | None, walltime: float | None) -> None:
        self._get_file_writer().add_summary(summary, step, walltime)

    def add_scalar(
        self,
        tag: str,
        scalar_value: TensorLike,
        global_step: int | None = None,
        walltime: float | None = None,
        new_style: bool = False,
        double_precision: bool = False,
    ) -> None:
        """Adds a number."""
        self._add(events.scalar(tag, _number(scalar_value)), global_step, walltime)

    def add_scalars(
        self,
        main_tag: str,
        tag_scalar_dict: dict[str, TensorLike],
        global_step: int | None = None,
        walltime: float | None = None,
    ) -> None:
        """Adds numbers that are shown in one diagram; each is written to a folder of its own."""
        for tag, value in tag_scalar_dict.items():
            folder = os.path.join(self.log_dir, f"{main_tag.replace('/', '_')}_{tag}")
            if folder not in self._others:
                self._others[folder] = events.EventFile(folder, *self._settings)
            file = self._others[folder]
            number = _number(value)
            file.add_summary(events.scalar(main_tag, number), global_step, walltime)

    def add_text(
        self, tag: str, text_string: str, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        """Adds a text, in Markdown."""
        self._add(events.text(tag, text_string), global_step, walltime)

    def add_histogram(
        self,
        tag: str,
        values: ArrayLike,
        global_step: int | None = None,
        bins: str | Sequence[float] | Array = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Adds the distribution of values."""
        self._add(events.histogram(tag, _array(values), bins), global_step, walltime)

    def add_image(
        self,
        tag: str,
        img_tensor: TensorLike,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """Adds an image: bytes, or numbers from 0 to 1; dataformats names its dimensions: CHW, HWC, HW."""
        self._add(events.image(tag, _pixels(img_tensor, dataformats)), global_step, walltime)

    def add_images(
        self,
        tag: str,
        img_tensor: TensorLike,
        global_step: int | None = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Adds a batch of images, side by side in rows of eight."""
        batch = _array(img_tensor)
        images = np.moveaxis(batch, dataformats.upper().index("N"), 0)
        image_format = dataformats.upper().replace("N", "")
        pixels = [_pixels(image, image_format) for image in images]
        while len(pixels) % min(8, len(images)):
            pixels.append(np.zeros_like(pixels[0]))  # black images fill the last row
        rows = [np.concatenate(pixels[i : i + 8], 1) for i in range(0, len(pixels), 8)]
        self._add(events.image(tag, np.concatenate(rows, 0)), global_step, walltime)

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: int | None = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """Adds a figure of matplotlib, or several, and closes them."""
        from matplotlib import pyplot
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        if isinstance(figure, list):
            figures = figure
        else:
            figures = [figure]
        for one in figures:
            canvas: Any = FigureCanvasAgg(one)
            canvas.draw()
            self._add(events.image(tag, np.asarray(canvas.buffer_rgba())), global_step, walltime)
            if close:
                pyplot.close(one)

    def add_hparams(
        self,
        hparam_dict: dict[str, Any],
        metric_dict: dict[str, Any],
        hparam_domain_discrete: dict[str, list[Any]] | None = None,
        run_name: str | None = None,
        global_step: int | None = None,
    ) -> None:
        """Adds the settings of a run and its scores, in a folder of its own."""
        plain = {name: _plain(value) for name, value in hparam_dict.items()}
        summaries = events.settings(plain, metric_dict)
        file = events.EventFile(os.path.join(self.log_dir, run_name or str(time.time())), *self._settings)
        for summary in summaries:
            file.add_summary(summary)
        for name, value in metric_dict.items():
            file.add_summary(events.scalar(name, _number(value)), global_step)
        file.close()

    def add_graph(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("[tensorboard] add_graph is not available; expected ranvier.summary(model)")

    def flush(self) -> None:
        for file in (self._get_file_writer(), *self._others.values()):
            file.flush()

    def close(self) -> None:
        for file in (self._file, *self._others.values()):
            if file is not None:
                file.close()
        self._file = None
        self._others = {}

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.item()
    return value


def _number(value: object) -> float:
    if isinstance(value, (list, tuple, dict, set)):  # PyTorch's error, which skorch catches
        raise NotImplementedError(f"[tensorboard] got a {type(value).__name__}; expected a number")
    return float(_array(value).reshape(()))


def _array(value: object) -> np.ndarray[Any, Any]:
    if isinstance(value, Tensor):
        return value._array
    return np.asarray(value)


def _pixels(image: TensorLike, dimensions: str) -> np.ndarray[Any, Any]:
    """An image as bytes, (height, width, channels); floats are numbers from 0 to 1.

    dimensions: what those of the image are, in letters: CHW, HWC or HW.
    """
    pixels = _array(image)
    dimensions = dimensions.upper()
    if len(dimensions) != pixels.ndim or set(dimensions) - set("CHW"):
        raise ValueError(f"[add_image] got shape {pixels.shape} as {dimensions}; expected CHW, HWC or HW")
    if "C" not in dimensions:
        pixels = pixels[..., None]
        dimensions = dimensions + "C"
    pixels = np.transpose(pixels, [dimensions.index(d) for d in "HWC"])
    if pixels.dtype != np.uint8:
        pixels = (pixels * 255.0).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels)
