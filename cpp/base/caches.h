// The sizes of the caches, for choices that do not change results: how much is worked on at once, what is
// copied first, what is prefetched. Sizes that decide the order of a sum are constants of the kernel instead,
// the same on every machine.
#pragma once
#include <cstdint>

namespace ranvier {

// In bytes. Read from the operating system when the library is loaded, or given as
// RANVIER_CACHES=32,1024,32768 (in KB). A cache that is not known has the size here.
struct Caches {
  int64_t l1 = 32 << 10;   // data, of a core
  int64_t l2 = 512 << 10;  // the cache of one core
  int64_t l3 = 8 << 20;    // the cache that a core shares with others
};
extern const Caches caches;

// False if RANVIER_CACHES is set to anything but three sizes.
bool caches_are_valid();

}  // namespace ranvier
