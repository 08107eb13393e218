"""torch.hub and utils.model_zoo: nothing is downloaded here."""

from __future__ import annotations

from typing import Any


def load_state_dict_from_url(url: str, *args: Any, **settings: Any) -> Any:
    """Raises RuntimeError: download the file, write it as safetensors, and use ``ranvier.load``."""
    raise RuntimeError(
        f"[hub] got {url!r}; expected a file: download it yourself, save its state dict as safetensors, and "
        "read it with ranvier.load(path)"
    )


load_url = load = load_state_dict_from_url
