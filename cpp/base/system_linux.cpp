// The functions of system.h for Linux.
#if defined(__linux__)
#include <linux/futex.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/system.h"

namespace ranvier {
namespace {

int read_int(const std::string& path, int otherwise) {
  std::ifstream file(path);
  int value;
  return file >> value ? value : otherwise;
}

// The physical cores of a mask of CPUs. Two hyper-threads of a core share its FMA units, so they count once.
int physical_cores(const cpu_set_t& mask) {
  std::set<std::pair<int, int>> cores;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &mask)) continue;
    const std::string topology = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    cores.emplace(read_int(topology + "physical_package_id", 0), read_int(topology + "core_id", -1 - cpu));
  }
  return static_cast<int>(cores.size());
}

// If the user places threads (OMP_PROC_BIND), OpenMP has bound this thread to the first place. The team may
// use the CPUs of all places, unless it must stay at the place of this thread (omp_proc_bind_master).
void add_places(cpu_set_t& mask) {
  if (omp_get_proc_bind() == omp_proc_bind_master) return;
  for (int place = 0; place < omp_get_num_places(); ++place) {
    std::vector<int> cpus(std::max(0, omp_get_place_num_procs(place)));
    omp_get_place_proc_ids(place, cpus.data());
    for (int cpu : cpus)
      if (cpu >= 0 && cpu < CPU_SETSIZE) CPU_SET(cpu, &mask);
  }
}

// The CPU quota of a container, as a number of CPUs: cgroup v2, then v1. Infinity if there is none.
double cgroup_quota() {
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period;
  if (v2 >> quota >> period && quota != "max" && period > 0)
    return std::strtod(quota.c_str(), nullptr) / period;
  const int quota_us = read_int("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", -1);
  const int period_us = read_int("/sys/fs/cgroup/cpu/cpu.cfs_period_us", 0);
  return quota_us > 0 && period_us > 0 ? static_cast<double>(quota_us) / period_us : HUGE_VAL;
}

// The first word of a file that describes a cache of the first CPU; empty if there is no such file.
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

constexpr timespec kNap{0, 20000};  // seconds, nanoseconds
constexpr timespec kLongestSleep{0, 50000000};

}  // namespace

int usable_cpus() {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return 1;
  add_places(mask);
  const double cpus = std::min<double>(physical_cores(mask), std::ceil(cgroup_quota()));
  return std::max(1, static_cast<int>(cpus));
}

void read_cache_sizes(int64_t (&sizes)[3]) {
  for (int i = 0; i < 8; ++i) {
    const int level = std::atoi(Word(i, "level").text);
    if (level == 0) break;
    if (level > 3 || !std::strcmp(Word(i, "type").text, "Instruction")) continue;
    const Word size(i, "size");  // 1024K, 32M
    int64_t unit = 1;
    if (std::strchr(size.text, 'K')) unit = 1 << 10;
    if (std::strchr(size.text, 'M')) unit = 1 << 20;
    if (const int64_t n = std::atoll(size.text)) sizes[level - 1] = n * unit;
  }
}

bool may_use_tiles() {
#if defined(__x86_64__)
  constexpr int kAsk = 0x1023;   // ARCH_REQ_XCOMP_PERM: for all threads
  constexpr int kTileData = 18;  // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kAsk, kTileData) == 0;
#else
  return false;
#endif
}

void nap() { nanosleep(&kNap, nullptr); }
bool on_main_thread() { return syscall(SYS_gettid) == getpid(); }

void sleep_while(std::atomic<uint32_t>& word, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAIT_PRIVATE, value, &kLongestSleep, nullptr,
          0);
}

void wake_all(std::atomic<uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
}

ThreadId this_thread() { return static_cast<ThreadId>(syscall(SYS_gettid)); }
int this_cpu() { return sched_getcpu(); }

void keep_off(int cpu, const ThreadId* threads, int count) {
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return;
  if (cpu >= 0 && CPU_COUNT(&mask) > 1) CPU_CLR(cpu, &mask);
  for (int i = 0; i < count; ++i)
    if (threads[i]) sched_setaffinity(threads[i], sizeof mask, &mask);
}

void at_fork(void (*before)(), void (*after)(), void (*after_in_child)()) {
  pthread_atfork(before, after, after_in_child);
}

// Large memory is mapped: malloc keeps what is freed, with its pages, up to 32 MB of each block.
constexpr size_t kMapped = size_t{1} << 20;

static uintptr_t rounded_up(uintptr_t n, size_t to) { return (n + to - 1) / to * to; }
static size_t page_bytes() {
  static const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));  // 4, 16 or 64 KB
  return page;
}

void* allocate_aligned(size_t align, size_t bytes) {
  if (bytes < kMapped) return std::aligned_alloc(align, bytes);
  const size_t size = rounded_up(bytes, page_bytes());
  const size_t more = align > page_bytes() ? align : 0;  // an aligned range is in it; the rest is unmapped
  void* const p = mmap(nullptr, size + more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) return nullptr;
  if (!more) return p;
  const auto begin = reinterpret_cast<uintptr_t>(p);
  const uintptr_t first = rounded_up(begin, align);
  const uintptr_t last = first + size;
  if (first > begin) munmap(p, first - begin);
  if (begin + size + more > last) munmap(reinterpret_cast<void*>(last), begin + size + more - last);
  return reinterpret_cast<void*>(first);
}

void free_aligned(void* memory, size_t bytes) {
  if (bytes < kMapped) return std::free(memory);
  munmap(memory, rounded_up(bytes, page_bytes()));
}

void use_huge_pages(void* memory, size_t bytes) { madvise(memory, bytes, MADV_HUGEPAGE); }

void discard_pages(void* memory, size_t bytes) {
  const uintptr_t page = page_bytes();
  const uintptr_t begin = reinterpret_cast<uintptr_t>(memory);
  const uintptr_t first = rounded_up(begin, page);
  const uintptr_t last = (begin + bytes) / page * page;
  if (first < last) madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace ranvier
#endif
