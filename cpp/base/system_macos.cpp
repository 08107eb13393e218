// The functions of system.h for macOS.
#if defined(__APPLE__)
#include <pthread.h>
#include <sys/mman.h>
#include <sys/sysctl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "base/sleepers.h"
#include "base/system.h"

namespace ranvier {
namespace {

// A value of the system by name; 0 if there is none.
int64_t value_of(const char* name) {
  int64_t value = 0;  // the system writes 4 or 8 bytes, the lower ones first
  size_t size = sizeof value;
  return sysctlbyname(name, &value, &size, nullptr, 0) == 0 ? value : 0;
}

// A value of the system by name: for the fast cores if there are two kinds of cores, else for all.
int64_t value_of(const char* of_fast_cores, const char* otherwise) {
  const int64_t value = value_of(of_fast_cores);
  return value ? value : value_of(otherwise);
}

Sleepers g_sleepers;

}  // namespace

// The fast cores only: a slow core would make the others wait at the end of each loop.
int usable_cpus() {
  const int64_t cores = value_of("hw.perflevel0.physicalcpu", "hw.physicalcpu");
  return static_cast<int>(std::max<int64_t>(1, cores));
}

void read_cache_sizes(int64_t (&sizes)[3]) {
  const int64_t bytes[] = {value_of("hw.perflevel0.l1dcachesize", "hw.l1dcachesize"),
                           value_of("hw.perflevel0.l2cachesize", "hw.l2cachesize"),
                           value_of("hw.perflevel0.l3cachesize", "hw.l3cachesize")};
  for (int i = 0; i < 3; ++i)
    if (bytes[i]) sizes[i] = bytes[i];
}

bool may_use_tiles() { return false; }

void nap() {
  const timespec time{0, 20000};
  nanosleep(&time, nullptr);
}

bool on_main_thread() { return pthread_main_np() != 0; }

void sleep_while(std::atomic<uint32_t>& word, uint32_t value) { g_sleepers.sleep_while(word, value); }
void wake_all(std::atomic<uint32_t>&) { g_sleepers.wake(); }

// Threads cannot be placed.
ThreadId this_thread() { return 1; }
int this_cpu() { return -1; }
void keep_off(int, const ThreadId*, int) {}

void at_fork(void (*before)(), void (*after)(), void (*after_in_child)()) {
  pthread_atfork(before, after, after_in_child);
}

void* allocate_aligned(size_t align, size_t bytes) { return std::aligned_alloc(align, bytes); }
void free_aligned(void* memory, size_t) { std::free(memory); }
void use_huge_pages(void*, size_t) {}

void discard_pages(void* memory, size_t bytes) {
  static const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = (begin + page - 1) / page * page;
  const uintptr_t last = (begin + bytes) / page * page;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_FREE);
}

}  // namespace ranvier
#endif
