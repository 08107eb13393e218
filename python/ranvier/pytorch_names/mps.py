"""torch.mps: there is no such device."""

from ranvier.pytorch_names.cuda import device_count as device_count
from ranvier.pytorch_names.cuda import empty_cache as empty_cache
from ranvier.pytorch_names.cuda import is_available as is_available
from ranvier.pytorch_names.cuda import manual_seed as manual_seed
from ranvier.pytorch_names.cuda import synchronize as synchronize
