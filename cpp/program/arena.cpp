// Places the temporaries of a program in one block of memory, the arena. Temporaries whose lifetimes (in
// instructions, Buffer::first to last) do not overlap may share bytes.
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
  for (Buffer* l : temporaries) {
    size_t offset = 0;
    for (const Buffer* other : placed) {
      if (other->last < l->first || l->last < other->first) continue;
      if (other->offset >= offset + l->bytes) break;  // l fits into the gap before `other`
      offset = std::max(offset, (other->offset + other->bytes + kLine - 1) / kLine * kLine);
    }
    l->offset = offset;
    total = std::max(total, offset + l->bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), l,
                                   [](const Buffer* a, const Buffer* b) { return a->offset < b->offset; }),
                  l);
  }
  return total;
}

}  // namespace ranvier
