"""`utils.model_zoo`: see :mod:`ranvier.hub`."""

from ranvier.hub import load_url as load_url
