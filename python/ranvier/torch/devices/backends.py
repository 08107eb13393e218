"""torch.backends: settings of PyTorch's arithmetic, which programs set and read.

Results are always deterministic, and none of PyTorch's libraries is used. One setting has an effect:
`mkldnn.matmul.fp32_precision = "bf16"` is `set_float32_matmul_precision("medium")`.

>>> import ranvier as rv
>>> rv.backends.cudnn.benchmark = True
>>> rv.backends.cudnn.is_available(), rv.backends.mps.is_available()
(False, False)
"""

from __future__ import annotations

import types
from typing import Any, ClassVar

from ranvier import Tensor
from ranvier.config import config, get_float32_matmul_precision, set_float32_matmul_precision
from ranvier.settings import Settings
from ranvier.torch.devices.no_effect import NoEffect

__all__ = [
    "are_deterministic_algorithms_enabled",
    "get_float32_matmul_precision",
    "set_float32_matmul_precision",
    "use_deterministic_algorithms",
]


def _backend(name: str, available: bool = False, /, **settings: Any) -> types.ModuleType:
    """A module of torch.backends with these settings, and a function that tells whether it is available."""
    module = types.ModuleType(f"{__name__}.{name}", "Settings without effect.")

    def is_available() -> bool:
        return available

    vars(module).update(is_available=is_available, is_built=is_available, flags=NoEffect, **settings)
    return module


def _no(*args: Any, **settings: Any) -> bool:
    """False, to a question about what is not here."""
    return False


def _yes(*args: Any, **settings: Any) -> bool:
    return True


def _ignored(*args: Any, **settings: Any) -> None:
    """A setting without effect."""


cudnn = _backend(
    "cudnn", benchmark=False, deterministic=False, enabled=True, allow_tf32=True, version=_ignored
)


class SDPAParams:
    """The arguments of a call of scaled_dot_product_attention, of which `can_use_flash_attention` and others
    say whether a kernel of a GPU takes them: none does.

    >>> SDPAParams(1, 2, 3, None, 0.0, False, True).enable_gqa
    True
    """

    def __init__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None,
        dropout: float,
        is_causal: bool,
        enable_gqa: bool,
    ) -> None:
        self.query = query
        self.key = key
        self.value = value
        self.attn_mask = attn_mask
        self.dropout = dropout
        self.is_causal = is_causal
        self.enable_gqa = enable_gqa


def _takes(params: SDPAParams, debug: bool = False) -> bool:
    """False: attention is computed on the CPU."""
    return False


_ATTENTION = ("cudnn", "flash", "math", "mem_efficient")
cuda = _backend(
    "cuda",
    matmul=types.SimpleNamespace(allow_tf32=False),
    sdp_kernel=NoEffect,
    **{f"enable_{kind}_sdp": _ignored for kind in _ATTENTION},
    **{f"{kind}_sdp_enabled": _yes for kind in _ATTENTION},
    SDPAParams=SDPAParams,
    can_use_flash_attention=_takes,
    can_use_efficient_attention=_takes,
    can_use_cudnn_attention=_takes,
    is_flash_attention_available=_no,
    allow_fp16_bf16_reduction_math_sdp=_ignored,
    fp16_bf16_reduction_math_sdp_allowed=_no,
    preferred_linalg_library=_ignored,
    preferred_blas_library=_ignored,
)


def _capability() -> str:
    """PyTorch's name for the instruction set in use, by which torchvision chooses how it resizes bytes."""
    return {"x86-64-v3": "AVX2", "x86-64-v4": "AVX512"}.get(str(config()["isa"]), "DEFAULT")


cpu = _backend("cpu", True, get_cpu_capability=_capability)
mps = _backend("mps")
mkl = _backend("mkl")


class _Products:
    """`mkldnn.matmul`: fp32_precision ("ieee", "tf32" or "bf16") is the precision of float32 products."""

    _NAMES: ClassVar = {"ieee": "highest", "tf32": "high", "bf16": "medium"}

    @property
    def fp32_precision(self) -> str:
        precision = get_float32_matmul_precision()
        return next(name for name, here in self._NAMES.items() if here == precision)

    @fp32_precision.setter
    def fp32_precision(self, value: str) -> None:
        names = {"none": "highest", **self._NAMES}
        if value not in names:
            raise RuntimeError(f"[fp32_precision] got {value!r}; expected one of {', '.join(names)}")
        set_float32_matmul_precision(names[value])


mkldnn = _backend("mkldnn", enabled=False, matmul=_Products())
openmp = _backend("openmp", True)
quantized = _backend("quantized", engine="none", supported_engines=["none"])
opt_einsum = _backend("opt_einsum", enabled=False, strategy=None)
for _name in ("cusparselt", "kleidiai", "mha", "miopen", "nnpack", "xnnpack"):
    globals()[_name] = _backend(_name)
fp32_precision = "none"


_set = Settings(deterministic=False)


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Has no effect: all algorithms are deterministic.

    >>> import ranvier as rv
    >>> rv.use_deterministic_algorithms(True)
    >>> rv.are_deterministic_algorithms_enabled()
    True
    """
    _set.deterministic = bool(mode)


def are_deterministic_algorithms_enabled() -> bool:
    """The value with which :func:`use_deterministic_algorithms` was last called.

    >>> import ranvier as rv
    >>> rv.use_deterministic_algorithms(False)
    >>> rv.are_deterministic_algorithms_enabled()
    False
    """
    return bool(_set.deterministic)
