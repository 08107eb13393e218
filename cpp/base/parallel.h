// The OpenMP team: the only place where threads are opened.
//
// SPMD: parallel_region() runs its body once on every thread of a team; parallel_for() inside it takes this
// thread's share and ends in a barrier, and outside opens a team of its own. So the same kernel runs alone,
// or as one of many in a region that somebody else keeps open. Code of a region outside parallel_for runs on
// every thread and writes only locals. A share depends on the team's size: no sum may cross a share's border
// (results are equal at any team size).
#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>

#include "base/fp_environment.h"
#include "base/interrupt.h"

namespace ranvier {

int num_threads();                // the largest team that a call of this thread may open now
void set_num_threads(int count);  // for all threads, from now on; count >= 1
void set_alone(bool alone);       // this thread opens no team: for work beside the program's own
int default_num_threads();        // min(affinity mask, cgroup quota, physical cores), or OMP_NUM_THREADS
void init_parallel();             // once, while the module loads

int team_index();     // 0 outside a team
int team_size();      // 1 outside a team; the size that the region really got
void team_barrier();  // every thread of the team comes here before any goes on

// One kernel call, from the sizing of its workspace to the end of its run. The size of its team is decided
// here, once: workspaces are made for it, and another thread's set_num_threads() changes the next call.
class CallScope {
 public:
  // may_stop(call): whether the call may be left half done; asked late, if at all. Null: it may not.
  using MayStop = bool (*)(const void* call);
  explicit CallScope(int threads, MayStop may_stop = nullptr, const void* call = nullptr);
  ~CallScope();
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;
  int threads() const { return threads_; }
  bool stopped() const { return stopped_.load(std::memory_order_relaxed); }
  void finish() { may_stop_ = nullptr; }  // from here on it may not; called by the thread that made it
  bool look();                            // for interrupted()

 private:
  CallScope* const before_;
  const int threads_;
  const void *const owner_, *const call_;
  MayStop may_stop_;
  std::atomic<bool> stopped_{false};
  int64_t next_look_ = 0;  // in nanoseconds; 0: none so far
};

// The most threads that may work on the call that this thread works on: what its workspace is made for.
int planned_threads();

// Work below this is done before a second thread has started on it (measured: fork, join and the data's way
// between two caches). In nanoseconds of serial work.
#if RANVIER_RACE_CHECK
constexpr double kParallelPays = 0;  // the race check shares every loop out
#else
constexpr double kParallelPays = 4000;
#endif

namespace detail {

CallScope* current_call();  // of this thread, or null

// Marks this thread as a member of an open team while it lives. A scope of size 1 inside a team's lets one of
// its threads work alone while the others wait at a barrier.
class TeamScope {
 public:
  TeamScope(int index, int size) : TeamScope(index, size, current_call()) {}
  TeamScope(int index, int size, CallScope* call);  // call: whose team it is
  ~TeamScope();

 private:
  int index_, size_;  // before
  CallScope* call_;
};

// While it lives this thread works on loops of so much serial time.
class WorkScope {
 public:
  explicit WorkScope(double cost_ns);
  ~WorkScope();

 private:
  double before_;
};

// How many of this thread's `count` items to do between two looks for a signal.
int64_t items_at_once(int64_t count);

// The one team of the process: empty where another thread holds it, and then the caller runs alone.
class TeamLease {
 public:
  explicit TeamLease(double cost_ns);
  ~TeamLease();
  int size() const { return size_; }

 private:
  int size_;
};

bool in_team();
void enter_worker();  // called by each thread of a new team: lets the caller keep its workers off its own CPU
int omp_index();
int omp_size();

}  // namespace detail

template <class Body>  // body()
void parallel_region(double cost_ns, const Body& body) {
  if (detail::in_team()) {
    const detail::WorkScope work(cost_ns);
    return body();
  }
  detail::TeamLease lease(cost_ns);
  if (lease.size() <= 1) {
    detail::TeamScope scope(0, 1);
    const detail::WorkScope work(cost_ns);
    return body();
  }
  CallScope* call = detail::current_call();
#pragma omp parallel num_threads(lease.size())
  {
    DefaultFpEnvironment environment;
    detail::enter_worker();
    detail::TeamScope scope(detail::omp_index(), detail::omp_size(), call);
    const detail::WorkScope work(cost_ns);
    body();
  }
}

// In a region: body(begin, end) on this thread's share of [0, n), at once: for bodies with much to do before
// they begin.
template <class Body>
void parallel_shares(int64_t n, const Body& body) {
  const int64_t index = team_index(), size = team_size();
  const int64_t begin = n * index / size, end = n * (index + 1) / size;
  if (begin < end) body(begin, end);
  team_barrier();
}

// body(begin, end) on contiguous shares of [0, n), long ones in pieces. cost_ns is the serial time of the
// whole loop, roughly, or 0 for that of the region.
template <class Body>
void parallel_for(int64_t n, double cost_ns, const Body& body) {
  parallel_region(cost_ns, [&] {
    const int64_t index = team_index(), size = team_size();
    const int64_t begin = n * index / size, end = n * (index + 1) / size;
    const int64_t piece = detail::items_at_once(end - begin);
    for (int64_t at = begin; at < end && !interrupted(); at += piece) body(at, std::min(at + piece, end));
    team_barrier();
  });
}

}  // namespace ranvier
