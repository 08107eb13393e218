// The team of threads: how it is opened, waits, meets at barriers, shares work, and behaves in a fork.
// parallel.h describes its use.
#include "base/parallel.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>

#include "base/allocator.h"
#include "base/fork.h"
#include "base/fp_environment.h"
#include "base/system.h"

namespace ranvier {
void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");  // `yield` does nothing on most cores
#endif
}

namespace {

constexpr double kLong = 5e6;     // nanoseconds; shorter work is not interrupted and does not read the clock
constexpr int kMaxTracked = 256;  // the most workers whose placement is managed
constexpr int kMostThreads = 1024;

std::mutex g_team;                    // held while a team is open
std::atomic<int> g_count{1};          // what set_num_threads() was given last
std::atomic<unsigned> g_version{1};   // raised with each change of g_count
thread_local unsigned t_version = 0;  // g_version when g_count was last given to OpenMP on this thread
thread_local bool t_alone = false;    // set_alone()
std::atomic<int> g_busy{0};           // threads that run for long
thread_local int t_busy = 0;          // calls of set_busy(true) that have not ended
bool g_place_workers = true;          // false if the user binds threads to CPUs

// For barrier() and Chunks. There is one team in the process, so the memory can be static.
constexpr int kMaxFlags = 64;
struct alignas(64) Flag {
  std::atomic<uint32_t> round;    // how many barriers the thread has come to
  std::atomic<uint64_t> claimed;  // (number of the loop << 32) + chunks begun of the thread's share
};
Flag g_flags[kMaxFlags];
alignas(64) std::atomic<int> g_sleepers{0};  // threads that sleep in wait_for(), or are about to
int g_spins = 0;  // how often a thread that waits looks at the flag before it sleeps
int g_cpus = 1;   // CPUs that the process may use

// Returns when the flag has reached the round. Rounds are compared by their difference, as they may wrap.
void wait_for(const Team& team, std::atomic<uint32_t>& flag, uint32_t round) {
  const auto is_behind = [&](uint32_t seen) { return static_cast<int32_t>(seen - round) < 0; };
  for (int spins = g_spins; spins > 0 && is_behind(flag.load(std::memory_order_acquire)); --spins) pause();
  if (!is_behind(flag.load(std::memory_order_acquire))) return;
  // This thread counts itself first and then reads the flag; meet() raises the flag first and then reads the
  // count. So either this thread sees the new round, or the other one sees a sleeper and wakes it.
  g_sleepers.fetch_add(1);
  uint32_t seen = flag.load();
  while (is_behind(seen)) {
    sleep_while(flag, seen);
    interrupted(team);  // runs the check for signals, if it is due
    seen = flag.load();
  }
  g_sleepers.fetch_sub(1);
}

// OpenMP keeps a pool of workers for each thread that opens regions; this is that thread's record of them.
struct Placement {
  int caller_cpu = -1;
  bool fresh = false;  // workers have come that were not yet kept off the caller's CPU
  ThreadId workers[kMaxTracked] = {};
};
thread_local Placement t_placement;
Placement* g_region = nullptr;  // the Placement of the region being opened; guarded by g_team

// A worker that is woken on the CPU where the caller spins waits there for a whole time slice: 4 to 8 ms were
// measured for a region of 14 us. So workers may run on any CPU except the caller's. This takes one system
// call for each worker, but only when the caller has moved or a worker is new.
void keep_workers_off_caller(Placement& p) {
  const int cpu = this_cpu();
  if (!g_place_workers || (cpu == p.caller_cpu && !p.fresh)) return;
  p.caller_cpu = cpu;
  p.fresh = false;
  keep_off(cpu, p.workers, kMaxTracked);
}

// Takes the one team of the process, with one thread fewer for each other thread that runs for long
// (set_busy). size() is 1, and the caller runs alone, if no worker is left, another thread holds the team, or
// the work is too short.
class TeamLease {
 public:
  TeamLease(int threads, double cost_ns) {
    if (cost_ns < kParallelPays || threads <= 1 || t_alone) return;
    threads -= busy_others();
    if (threads <= 1 || omp_in_parallel() || !g_team.try_lock()) return;
    size_ = threads;
    // About 100 us. It is shorter with more threads than CPUs, where a thread that spins may take the CPU
    // from one that works.
    g_spins = threads <= g_cpus ? 5000 : 100;
    for (int i = 0; i < threads && i < kMaxFlags; ++i) {
      g_flags[i].round.store(0, std::memory_order_relaxed);
      g_flags[i].claimed.store(0, std::memory_order_relaxed);
    }
    keep_workers_off_caller(t_placement);
    g_region = &t_placement;
  }
  ~TeamLease() {
    if (size_ > 1) g_team.unlock();
  }
  int size() const { return size_; }

 private:
  int size_ = 1;
};

// Called by each thread of a new team: writes its id to where keep_workers_off_caller() reads it for the next
// team.
void enter_team() {
  const int index = omp_get_thread_num();
  if (index <= 0 || index >= kMaxTracked) return;
  static thread_local const ThreadId tid = this_thread();
  ThreadId& slot = g_region->workers[index];
  if (slot == tid) return;
  slot = tid;
  __atomic_store_n(&g_region->fresh, true, __ATOMIC_RELAXED);
}

bool user_places_threads() {
  for (const char* name : {"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"})
    if (std::getenv(name)) return true;
  return false;
}

bool g_has_team = false;  // true if the thread that forks has got g_team

// A forked child has none of the threads of OpenMP's pool, and its first region would wait for them for ever.
// So the pool is ended before the fork, and both processes make a new one. The locks are held during the
// fork, so that the child can unlock them, and gets no data that another thread has changed only in part.
void before_fork() {
  hold_runs();
  for (;;) {
    g_has_team = g_team.try_lock();
    if (g_has_team || is_fork_allowed()) break;
    nap();
  }
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
  g_busy.store(t_busy > 0);
}

}  // namespace

int default_num_threads() {
  const char* setting = std::getenv("OMP_NUM_THREADS");
  if (!setting || !*setting) return usable_cpus();
  return std::min(omp_get_max_threads(), kMostThreads);
}

void init_parallel() {
  g_cpus = usable_cpus();
  set_num_threads(default_num_threads());
  g_place_workers = !user_places_threads();
  at_fork(before_fork, after_fork, after_fork_in_child);
  num_threads();  // gives OpenMP the count now: later it would undo a limit set before the first kernel call
}

void set_num_threads(int count) {
  g_count.store(count);
  g_version.fetch_add(1);
}

// OpenMP has a number of threads for each thread. g_count is passed to OpenMP only after it has changed, so
// that a number that threadpoolctl or the user sets in OpenMP afterwards is kept.
int num_threads() {
  const unsigned version = g_version.load(std::memory_order_relaxed);
  if (t_version != version) {
    omp_set_num_threads(g_count.load());
    t_version = version;
  }
  return omp_get_max_threads();
}

void set_alone(bool alone) { t_alone = alone; }

void set_busy(bool busy) {
  // Blocks may be nested: only the outermost one of a thread counts.
  if (busy) {
    ++t_busy;
    if (t_busy == 1) g_busy.fetch_add(1);
  } else {
    --t_busy;
    if (t_busy == 0) g_busy.fetch_sub(1);
  }
}

int busy_others() { return g_busy.load(std::memory_order_relaxed) - (t_busy > 0); }

// Runs a body on all threads of a new team; inside a region that is open already, on this thread.
void Team::open(double cost_ns, void (*call)(const void* body, const OpenTeam&), const void* body) const {
  if (!open_) {
    const TeamLease lease(threads_, cost_ns);
    if (lease.size() > 1) {
#pragma omp parallel num_threads(lease.size())
      {
        const FpEnvironment environment;
        enter_team();
        const int index = omp_get_thread_num();
        const bool leads = index == 0;
        detail::Progress progress;
        call(body, OpenTeam(*this, index, omp_get_num_threads(), &progress, cost_ns, leads));
      }
      return;
    }
  }
  call(body, OpenTeam(*this, index_, size_, progress_, std::max(cost_ns, cost_ns_), leads_));
}

// Implements parallel_for().
void Team::share(int64_t n, double cost_ns, void (*call)(const void*, const OpenTeam&, int64_t, int64_t),
                 const void* body) const {
  const double cost = std::max(cost_ns, cost_ns_);
  const bool stays_alone = threads_ <= 1 || cost_ns < kParallelPays;  // if no region is open
  const bool alone = open_ ? size_ == 1 : stays_alone;
  if (alone && cost < kLong) {  // one chunk, and nobody to meet
    if (n > 0) call(body, OpenTeam(*this, index_, size_, progress_, cost, leads_), 0, n);
    return;
  }
  region(cost_ns, [&](const OpenTeam& team) {
    for (Chunks c(team, n, Chunks::size(team, n)); c.next() && !interrupted(team);)
      call(body, team, c.begin, c.end);
    team.barrier();
  });
}

// The barrier. Each thread raises its own flag and waits for the flags of the others, which takes a third of
// the time of an OpenMP barrier. A thread spins while it waits, since the next work of an open team comes
// within microseconds; after a long wait (another thread works alone, or has no processor) it sleeps.
void OpenTeam::meet() const {
  if (size_ > kMaxFlags) {
#pragma omp barrier
    return;
  }
  ++progress_->barriers;
  const uint32_t round = progress_->barriers;
  std::atomic<uint32_t>& own = g_flags[index_].round;
  own.store(round);
  if (g_sleepers.load() > 0) wake_all(own);
  for (int i = 0; i < size_; ++i) wait_for(*this, g_flags[i].round, round);
}

Chunks::Chunks(const OpenTeam& team, int64_t n, int64_t chunk)
    : team_(team),
      n_(n),
      chunk_(chunk),
      shared_(team.size_ > 1 && team.size_ <= kMaxFlags && n / 2 / team.size_ >= chunk),
      thread_(team.index_) {
  if (shared_) ++team.progress_->loops;
  enter(thread_);
}

void Chunks::enter(int thread) {
  thread_ = thread;
  share_begin_ = n_ * thread / team_.size_;
  share_end_ = n_ * (thread + 1) / team_.size_;
  count_ = 0;
  if (share_begin_ < share_end_) count_ = (share_end_ - 1) / chunk_ + 1 - share_begin_ / chunk_;
}

// Claims the next chunk of the share for this thread, and returns its number; count_ if none is left.
int64_t Chunks::claim() const {
  const uint64_t loop = team_.progress_->loops;
  std::atomic<uint64_t>& claimed = g_flags[thread_].claimed;
  uint64_t seen = claimed.load(std::memory_order_relaxed);
  for (;;) {
    const uint64_t begun = seen >> 32 == loop ? seen & UINT32_MAX : 0;  // 0 if `seen` is of an earlier loop
    if (static_cast<int64_t>(begun) >= count_) return count_;
    if (claimed.compare_exchange_weak(seen, (loop << 32) + begun + 1, std::memory_order_relaxed))
      return static_cast<int64_t>(begun);
  }
}

// Moves to the next chunk of this thread's share; when the share is used up, to chunks of other threads'
// shares.
bool Chunks::next() {
  if (!shared_) {
    begin = entered_ == 0 ? share_begin_ : end;
    end = std::min((begin / chunk_ + 1) * chunk_, share_end_);
    entered_ = 1;
    return begin < end;
  }
  for (int64_t i = claim();; i = claim()) {
    if (i < count_) {
      const int64_t first = share_begin_ / chunk_ + i;
      begin = std::max(share_begin_, first * chunk_);
      end = std::min(share_end_, (first + 1) * chunk_);
      return true;
    }
    ++entered_;
    if (entered_ == team_.size_) return false;
    const int next_thread = thread_ + 1 < team_.size_ ? thread_ + 1 : 0;
    enter(next_thread);
  }
}

// A chunk is so long that the time to claim it does not matter, and so short that the wait for the last one,
// or for a signal, is short. The cost of a team is an estimate, which may be ten times too small.
int64_t Chunks::size(const OpenTeam& team, int64_t n) {
#if RANVIER_RACE_CHECK
  constexpr double kShortest = 1;
#else
  constexpr double kShortest = 4e4;  // nanoseconds
#endif
  constexpr double kLongest = 4e6;
  constexpr double kEnough = 16;  // chunks of a share, unless they would be longer than kLongest
  constexpr int64_t kLine = 64;   // elements
  const double share = team.cost_ns_ / team.size_;
  double chunks = share / kLongest;
  if (team.size_ > 1 && team.size_ <= kMaxFlags)
    chunks = std::max(chunks, std::min(share / kShortest, kEnough));
  if (chunks < 2 || n < 2 * team.size_) return std::max<int64_t>(n, 1);
  const int64_t size =
      std::max<int64_t>(static_cast<int64_t>(static_cast<double>(n) / team.size_ / chunks), 1);
  return size < 4 * kLine ? size : size / kLine * kLine;  // begins at a cache line, where n counts elements
}

bool interrupted(const Team& team) {
  if (team.cost_ns_ < kLong || !team.stop_) return false;
  return team.leads_ ? team.stop_->look() : team.stop_->stopped();
}

}  // namespace ranvier
