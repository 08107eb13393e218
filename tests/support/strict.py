"""rv.compile for tests: a step that cannot be replayed raises CaptureError."""

import functools

import ranvier as rv


def strict(function=None, **settings):
    return rv.compile(function, strict=True, **settings)


functools.update_wrapper(strict, rv.compile)
