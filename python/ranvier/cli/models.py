"""Model files as the commands get them: opened, or a mistake in one line."""

from __future__ import annotations

from typing import Any

from ranvier.cli.arguments import Mistake


def open_model(path: str) -> Any:
    """A model in evaluation mode."""
    import ranvier as rv

    try:
        model = rv.load(path)
    except FileNotFoundError:
        raise Mistake(f"no such file: '{path}'") from None
    except (OSError, ValueError) as error:
        raise Mistake(error) from None
    if not isinstance(model, rv.nn.Module):
        raise Mistake(f"'{path}' holds weights without a model; expected what rv.save(model, path) wrote")
    return model.eval()
