"""torch.mps: there is no such device."""

from ranvier.cuda import device_count as device_count
from ranvier.cuda import empty_cache as empty_cache
from ranvier.cuda import is_available as is_available
from ranvier.cuda import manual_seed as manual_seed
from ranvier.cuda import synchronize as synchronize
