// Settings of the library that programs set in Python (python/ranvier/settings.py), as replays compare them.
#pragma once
#include <cstdint>

namespace ranvier::bind {

// The number of the values that they have for this thread, the same for the same values.
int64_t settings_number();

}  // namespace ranvier::bind
