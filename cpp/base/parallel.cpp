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

struct Team {
  int index, size;
  double cost_ns;  // of the loops that this thread works on
};
thread_local Team t_team{0, 0, 0};  // size 0: no team open
thread_local CallScope* t_call = nullptr;

// What team_barrier() works with: of the one team, so that its memory can be static.
constexpr int kMaxFlags = 64;
struct alignas(64) Flag {
  std::atomic<uint32_t> round;
};
Flag g_flags[kMaxFlags];
alignas(64) std::atomic<int> g_sleepers{0};
int g_spins = 0;                // of a thread that waits, before it sleeps
int g_cpus = 1;                 // that the process may use
thread_local unsigned t_round;  // barriers that this thread has come to in its team

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
void wait_for(std::atomic<uint32_t>& flag, uint32_t round) {
  const auto is_behind = [&](uint32_t seen) { return static_cast<int32_t>(seen - round) < 0; };
  for (int spins = g_spins; spins > 0 && is_behind(flag.load(std::memory_order_acquire)); --spins) pause();
  if (!is_behind(flag.load(std::memory_order_acquire))) return;
  g_sleepers.fetch_add(1);  // before the flag is looked at again: who raises it sees one of the two
  for (uint32_t seen; is_behind(seen = flag.load()); interrupted()) futex(flag, FUTEX_WAIT_PRIVATE, seen);
  g_sleepers.fetch_sub(1);
}
thread_local bool t_alone = false;
thread_local unsigned t_version = 0;  // of g_count as last given to OpenMP on this thread

// OpenMP keeps a pool of workers for each thread that opens regions; this is what that thread knows of them.
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
// gets them free, and what a program changes is whole.
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

CallScope::CallScope(int threads, MayStop may_stop, const void* call)
    : before_(t_call), threads_(threads), owner_(&t_team), call_(call), may_stop_(may_stop) {
  t_call = this;
}
CallScope::~CallScope() { t_call = before_; }

int planned_threads() { return t_call ? t_call->threads() : num_threads(); }

int team_index() { return t_team.index; }
int team_size() { return t_team.size ? t_team.size : 1; }

// Every thread raises its own flag and waits for the others': between two threads the shortest way there is
// (a third of an OpenMP barrier). It spins, since what comes next in an open team comes in microseconds;
// where that has taken long, because the other thread works alone or has no processor, it sleeps.
void team_barrier() {
  const int size = t_team.size;
  if (size <= 1) return;
  if (size > kMaxFlags) {
#pragma omp barrier
    return;
  }
  const uint32_t round = ++t_round;
  std::atomic<uint32_t>& own = g_flags[t_team.index].round;
  own.store(round);
  if (g_sleepers.load() > 0) futex(own, FUTEX_WAKE_PRIVATE, INT_MAX);
  for (int i = 0; i < size; ++i) wait_for(g_flags[i].round, round);
}

std::atomic<SignalCheck> g_check{nullptr};

int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

void set_signal_check(SignalCheck check) { g_check.store(check); }

bool interrupted() {
  constexpr double kLong = 5e6;  // nanoseconds: shorter work does not ask for the time
  return t_team.cost_ns >= kLong && t_call && t_call->look();
}

// The check may run Python, which may call kernels, fork and wait for other threads: meanwhile this thread is
// in no team and in no call, and forks do not wait for it.
bool CallScope::look() {
  constexpr int64_t kPeriod = 50000000;
  if (stopped()) return true;
  if (owner_ != &t_team) return false;
  const int64_t now = now_ns();
  if (now < next_look_) return false;
  const bool first = next_look_ == 0;
  next_look_ = now + kPeriod;
  const SignalCheck check = g_check.load(std::memory_order_relaxed);
  if (first || !check || !may_stop_ || syscall(SYS_gettid) != getpid() || !may_stop_(call_)) return false;
  const Team team = t_team;
  const unsigned round = t_round;
  t_team = Team{0, 0, 0}, t_call = nullptr;
  bool stop;
  {
    const ForkAllowed allowed;
    stop = check();
  }
  t_team = team, t_call = this, t_round = round;
  next_look_ = now_ns() + kPeriod;
  if (stop) stopped_.store(true);
  return stop;
}

namespace detail {

CallScope* current_call() { return t_call; }

TeamScope::TeamScope(int index, int size, CallScope* call)
    : index_(t_team.index), size_(t_team.size), call_(t_call) {
  t_team.index = index, t_team.size = size;
  t_call = call;
  if (size > 1) t_round = 0;
}
TeamScope::~TeamScope() {
  t_team.index = index_, t_team.size = size_;
  t_call = call_;
}

WorkScope::WorkScope(double cost_ns) : before_(t_team.cost_ns) {
  if (cost_ns > before_) t_team.cost_ns = cost_ns;
}
WorkScope::~WorkScope() { t_team.cost_ns = before_; }

int64_t items_at_once(int64_t count) {
  constexpr double kAtOnce = 4e6;  // nanoseconds: the cost is a guess, and may be short ten times
  const double pieces = t_team.cost_ns / kAtOnce / team_size();
  if (pieces < 2 || count < 2) return std::max<int64_t>(count, 1);
  return std::max<int64_t>(static_cast<int64_t>(static_cast<double>(count) / pieces), 1);
}

TeamLease::TeamLease(double cost_ns) : size_(1) {
  if (cost_ns < kParallelPays || t_alone) return;
  const int wanted = planned_threads();
  if (wanted <= 1 || omp_in_parallel() || !g_team.try_lock()) return;
  size_ = wanted;
  g_spins = wanted <= g_cpus ? 5000 : 100;  // some 100 us; who has no processor needs the others' time
  for (int i = 0; i < wanted && i < kMaxFlags; ++i) g_flags[i].round.store(0, std::memory_order_relaxed);
  keep_workers_off_caller(t_placement);
  g_region = &t_placement;
}

TeamLease::~TeamLease() {
  if (size_ > 1) g_team.unlock();
}

bool in_team() { return t_team.size > 0; }

void enter_worker() {
  const int index = omp_get_thread_num();
  if (index == 0 || index >= kMaxTracked) return;
  static thread_local const pid_t tid = static_cast<pid_t>(syscall(SYS_gettid));
  pid_t& slot = g_region->workers[index];
  if (slot != tid) {
    slot = tid;
    __atomic_store_n(&g_region->fresh, true, __ATOMIC_RELAXED);
  }
}

int omp_index() { return omp_get_thread_num(); }
int omp_size() { return omp_get_num_threads(); }

}  // namespace detail
}  // namespace ranvier
