#include "base/allocator.h"

#include <algorithm>
#include <mutex>

#include "base/system.h"

namespace ranvier {
namespace {

constexpr size_t kAlign = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr uint64_t kKeepAtMost = uint64_t{1} << 30;  // bytes of unused blocks; more goes back to the system
constexpr uint64_t kKeepAtLeast = uint64_t{16} << 20;
constexpr int kClasses = 4 * 48;

// Memory of this size and more is divided among requests, and its unused parts become one again.
constexpr size_t kDivideFrom = size_t{1} << 20, kLeastPart = size_t{64} << 10;

// Large blocks begin at different places within their pages: where several arrays are walked together, equal
// ones would fall into the same sets of the caches, and a load would wait for a store whose address differs
// in the upper bits only (Adam on arrays in the L3: a sixth of the time). Nine lines apart; sixteen places.
constexpr size_t kStaggerFrom = size_t{64} << 10, kStaggerStep = 9 * kAlign, kStaggerPlaces = 16;

enum class State : uint8_t { used, cached, discarded };  // discarded: unused, and its pages are the system's

// In the 64 bytes before each block.
struct Header {
  uint64_t serial;
  size_t capacity;          // bytes usable in the block
  void* memory;             // what the system gave, of its first block
  Header *previous, *next;  // of the unused blocks of its class; previous: of parts
  Header *before, *after;   // in the same memory
  int pins;
  bool released : 1;   // deallocated while pinned: the last unpin() takes it back
  bool discard : 1;    // see pin()
  bool is_part : 1;    // of memory that is divided
  uint8_t size_class;  // of no part
  State state;
  bool is_whole() const { return !before && !after; }
};
static_assert(sizeof(Header) <= kAlign);

// Four sizes to the octave: at most a quarter of a block is unused.
int size_class_of(size_t bytes, size_t* capacity) {
  size_t units = (bytes + kAlign - 1) / kAlign;  // of 64 bytes
  if (units < 4) units = 4;
  const int octave = 63 - __builtin_clzll(units);
  const int shift = octave - 2;
  const size_t steps = (units + (size_t{1} << shift) - 1) >> shift;  // 4..8
  *capacity = (steps << shift) * kAlign;
  return octave * 4 + static_cast<int>(steps - 4);
}

// std::mutex is trivial to destroy: blocks may be freed after main() ends.
std::mutex g_mutex;
Header* g_free[2][kClasses] = {};  // the unused blocks, parts apart, by size class; the last one first
CacheStats g_stats{};
uint64_t g_next_serial = 1;
uint64_t g_failed = 0;
uint64_t g_most = 0, g_room = 0;  // bytes in use at a time so far; that turned out to be used again
uint32_t g_given_back[kClasses];  // blocks

Header* header_of(const void* block) {
  return reinterpret_cast<Header*>(const_cast<char*>(static_cast<const char*>(block)) - kAlign);
}
char* begin_of(Header* h) { return reinterpret_cast<char*>(h) + kAlign; }

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
  *h = Header{};
  h->memory = p, h->capacity = capacity, h->is_part = capacity >= kDivideFrom;
  return h;
}

Header*& list_of(Header* h) {  // of the greatest class that it can serve
  if (!h->is_part) return g_free[0][h->size_class];
  size_t capacity;
  const int c = size_class_of(h->capacity, &capacity);
  return g_free[1][c - (capacity > h->capacity)];
}

void put(Header* h) {
  Header*& first = list_of(h);
  h->previous = nullptr, h->next = first, h->state = State::cached;
  if (h->is_part && first) first->previous = h;
  first = h;
  g_stats.bytes_cached += h->capacity;
}

void take(Header* h) {  // one that is no part is the first of its list
  (h->previous ? h->previous->next : list_of(h)) = h->next;
  if (h->is_part && h->next) h->next->previous = h->previous;
  if (h->state == State::cached) g_stats.bytes_cached -= h->capacity;
  h->state = State::used;
}

// Gives the block's pages to the system; its address stays valid. Of a block on huge pages also what follows
// it in the last one, which is backed as a whole.
void discard_block(Header* h) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(begin_of(h)), end = begin + h->capacity;
  const bool huge = h->is_whole() && h->capacity >= 2 * kHugePage;
  const uintptr_t last = huge ? (end + kHugePage - 1) / kHugePage * kHugePage : end;
  discard_pages(reinterpret_cast<void*>(begin), last - begin);
}

// An unused block goes to the system: as a whole, or its pages.
void give_back(Header* h) {
  if (h->is_whole()) {
    take(h);
    free_aligned(h->memory);
  } else if (h->state == State::cached) {
    discard_block(h);
    h->state = State::discarded;
    g_stats.bytes_cached -= h->capacity;
  }
}

// Gives back unused blocks, the largest first, until so many bytes are left.
void keep_at_most(uint64_t bytes) {
  for (int c = kClasses; c-- > 0;)
    for (auto& lists : {g_free[1], g_free[0]})
      for (Header *h = lists[c], *next; h && g_stats.bytes_cached > bytes; h = next) {
        next = h->next;
        g_given_back[c] += h->is_whole();
        give_back(h);
      }
}

// More memory from the system. What is unused and of no use to the request may then be a quarter of the most
// that was in use; a size that is asked for again after it was given back has a place from then on.
Header* more_memory(int size_class, size_t capacity) {
  if (g_given_back[size_class]) --g_given_back[size_class], g_room += capacity;
  const uint64_t used = g_stats.bytes_in_use + capacity, most = std::max(g_most, used);
  const uint64_t room = std::max(most + most / 4, kKeepAtLeast) - used + g_room;
  if (g_stats.bytes_cached > room) keep_at_most(room - room / 4);
  if (Header* h = new_block(capacity)) return h;
  keep_at_most(0);  // the kept blocks may be what the system lacks
  return new_block(capacity);
}

// What exceeds the capacity becomes a block of its own, whose place within its page differs from this one's.
void divide(Header* h, size_t capacity) {
  const size_t extent = capacity + kStaggerStep;
  if (h->capacity < extent + kLeastPart) return;
  Header* rest = reinterpret_cast<Header*>(begin_of(h) + extent - kAlign);
  *rest = Header{};
  rest->capacity = h->capacity - extent, rest->is_part = true;
  rest->before = h, rest->after = h->after;
  if (h->after) h->after->before = rest;
  h->after = rest, h->capacity = capacity;
  put(rest);
}

void join(Header* h, Header* after) {
  h->capacity = static_cast<size_t>(begin_of(after) - begin_of(h)) + after->capacity;
  h->after = after->after;
  if (h->after) h->after->before = h;
}

// A block without owner and pins goes into the cache or to the system. The list is of headers, so that this
// needs no memory and cannot fail.
void take_back(Header* h) {
  g_stats.bytes_in_use -= h->capacity;
  if (Header* after = h->after; after && after->state != State::used) take(after), join(h, after);
  if (Header* before = h->before; before && before->state != State::used) {
    take(before), join(before, h);
    h = before;
  }
  put(h);
  if (g_stats.bytes_cached > kKeepAtMost) give_back(h);
}

}  // namespace

void* allocate(size_t bytes) {
  if (bytes > (size_t{1} << 46)) return nullptr;
  size_t capacity;
  const int c = size_class_of(bytes, &capacity);
  std::lock_guard<std::mutex> lock(g_mutex);
  ++g_stats.allocations;
  const bool is_part = capacity >= kDivideFrom;
  Header* h = g_free[is_part][c];
  for (int larger = c + 1; is_part && !h && larger < kClasses; ++larger) h = g_free[1][larger];
  if (h) {
    take(h);
    ++g_stats.cache_hits;
  } else if (h = more_memory(c, capacity); !h) {
    ++g_failed;
    return nullptr;
  }
  if (is_part)
    divide(h, capacity);
  else
    h->size_class = static_cast<uint8_t>(c);
  h->serial = g_next_serial++;
  h->pins = 0, h->released = h->discard = false;
  g_stats.bytes_in_use += h->capacity;
  g_most = std::max(g_most, g_stats.bytes_in_use);
  g_stats.peak_bytes_in_use = std::max(g_stats.peak_bytes_in_use, g_stats.bytes_in_use);
  return begin_of(h);
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
  keep_at_most(0);
}

void lock_allocator() { g_mutex.lock(); }
void unlock_allocator() { g_mutex.unlock(); }

}  // namespace ranvier
