// The functions of system.h for Windows.
#if defined(_WIN32)
#define NOMINMAX
#define WIN32_LEAN_AND_MEAN
#include <malloc.h>
#include <windows.h>

#include <algorithm>
#include <vector>

#include "base/sleepers.h"
#include "base/system.h"

namespace ranvier {
namespace {

using Fact = SYSTEM_LOGICAL_PROCESSOR_INFORMATION;  // about a core or a cache

// The facts of the processor group of this process (at most 64 CPUs).
std::vector<Fact> facts() {
  DWORD bytes = 0;
  GetLogicalProcessorInformation(nullptr, &bytes);
  std::vector<Fact> list(bytes / sizeof(Fact) + 1);
  bytes = static_cast<DWORD>(list.size() * sizeof(Fact));
  if (!GetLogicalProcessorInformation(list.data(), &bytes)) bytes = 0;
  list.resize(bytes / sizeof(Fact));
  return list;
}

const DWORD g_main_thread =
    GetCurrentThreadId();  // Python's main thread is nearly always the one that imports
Sleepers g_sleepers;

}  // namespace

int usable_cpus() {
  DWORD_PTR mask = 0;
  DWORD_PTR of_system = 0;
  if (!GetProcessAffinityMask(GetCurrentProcess(), &mask, &of_system)) return 1;
  int cores = 0;
  for (const Fact& fact : facts())
    cores += fact.Relationship == RelationProcessorCore && (fact.ProcessorMask & mask);
  return std::max(1, cores);
}

void read_cache_sizes(int64_t (&sizes)[3]) {
  for (const Fact& fact : facts()) {
    const CACHE_DESCRIPTOR& cache = fact.Cache;
    if (fact.Relationship != RelationCache || !(fact.ProcessorMask & 1) || cache.Type == CacheInstruction)
      continue;
    if (cache.Level >= 1 && cache.Level <= 3 && cache.Size) sizes[cache.Level - 1] = cache.Size;
  }
}

bool may_use_tiles() { return false; }

void nap() { SwitchToThread(); }  // the shortest Sleep() is up to 16 ms
bool on_main_thread() { return GetCurrentThreadId() == g_main_thread; }

void sleep_while(std::atomic<uint32_t>& word, uint32_t value) { g_sleepers.sleep_while(word, value); }
void wake_all(std::atomic<uint32_t>&) { g_sleepers.wake(); }

// The system's scheduler places the threads.
ThreadId this_thread() { return static_cast<ThreadId>(GetCurrentThreadId()); }
int this_cpu() { return -1; }
void keep_off(int, const ThreadId*, int) {}

void at_fork(void (*)(), void (*)(), void (*)()) {}

void* allocate_aligned(size_t align, size_t bytes) { return _aligned_malloc(bytes, align); }
void free_aligned(void* memory, size_t) { _aligned_free(memory); }
void use_huge_pages(void*, size_t) {}

void discard_pages(void* memory, size_t bytes) {
  constexpr uintptr_t kPage = 4096;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = (begin + kPage - 1) / kPage * kPage;
  const uintptr_t last = (begin + bytes) / kPage * kPage;
  if (first < last) VirtualAlloc(reinterpret_cast<void*>(first), last - first, MEM_RESET, PAGE_READWRITE);
}

}  // namespace ranvier
#endif
