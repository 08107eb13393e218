// Places the temporaries of a program in one block of memory.
#include <algorithm>

#include "program/program.h"

namespace ranvier {

// Gives each temporary its offset in one block, a multiple of a cache line, and returns the bytes of the
// block: two share a place if their lifetimes do not overlap. The largest first, each at the lowest place
// that is free while it lives.
size_t place(std::vector<Buffer*> temporaries) {
  constexpr size_t kLine = 64;
  std::stable_sort(temporaries.begin(), temporaries.end(),
                   [](const Buffer* a, const Buffer* b) { return a->bytes > b->bytes; });
  std::vector<const Buffer*> placed;  // by offset
  size_t total = 0;
  for (Buffer* l : temporaries) {
    size_t offset = 0;
    for (const Buffer* other : placed) {
      if (other->last < l->first || l->last < other->first) continue;
      if (other->offset >= offset + l->bytes) break;  // fits into the gap before it
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
