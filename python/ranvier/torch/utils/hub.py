"""torch.hub and utils.model_zoo: nothing is downloaded here."""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlparse as urlparse

from ranvier.settings import Settings

HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")  # in the name of a file that torch.hub gets
_set = Settings(folder="")


def load_state_dict_from_url(url: str, *args: Any, **settings: Any) -> Any:
    """Raises RuntimeError: download the file, write it as safetensors, and use ``ranvier.load``."""
    raise RuntimeError(
        f"[hub] got {url!r}; expected a file: download it yourself, save its state dict as safetensors, and "
        "read it with ranvier.load(path)"
    )


load_url = load = load_state_dict_from_url


def _get_torch_home() -> str:
    """The folder for files from the network: TORCH_HOME."""
    cache = os.getenv("XDG_CACHE_HOME", "~/.cache")
    return os.path.expanduser(os.getenv("TORCH_HOME", os.path.join(cache, "torch")))


def get_dir() -> str:
    """The folder of `set_dir`, or hub in TORCH_HOME."""
    return _set.folder or os.path.join(_get_torch_home(), "hub")


def set_dir(d: str | os.PathLike[str]) -> None:
    """Sets what `get_dir` gives."""
    _set.folder = os.path.expanduser(d)


def tqdm(*args: Any, **settings: Any) -> Any:
    """A progress bar."""
    from tqdm.auto import tqdm as bar  # type: ignore[import-untyped]

    return bar(*args, **settings)
