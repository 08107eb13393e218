#include "program/arena.h"

#include <algorithm>

namespace ranvier {

size_t place(std::vector<Lifetime*> lifetimes) {
  constexpr size_t kLine = 64;
  std::stable_sort(lifetimes.begin(), lifetimes.end(),
                   [](const Lifetime* a, const Lifetime* b) { return a->bytes > b->bytes; });
  std::vector<const Lifetime*> placed;  // by offset
  size_t total = 0;
  for (Lifetime* l : lifetimes) {
    size_t offset = 0;
    for (const Lifetime* other : placed) {
      if (other->last < l->first || l->last < other->first) continue;
      if (other->offset >= offset + l->bytes) break;  // fits into the gap before it
      offset = std::max(offset, (other->offset + other->bytes + kLine - 1) / kLine * kLine);
    }
    l->offset = offset;
    total = std::max(total, offset + l->bytes);
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), l,
                         [](const Lifetime* a, const Lifetime* b) { return a->offset < b->offset; }),
        l);
  }
  return total;
}

}  // namespace ranvier
