// Where temporaries are in one block of memory: two share a place if their lifetimes do not overlap.
#pragma once
#include <cstddef>
#include <vector>

namespace ranvier {

struct Lifetime {
  size_t bytes;
  int first, last;  // instructions that use it
  size_t offset;    // in the arena; set by place()
};

// Gives each lifetime its offset, a multiple of a cache line, and returns the bytes of the arena. The largest
// first, each at the lowest place that is free while it lives.
size_t place(std::vector<Lifetime*> lifetimes);

}  // namespace ranvier
