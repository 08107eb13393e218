// Implements allocator.h: size classes, the cache of unused blocks, and the division of large memory among
// several blocks. allocate(), deallocate(), pin() and unpin() may be called by any thread, with or without
// the GIL; the functions of the unnamed namespace are called with g_mutex held.
#include "base/allocator.h"

#include <algorithm>
#include <mutex>

#include "base/system.h"

namespace ranvier {
namespace {

// A block is what allocate() returns; its header is in the 64 bytes before it. The system gives memory for
// each small block separately. Memory of kDivideFrom bytes and more can be divided into several blocks. Each
// block in such memory is called a part, even if it is the only one. Unused blocks are kept in lists, one for
// each size class: the cache.

constexpr size_t kAlign = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr uint64_t kKeepAtMost = uint64_t{1} << 30;  // bytes of unused blocks; further ones go to the system
constexpr uint64_t kKeepAtLeast = uint64_t{16} << 20;  // see more_memory()
constexpr int kClasses = 4 * 48;  // enough: allocate() takes at most 2^46 bytes, which are 2^40 units

// Memory of kDivideFrom bytes and more is divided among requests, and neighbouring unused parts are joined
// again. No part of less than kLeastPart bytes is split off.
constexpr size_t kDivideFrom = size_t{1} << 20;
constexpr size_t kLeastPart = size_t{64} << 10;

// Large blocks begin at different offsets within a page: 16 offsets, nine cache lines apart. A loop over
// several arrays of equal size and equal offset would use the same sets of the caches for all of them, and a
// load would wait for a store to another array whose address differs in the upper bits only. (That is a sixth
// of Adam's time on arrays in the L3.)
constexpr size_t kStaggerFrom = size_t{64} << 10;  // bytes of a block
constexpr size_t kStaggerStep = 9 * kAlign;
constexpr size_t kStaggerPlaces = 16;

// discarded: unused, and its pages are given back to the system, so that its bytes do not count as cached. An
// unused part that is split off a discarded one, or joined with it, counts as cached again as a whole; the
// system supplies the missing pages when they are written.
enum class State : uint8_t { used, cached, discarded };

// In the 64 bytes before each block.
struct Header {
  uint64_t serial;
  size_t capacity;          // bytes usable in the block
  void* memory;             // the address that the system gave; set in the first block of this memory only
  Header *previous, *next;  // neighbours in the list of unused blocks; `previous` is set for parts only
  Header *before, *after;   // the parts at lower and higher addresses in the same memory, or null
  int pins;                 // how often the block is pinned: see pin() in allocator.h
  bool released : 1;        // deallocated while pinned: the last unpin() takes it back
  bool discard : 1;         // the last pin() allows deallocate() to give the pages back to the system
  bool is_part : 1;         // the block is in memory that can be divided
  bool is_empty : 1;        // released, and its pages are given back: it does not count as in use
  bool is_kept : 1;         // released, and its bytes count in g_kept
  uint8_t size_class;       // set unless the block is a part; for parts see list_of()
  State state;
  bool is_whole() const { return !before && !after; }
};
static_assert(sizeof(Header) <= kAlign);

// The number of the smallest size class that holds this many bytes, and its capacity. There are four classes
// from one power of two to the next: 4, 5, 6 and 7 times 2^shift units of 64 bytes. So less than a fifth of a
// block is unused, except for requests of less than 256 bytes.
//
// Example: 1100 bytes are 18 units, rounded up. The power of two below is 16 = 2^4, so octave = 4 and
// shift = 2. 18 units need 5 steps of 4 units: 20 units or 1280 bytes, class 4 * 4 + (5 - 4) = 17.
int size_class_of(size_t bytes, size_t* capacity) {
  size_t units = (bytes + kAlign - 1) / kAlign;
  if (units < 4) units = 4;
  const int octave = 63 - __builtin_clzll(units);
  const int shift = octave - 2;
  // 4 to 8; with 8 the class is the first one of the next octave.
  const size_t steps = (units + (size_t{1} << shift) - 1) >> shift;
  *capacity = (steps << shift) * kAlign;
  return octave * 4 + static_cast<int>(steps - 4);
}

// Guards all variables below and all headers. std::mutex is trivial to destroy: blocks may be freed after
// main() ends.
std::mutex g_mutex;
Header* g_free[2][kClasses] = {};  // [is_part][size class]: lists of unused blocks, the last one freed first
CacheStats g_stats{};
// Bytes of blocks that were deallocated while pinned and keep their pages, and how many there may be. Small
// networks need the pages again at once; the system takes a microsecond for each block, and for each page.
uint64_t g_kept = 0;
constexpr uint64_t kMostKept = uint64_t{1} << 20;
uint64_t g_next_serial = 1;
uint64_t g_failed = 0;
// The most bytes that were in use at one time; reset_peak() does not change it.
uint64_t g_most = 0;
// Bytes that were requested again after they had been given back to the system; the cache may hold this many
// more.
uint64_t g_room = 0;
// How often keep_at_most() gave back a block of this class that was alone in its memory, less the requests of
// new memory for this class since then. Parts that share their memory, and blocks that take_back() gives
// back, are not counted.
uint32_t g_given_back[kClasses];

Header* header_of(const void* block) {
  return reinterpret_cast<Header*>(const_cast<char*>(static_cast<const char*>(block)) - kAlign);
}
char* begin_of(Header* h) { return reinterpret_cast<char*>(h) + kAlign; }

// The bytes of memory from the system for one block that begins `shift` bytes later.
size_t total_of(size_t capacity, size_t shift) {
  const size_t align = capacity >= kHugePage ? kHugePage : kAlign;
  return (capacity + kAlign + shift + align - 1) / align * align;
}

// A block in new memory from the system, or null. Memory for blocks of a huge page and more is aligned to
// huge pages, so that the kernel can back it with few TLB entries. A rest of less than three quarters of one
// stays on small pages, so that a block takes an eighth more memory at most. The block begins `shift` bytes
// later (kStaggerStep).
Header* new_block(size_t capacity) {
  const bool huge = capacity >= kHugePage;
  static size_t blocks = 0;  // guarded by g_mutex
  size_t shift = 0;
  if (capacity >= kStaggerFrom) {
    shift = blocks % kStaggerPlaces * kStaggerStep;
    ++blocks;
  }
  const size_t used = capacity + kAlign + shift;
  void* p = allocate_aligned(huge ? kHugePage : kAlign, total_of(capacity, shift));
  if (!p) return nullptr;
  if (huge) use_huge_pages(p, (used + kHugePage / 4) / kHugePage * kHugePage);
  Header* h = reinterpret_cast<Header*>(static_cast<char*>(p) + shift);
  *h = Header{};
  h->memory = p;
  h->capacity = capacity;
  h->is_part = capacity >= kDivideFrom;
  return h;
}

// The list that an unused block belongs in. For a part it is the list of the largest class whose capacity
// fits into the part. Example: size_class_of() gives the class of 1.25 MiB for 1.1 MiB, rounded up. A part of
// 1.1 MiB cannot serve a request of that class, so it is in the list of the class below, 1 MiB.
Header*& list_of(Header* h) {
  if (!h->is_part) return g_free[0][h->size_class];
  size_t capacity;
  int size_class = size_class_of(h->capacity, &capacity);
  if (capacity > h->capacity) --size_class;  // it was rounded up
  return g_free[1][size_class];
}

// Puts an unused block at the front of its list.
void put(Header* h) {
  Header*& first = list_of(h);
  h->previous = nullptr;
  h->next = first;
  h->state = State::cached;
  if (h->is_part && first) first->previous = h;
  first = h;
  g_stats.bytes_cached += h->capacity;
}

// Takes a block out of its list. Only parts have `previous`: any other block must be the first of its list.
void take(Header* h) {
  Header*& link = h->previous ? h->previous->next : list_of(h);  // what points to this block
  link = h->next;
  if (h->is_part && h->next) h->next->previous = h->previous;
  if (h->state == State::cached) g_stats.bytes_cached -= h->capacity;
  h->state = State::used;
}

// Gives the block's pages back to the system; its address stays valid. A block on huge pages gives back the
// whole of its last page, also the bytes after the block's end: nothing else is in them.
void discard_block(Header* h) {
  const uintptr_t begin = reinterpret_cast<uintptr_t>(begin_of(h));
  const uintptr_t end = begin + h->capacity;
  const bool huge = h->is_whole() && h->capacity >= kHugePage;
  const uintptr_t last = huge ? (end + kHugePage - 1) / kHugePage * kHugePage : end;
  discard_pages(reinterpret_cast<void*>(begin), last - begin);
}

// Notes that the pages of a cached block are given back to the system.
void note_discarded(Header* h) {
  h->state = State::discarded;
  g_stats.bytes_cached -= h->capacity;
}

// Gives an unused block back to the system: the block itself if it is alone in its memory, else its pages
// only.
void give_back(Header* h) {
  if (h->is_whole()) {
    take(h);
    const auto shift = static_cast<size_t>(reinterpret_cast<char*>(h) - static_cast<char*>(h->memory));
    free_aligned(h->memory, total_of(h->capacity, shift));
  } else if (h->state == State::cached) {
    discard_block(h);
    note_discarded(h);
  }
}

// Gives back unused blocks, the largest first, until at most this many bytes are cached; with 0 bytes also
// those that are discarded.
void keep_at_most(uint64_t bytes) {
  for (int c = kClasses - 1; c >= 0; --c)
    for (auto& lists : {g_free[1], g_free[0]}) {
      Header* h = lists[c];
      while (h && (g_stats.bytes_cached > bytes || bytes == 0)) {
        Header* const next = h->next;  // read before give_back(), which frees a whole block with its header
        g_given_back[c] += h->is_whole();
        give_back(h);
        h = next;
      }
    }
}

// A block of new memory from the system, for a request that no cached block can serve. The cache may then
// hold
//
//   room = max(1.25 * most, kKeepAtLeast) - used + g_room      bytes, where
//   used = bytes in use with the new block
//   most = the most bytes that were ever in use at one time, at least `used`
//
// If it holds more, the largest blocks are given back until three quarters of the room are filled. If a block
// of the requested class was given back before, g_room grows by its capacity, so that the cache keeps such
// blocks from then on.
//
// Example: with most = 100 MiB, used = 88 MiB and g_room = 0 the room is 125 - 88 = 37 MiB.
Header* more_memory(int size_class, size_t capacity) {
  if (g_given_back[size_class]) {
    --g_given_back[size_class];
    g_room += capacity;
  }
  const uint64_t used = g_stats.bytes_in_use + capacity;
  const uint64_t most = std::max(g_most, used);
  const uint64_t room = std::max(most + most / 4, kKeepAtLeast) - used + g_room;
  if (g_stats.bytes_cached > room) keep_at_most(room - room / 4);
  Header* const h = new_block(capacity);
  if (h) return h;
  keep_at_most(0);  // the system has no memory: give it the cached blocks, and try again
  return new_block(capacity);
}

// Splits a part: what exceeds the capacity becomes a separate, unused part, if it is kLeastPart bytes or
// more. kStaggerStep bytes are left between the two parts, so that they begin at different places within
// their pages; the header of the second part is at the end of these bytes.
void divide(Header* h, size_t capacity) {
  const size_t extent = capacity + kStaggerStep;
  if (h->capacity < extent + kLeastPart) return;
  Header* rest = reinterpret_cast<Header*>(begin_of(h) + extent - kAlign);
  *rest = Header{};
  rest->capacity = h->capacity - extent;
  rest->is_part = true;
  rest->before = h;
  rest->after = h->after;
  if (h->after) h->after->before = rest;
  h->after = rest;
  h->capacity = capacity;
  put(rest);
}

// Makes one part of two neighbours.
void join(Header* h, Header* after) {
  h->capacity = static_cast<size_t>(begin_of(after) - begin_of(h)) + after->capacity;
  h->after = after->after;
  if (h->after) h->after->before = h;
}

// Puts a block that has neither owner nor pins into the cache, joined with unused neighbours, or gives it to
// the system. The lists link the headers themselves, so that this needs no memory and cannot fail.
void take_back(Header* h) {
  if (h->is_kept) g_kept -= h->capacity;
  const bool is_empty = h->is_empty;
  if (!is_empty) g_stats.bytes_in_use -= h->capacity;
  bool is_discarded = is_empty;
  if (Header* after = h->after; after && after->state != State::used) {
    is_discarded &= after->state == State::discarded;
    take(after);
    join(h, after);
  }
  if (Header* before = h->before; before && before->state != State::used) {
    is_discarded &= before->state == State::discarded;
    take(before);
    join(before, h);
    h = before;
  }
  put(h);
  if (is_discarded) note_discarded(h);
  // Memory without pages serves no request better than the system does.
  if ((is_discarded && h->is_whole()) || g_stats.bytes_cached > kKeepAtMost) give_back(h);
}

}  // namespace

// Takes an unused block of the size class, or divides a larger part; else takes new memory from the system.
// Null if there is none.
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
  } else {
    h = more_memory(c, capacity);
  }
  if (!h) {
    ++g_failed;
    return nullptr;
  }
  if (is_part) {
    divide(h, capacity);
  } else {
    h->size_class = static_cast<uint8_t>(c);
  }
  h->serial = g_next_serial;
  ++g_next_serial;
  h->pins = 0;
  h->released = false;
  h->discard = false;
  h->is_empty = false;
  h->is_kept = false;
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
  constexpr size_t kDiscarded = 1 << 13;  // of less, hardly a whole page is in the block
  if (!h->discard || h->capacity < kDiscarded) return;
  if (g_kept + h->capacity <= kMostKept) {
    g_kept += h->capacity;
    h->is_kept = true;
    return;
  }
  discard_block(h);
  h->is_empty = true;
  g_stats.bytes_in_use -= h->capacity;
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
  --h->pins;
  if (h->pins == 0 && h->released) take_back(h);
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
