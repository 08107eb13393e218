#include "base/parallel.h"

#include <linux/futex.h>
#include <omp.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <mutex>
#include <new>

#include "base/allocator.h"
#include "base/cpu_count.h"
#include "base/fork.h"

namespace ranvier {
namespace {

constexpr int kMaxTracked = 256;  // workers whose placement we manage

std::mutex g_team;  // held while a team is open
std::atomic<int> g_count{1};
std::atomic<unsigned> g_version{1};  // of g_count
bool g_place_workers = true;

// For Team::barrier(): of the one team, so that the memory can be static.
constexpr int kMaxFlags = 64;
struct alignas(64) Flag {
  std::atomic<uint32_t> round;
};
Flag g_flags[kMaxFlags];
alignas(64) std::atomic<int> g_sleepers{0};
int g_spins = 0;  // of a thread that waits, before it sleeps
int g_cpus = 1;   // that the process may use

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

constexpr timespec kBetweenLooks{0, 50000000};  // of a thread that sleeps and may have to look for signals

void futex(std::atomic<uint32_t>& word, int operation, uint32_t value) {
  syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), operation, value,
          operation == FUTEX_WAIT_PRIVATE ? &kBetweenLooks : nullptr, nullptr, 0);
}

// Until the flag has come to a round.
void wait_for(const Team& team, std::atomic<uint32_t>& flag, uint32_t round) {
  const auto is_behind = [&](uint32_t seen) { return static_cast<int32_t>(seen - round) < 0; };
  for (int spins = g_spins; spins > 0 && is_behind(flag.load(std::memory_order_acquire)); --spins) pause();
  if (!is_behind(flag.load(std::memory_order_acquire))) return;
  g_sleepers.fetch_add(
      1);  // before the flag is looked at again: the thread that raises it sees one of the two
  for (uint32_t seen; is_behind(seen = flag.load()); interrupted(team)) futex(flag, FUTEX_WAIT_PRIVATE, seen);
  g_sleepers.fetch_sub(1);
}
thread_local bool t_alone = false;
thread_local unsigned t_version = 0;  // of g_count as last given to OpenMP on this thread

// OpenMP keeps a pool of workers for each thread that opens regions; this is that thread's record of them.
struct Placement {
  int caller_cpu = -1;
  bool fresh = false;  // a worker's thread id was seen for the first time
  pid_t workers[kMaxTracked] = {};
};
thread_local Placement t_placement;
Placement* g_region = nullptr;  // of the region being opened; guarded by g_team

// A worker woken onto the CPU where the caller spins waits there for a whole time slice: 4 to 8 ms, measured,
// for a region of 14 us. So workers may run anywhere but on the caller's CPU. One system call each when the
// caller has moved.
void keep_workers_off_caller(Placement& p) {
  const int cpu = sched_getcpu();
  if (!g_place_workers || (cpu == p.caller_cpu && !p.fresh)) return;
  p.caller_cpu = cpu;
  p.fresh = false;
  cpu_set_t mask;
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return;
  if (cpu >= 0 && CPU_COUNT(&mask) > 1) CPU_CLR(cpu, &mask);
  for (pid_t tid : p.workers)
    if (tid) sched_setaffinity(tid, sizeof mask, &mask);
}

bool user_places_threads() {
  for (const char* name : {"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"})
    if (std::getenv(name)) return true;
  return false;
}

bool g_has_team = false;  // of the thread that forks

// A forked child has none of the pool's threads, and its first region would wait for them for ever: the pool
// is ended before the fork and each side builds its own again. The locks are held across it so that the child
// gets them free, and no change by a program is half done.
void before_fork() {
  hold_runs();
  while (!(g_has_team = g_team.try_lock()) && !is_fork_allowed()) nap();
  lock_allocator();
  if (!omp_in_parallel()) omp_pause_resource_all(omp_pause_soft);
  t_placement = Placement{};
}

void after_fork() {
  unlock_allocator();
  if (g_has_team) g_team.unlock();
  release_runs();
}

void after_fork_in_child() {
  unlock_allocator();
  if (g_has_team)
    g_team.unlock();
  else
    new (&g_team) std::mutex;  // held by a thread that the child does not have
  forget_runs();
  g_sleepers.store(0);
}

}  // namespace

int default_num_threads() {
  const char* wanted = std::getenv("OMP_NUM_THREADS");
  return wanted && *wanted ? omp_get_max_threads() : usable_cpus();
}

void init_parallel() {
  g_cpus = usable_cpus();
  set_num_threads(default_num_threads());
  g_place_workers = !user_places_threads();
  pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

void set_num_threads(int count) {
  g_count.store(count);
  g_version.fetch_add(1);
}

// OpenMP's own setting is per thread: ours is applied where it has changed, and what threadpoolctl or the
// user sets there afterwards counts.
int num_threads() {
  const unsigned version = g_version.load(std::memory_order_relaxed);
  if (t_version != version) {
    omp_set_num_threads(g_count.load());
    t_version = version;
  }
  return omp_get_max_threads();
}

void set_alone(bool alone) { t_alone = alone; }

// Every thread raises its own flag and waits for the others': the shortest way between two threads
// (a third of an OpenMP barrier's time). It spins, since the next work of an open team comes within
// microseconds. After a long wait (the other thread works alone or has no processor) it sleeps.
void OpenTeam::meet() const {
  if (size_ > kMaxFlags) {
#pragma omp barrier
    return;
  }
  const uint32_t round = ++*round_;
  std::atomic<uint32_t>& own = g_flags[index_].round;
  own.store(round);
  if (g_sleepers.load() > 0) futex(own, FUTEX_WAKE_PRIVATE, INT_MAX);
  for (int i = 0; i < size_; ++i) wait_for(*this, g_flags[i].round, round);
}

int64_t OpenTeam::piece_of(int64_t count) const {
  constexpr double kAtOnce = 4e6;  // nanoseconds: the cost is a guess, and may be ten times too small
  const double pieces = cost_ns_ / kAtOnce / size_;
  if (pieces < 2 || count < 2) return std::max<int64_t>(count, 1);
  return std::max<int64_t>(static_cast<int64_t>(static_cast<double>(count) / pieces), 1);
}

bool interrupted(const Team& team) {
  constexpr double kLong = 5e6;  // nanoseconds: shorter work does not read the clock
  if (team.cost_ns_ < kLong || !team.stop_) return false;
  return team.leads_ ? team.stop_->look() : team.stop_->stopped();
}

namespace detail {

TeamLease::TeamLease(int threads, double cost_ns) : size_(1) {
  if (cost_ns < kParallelPays || threads <= 1 || t_alone) return;
  if (omp_in_parallel() || !g_team.try_lock()) return;
  size_ = threads;
  g_spins =
      threads <= g_cpus ? 5000 : 100;  // some 100 us; a thread without a processor needs the others' time
  for (int i = 0; i < threads && i < kMaxFlags; ++i) g_flags[i].round.store(0, std::memory_order_relaxed);
  keep_workers_off_caller(t_placement);
  g_region = &t_placement;
}

TeamLease::~TeamLease() {
  if (size_ > 1) g_team.unlock();
}

// Lets the caller keep its workers off its own CPU.
Member enter_team() {
  const int index = omp_get_thread_num();
  if (index > 0 && index < kMaxTracked) {
    static thread_local const pid_t tid = static_cast<pid_t>(syscall(SYS_gettid));
    pid_t& slot = g_region->workers[index];
    if (slot != tid) {
      slot = tid;
      __atomic_store_n(&g_region->fresh, true, __ATOMIC_RELAXED);
    }
  }
  return {index, omp_get_num_threads()};
}

}  // namespace detail
}  // namespace ranvier
