// A caching allocator of blocks that are aligned to 64 bytes. Arrays and workspaces of the same sizes are
// allocated and freed in every step, and new memory from the system for each would take longer than the
// kernel that fills it. NumPy's memory handler (bindings/binder/new_array.cpp), programs and kernels use it,
// from any thread, with or without the GIL. A block belongs to its caller until deallocate().
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>

namespace ranvier {

void* allocate(size_t bytes);  // uninitialised, aligned to 64 bytes; null if there is no memory
void deallocate(void* block);  // any thread; null is ignored
// A number that never repeats: it tells a block from an earlier one at the same address.
uint64_t allocation_serial(const void* block);
uint64_t next_serial();                         // greater than the serial of any block so far
size_t allocation_capacity(const void* block);  // bytes that may be used

// The address of a pinned block is not given to another block, even after its deallocation, until it has been
// unpinned as often as pinned. Code that records or replays kernel calls pins their blocks, so that an
// address means one block only. discard: the deallocation may give the contents to the system, and the block
// is no longer in use, so that a recording takes no more memory than the step itself.
void pin(void* block, bool discard);
void unpin(void* block);
bool is_released(const void* block);  // true if the owner of a pinned block has deallocated it

struct CacheStats {
  uint64_t allocations;   // calls of allocate()
  uint64_t cache_hits;    // calls that were served without the system
  uint64_t bytes_in_use;  // in blocks handed out
  uint64_t bytes_cached;  // in blocks kept for reuse
  uint64_t peak_bytes_in_use;
};
CacheStats cache_stats();
void reset_peak();
void empty_cache();  // gives the kept blocks back to the system

// For fork(): the child must not inherit a lock that another thread held.
void lock_allocator();
void unlock_allocator();

// Memory for one kernel call: on the stack of the caller if it is small.
class Workspace {
 public:
  explicit Workspace(size_t bytes) {
    if (bytes <= sizeof near_) return;
    block_ = allocate(bytes);
    data_ = block_;
  }
  ~Workspace() { deallocate(block_); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  void* data() const { return data_; }  // uninitialised; null if there is no memory

 private:
  alignas(64) char near_[4096];
  void* block_ = nullptr;  // owned; null if near_ is enough
  void* data_ = near_;
};

// Owners of a block and of a pin, which give it back, also if a constructor ends with an exception.

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
