// Places the temporaries of a program in one block of memory, the arena. Temporaries whose lifetimes (in
// instructions, Buffer::first to last) do not overlap may share bytes. Program calls place() once, when it is
// made.
#include <algorithm>

#include "program/program.h"

namespace ranvier {

// Sets the offset of each temporary, a multiple of a cache line, and returns the bytes of the block. The
// largest temporary is placed first. Each is placed at the lowest offset at which the bytes are free during
// its lifetime.
size_t place(std::vector<Buffer*> temporaries) {
  constexpr size_t kLine = 64;
  std::stable_sort(temporaries.begin(), temporaries.end(),
                   [](const Buffer* a, const Buffer* b) { return a->bytes > b->bytes; });
  std::vector<const Buffer*> placed;  // sorted by offset
  size_t total = 0;
  for (Buffer* buffer : temporaries) {
    size_t offset = 0;
    for (const Buffer* other : placed) {
      const bool at_other_times = other->last < buffer->first || buffer->last < other->first;
      if (at_other_times) continue;
      if (other->offset >= offset + buffer->bytes) break;  // it fits into the gap before `other`
      const size_t end = other->offset + other->bytes;
      offset = std::max(offset, (end + kLine - 1) / kLine * kLine);
    }
    buffer->offset = offset;
    total = std::max(total, offset + buffer->bytes);
    const auto is_lower = [](const Buffer* a, const Buffer* b) { return a->offset < b->offset; };
    const auto place = std::upper_bound(placed.begin(), placed.end(), buffer, is_lower);
    placed.insert(place, buffer);
  }
  return total;
}

}  // namespace ranvier
