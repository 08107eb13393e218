#include "base/allocator.h"

#include <mutex>

#include "base/system.h"

namespace ranvier {
namespace {

constexpr size_t kAlign = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr uint64_t kKeepAtMost = uint64_t{1} << 30;  // bytes of unused blocks; more goes back to the system
constexpr int kClasses = 4 * 48;

// Large blocks begin at different places within their pages: where several arrays are walked together, equal
// ones would fall into the same sets of the caches, and a load would wait for a store whose address differs
// in the upper bits only (Adam on arrays in the L3: a sixth of the time). Nine lines apart; sixteen places.
constexpr size_t kStaggerFrom = size_t{64} << 10, kStaggerStep = 9 * kAlign, kStaggerPlaces = 16;

// In the 64 bytes before each block.
struct Header {
  uint64_t serial;
  size_t capacity;  // bytes usable in the block
  int size_class;
  void* memory;  // what the system gave
  int pins;
  bool released;  // deallocated while pinned: the last unpin() takes it back
  bool discard;   // see pin()
  Header* next;   // of the unused blocks of its class
};
static_assert(sizeof(Header) <= kAlign);

// Four sizes to the octave: at most a quarter of a block is unused.
int size_class_of(size_t bytes, size_t* capacity) {
  size_t units = (bytes + kAlign - 1) / kAlign;  // of 64 bytes
  if (units < 4) units = 4;
  const int octave = 63 - __builtin_clzll(units);
  const size_t step = size_t{1} << (octave - 2);
  const size_t steps = (units + step - 1) / step;  // 4..8
  *capacity = steps * step * kAlign;
  return octave * 4 + static_cast<int>(steps - 4);
}

// std::mutex is trivial to destroy: blocks may be freed after main() ends.
std::mutex g_mutex;
Header* g_free[kClasses] = {};  // the unused blocks by size class, the last one first
CacheStats g_stats{};
uint64_t g_next_serial = 1;
uint64_t g_failed = 0;

Header* header_of(const void* block) {
  return reinterpret_cast<Header*>(const_cast<char*>(static_cast<const char*>(block)) - kAlign);
}

// Blocks of several huge pages are aligned to them, so that the kernel can back them with few TLB entries.
Header* new_block(size_t capacity) {
  const bool huge = capacity >= 2 * kHugePage;
  const size_t align = huge ? kHugePage : kAlign;
  static size_t blocks = 0;  // guarded by g_mutex
  const size_t shift = capacity >= kStaggerFrom ? blocks++ % kStaggerPlaces * kStaggerStep : 0;
  const size_t total = (capacity + kAlign + shift + align - 1) / align * align;
  void* p = allocate_aligned(align, total);
  if (!p) return nullptr;
  if (huge) use_huge_pages(p, total);
  Header* h = reinterpret_cast<Header*>(static_cast<char*>(p) + shift);
  h->memory = p;
  return h;
}

void release_all() {
  for (Header*& first : g_free)
    while (Header* h = first) {
      first = h->next;
      free_aligned(h->memory);
    }
  g_stats.bytes_cached = 0;
}

// A block without owner and pins goes into the cache or to the system; g_mutex is held. The list is of
// headers, so that this needs no memory and cannot fail.
void take_back(Header* h) {
  g_stats.bytes_in_use -= h->capacity;
  if (g_stats.bytes_cached + h->capacity > kKeepAtMost) {
    free_aligned(h->memory);
    return;
  }
  h->next = g_free[h->size_class];
  g_free[h->size_class] = h;
  g_stats.bytes_cached += h->capacity;
}

// Gives the block's pages to the system; its address stays valid. Of a block on huge pages also what follows
// it in the last one, which is backed as a whole.
void discard_block(Header* h) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(h) + kAlign, end = begin + h->capacity;
  const uintptr_t last = h->capacity >= 2 * kHugePage ? (end + kHugePage - 1) / kHugePage * kHugePage : end;
  discard_pages(reinterpret_cast<void*>(begin), last - begin);
}

}  // namespace

void* allocate(size_t bytes) {
  if (bytes > (size_t{1} << 46)) return nullptr;
  size_t capacity;
  const int c = size_class_of(bytes, &capacity);
  std::lock_guard<std::mutex> lock(g_mutex);
  Header* h = g_free[c];
  ++g_stats.allocations;
  if (h) {
    g_free[c] = h->next;
    g_stats.bytes_cached -= capacity;
    ++g_stats.cache_hits;
  } else {
    h = new_block(capacity);
    if (!h) {  // the kept blocks may be what the system lacks
      release_all();
      h = new_block(capacity);
    }
    if (!h) {
      ++g_failed;
      return nullptr;
    }
  }
  *h = Header{g_next_serial++, capacity, c, h->memory, 0, false, false, nullptr};
  g_stats.bytes_in_use += capacity;
  if (g_stats.bytes_in_use > g_stats.peak_bytes_in_use) g_stats.peak_bytes_in_use = g_stats.bytes_in_use;
  return reinterpret_cast<char*>(h) + kAlign;
}

void deallocate(void* block) {
  if (!block) return;
  Header* h = header_of(block);
  std::lock_guard<std::mutex> lock(g_mutex);
  if (!h->pins) return take_back(h);
  h->released = true;
  if (h->discard) discard_block(h);
}

void pin(void* block, bool discard) {
  std::lock_guard<std::mutex> lock(g_mutex);
  Header* h = header_of(block);
  ++h->pins;
  h->discard = discard;
}

void unpin(void* block) {
  Header* h = header_of(block);
  std::lock_guard<std::mutex> lock(g_mutex);
  if (--h->pins || !h->released) return;
  // A recording's own memory is seldom of use to what comes after. Small blocks are: to the next recording.
  constexpr size_t kDiscarded = 1 << 18;
  if (h->capacity >= kDiscarded) discard_block(h);
  take_back(h);
}

bool is_released(const void* block) {
  std::lock_guard<std::mutex> lock(g_mutex);
  return header_of(block)->released;
}

uint64_t allocation_serial(const void* block) { return header_of(block)->serial; }
uint64_t next_serial() {
  std::lock_guard<std::mutex> lock(g_mutex);
  return g_next_serial;
}
uint64_t failed_allocations() {
  std::lock_guard<std::mutex> lock(g_mutex);
  return g_failed;
}
size_t allocation_capacity(const void* block) { return header_of(block)->capacity; }

CacheStats cache_stats() {
  std::lock_guard<std::mutex> lock(g_mutex);
  return g_stats;
}

void reset_peak() {
  std::lock_guard<std::mutex> lock(g_mutex);
  g_stats.peak_bytes_in_use = g_stats.bytes_in_use;
}

void empty_cache() {
  std::lock_guard<std::mutex> lock(g_mutex);
  release_all();
}

void lock_allocator() { g_mutex.lock(); }
void unlock_allocator() { g_mutex.unlock(); }

}  // namespace ranvier
