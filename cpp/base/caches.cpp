// Reads the sizes of the caches from the system, or from the environment variable RANVIER_CACHES.
#include "base/caches.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "base/system.h"

namespace ranvier {
namespace {

// Reads the text "l1,l2,l3", in KB, and gives bytes; false if the text is anything else.
bool parse(const char* setting, int64_t (&sizes)[3]) {
  constexpr long long kMost = 1LL << 40;
  long long kb[3];
  int end = 0;
  if (std::sscanf(setting, "%lld,%lld,%lld%n", &kb[0], &kb[1], &kb[2], &end) != 3 || setting[end])
    return false;
  for (int i = 0; i < 3; ++i) {
    if (kb[i] <= 0) return false;
    sizes[i] = static_cast<int64_t>(std::min(kb[i], kMost)) << 10;
  }
  return true;
}

Caches read() {
  Caches result;
  int64_t sizes[] = {result.l1, result.l2, result.l3};
  if (const char* setting = std::getenv("RANVIER_CACHES"))
    parse(setting, sizes);  // before main(), so it cannot raise; the import raises, by caches_are_valid()
  else
    read_cache_sizes(sizes);
  // Limited, as a system may give wrong sizes: blocks would become empty, or products of sizes overflow.
  result.l1 = std::clamp<int64_t>(sizes[0], 8 << 10, 1 << 20);
  result.l2 = std::clamp<int64_t>(sizes[1], 64 << 10, 64 << 20);
  result.l3 = std::clamp<int64_t>(sizes[2], 512 << 10, int64_t{1} << 30);
  return result;
}

}  // namespace

const Caches caches = read();

bool caches_are_valid() {
  int64_t sizes[3];
  const char* setting = std::getenv("RANVIER_CACHES");
  return !setting || parse(setting, sizes);
}

}  // namespace ranvier
