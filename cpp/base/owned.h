// Blocks of the allocator, and pins of them, with an owner: they are given back also where a constructor ends
// with an exception.
#pragma once
#include <memory>

#include "base/allocator.h"

namespace ranvier {

struct Deallocate {
  void operator()(void* block) const { deallocate(block); }
};
using OwnBlock = std::unique_ptr<void, Deallocate>;

struct Unpin {
  void operator()(void* block) const { unpin(block); }
};
using Pin = std::unique_ptr<void, Unpin>;

uint64_t failed_allocations();  // calls of allocate() that gave null

}  // namespace ranvier
