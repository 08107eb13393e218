#include "base/caches.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/system.h"

namespace ranvier {
namespace {

// Three sizes in KB, separated by commas.
bool parse(const char* given, int64_t (&sizes)[3]) {
  constexpr long long kMost = 1LL << 40;
  long long kb[3];
  int end = 0;
  if (std::sscanf(given, "%lld,%lld,%lld%n", &kb[0], &kb[1], &kb[2], &end) != 3 || given[end]) return false;
  for (int i = 0; i < 3; ++i) {
    if (kb[i] <= 0) return false;
    sizes[i] = static_cast<int64_t>(std::min(kb[i], kMost)) << 10;
  }
  return true;
}

Caches read() {
  Caches found;
  int64_t sizes[] = {found.l1, found.l2, found.l3};
  if (const char* given = std::getenv("RANVIER_CACHES"))
    parse(given, sizes);
  else
    read_cache_sizes(sizes);
  // Smaller or larger ones are not believed: blocks would become empty, and products of sizes too large.
  found.l1 = std::clamp<int64_t>(sizes[0], 8 << 10, 1 << 20);
  found.l2 = std::clamp<int64_t>(sizes[1], 64 << 10, 64 << 20);
  found.l3 = std::clamp<int64_t>(sizes[2], 512 << 10, int64_t{1} << 30);
  return found;
}

}  // namespace

const Caches caches = read();

bool caches_are_valid() {
  int64_t sizes[3];
  const char* given = std::getenv("RANVIER_CACHES");
  return !given || parse(given, sizes);
}

}  // namespace ranvier
