#include "base/caches.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/system.h"

namespace ranvier {
namespace {

Caches read() {
  Caches found;
  int64_t sizes[] = {found.l1, found.l2, found.l3};
  if (const char* given = std::getenv("RANVIER_CACHES")) {
    long long kb[3];
    if (std::sscanf(given, "%lld,%lld,%lld", &kb[0], &kb[1], &kb[2]) == 3)
      for (int i = 0; i < 3; ++i) sizes[i] = static_cast<int64_t>(kb[i]) << 10;
  } else {
    read_cache_sizes(sizes);
  }
  // Smaller or larger ones are not believed: blocks would become empty, and products of sizes too large.
  found.l1 = std::clamp<int64_t>(sizes[0], 8 << 10, 1 << 20);
  found.l2 = std::clamp<int64_t>(sizes[1], 64 << 10, 64 << 20);
  found.l3 = std::clamp<int64_t>(sizes[2], 512 << 10, int64_t{1} << 30);
  return found;
}

}  // namespace

const Caches caches = read();

}  // namespace ranvier
