#include "base/caches.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace ranvier {
namespace {

// The first word of a file that describes a cache of the first CPU; empty where there is none.
struct Word {
  char text[32] = "";
  Word(int index, const char* name) {
    char path[96];
    std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, name);
    std::FILE* file = std::fopen(path, "re");
    if (!file) return;
    if (std::fscanf(file, "%31s", text) != 1) text[0] = 0;
    std::fclose(file);
  }
};

Caches read() {
  Caches found;
  int64_t* const sizes[] = {&found.l1, &found.l2, &found.l3};
  if (const char* given = std::getenv("RANVIER_CACHES")) {
    long long kb[3];
    if (std::sscanf(given, "%lld,%lld,%lld", &kb[0], &kb[1], &kb[2]) == 3)
      for (int i = 0; i < 3; ++i) *sizes[i] = kb[i] << 10;
  } else {
    for (int i = 0; i < 8; ++i) {
      const int level = std::atoi(Word(i, "level").text);
      if (level == 0) break;
      if (level > 3 || !std::strcmp(Word(i, "type").text, "Instruction")) continue;
      const Word size(i, "size");  // 1024K, 32M
      const int64_t unit = std::strchr(size.text, 'M') ? 1 << 20 : std::strchr(size.text, 'K') ? 1 << 10 : 1;
      if (const int64_t n = std::atoll(size.text)) *sizes[level - 1] = n * unit;
    }
  }
  // Smaller or larger ones are not believed: blocks would become empty, and products of sizes too large.
  found.l1 = std::clamp<int64_t>(found.l1, 8 << 10, 1 << 20);
  found.l2 = std::clamp<int64_t>(found.l2, 64 << 10, 64 << 20);
  found.l3 = std::clamp<int64_t>(found.l3, 512 << 10, int64_t{1} << 30);
  return found;
}

}  // namespace

const Caches caches = read();

}  // namespace ranvier
