#pragma once
#include <cstdint>

namespace ranvier {

// Bytes between those parts of a workspace that threads write all the time. A processor fetches lines that
// follow the one it works on, and takes them from the thread beside: with less (128 are too few) two threads
// that sort lines of 10 elements took as long as one.
constexpr int64_t kApart = 512;

}  // namespace ranvier
