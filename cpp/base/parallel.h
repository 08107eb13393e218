// The OpenMP team: the only place where threads are opened.
//
// SPMD: parallel_region() runs its body once on every thread of a team; parallel_for() inside it takes this
// thread's share and ends in a barrier, and outside opens a team of its own. So the same kernel runs alone,
// or as one of many in a region that somebody else keeps open. Code of a region outside parallel_for runs on
// every thread and writes only locals. A share depends on the team's size: no sum may cross a share's border
// (results are equal at any team size).
#pragma once
#include <cstdint>

#include "base/fp_environment.h"

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
  CallScope() : CallScope(num_threads()) {}
  explicit CallScope(int threads);
  ~CallScope();
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;
  int threads() const { return threads_; }

 private:
  const CallScope* before_;
  int threads_;
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

const CallScope* current_call();  // of this thread, or null

// Marks this thread as a member of an open team while it lives. A scope of size 1 inside a team's lets one of
// its threads work alone while the others wait at a barrier.
class TeamScope {
 public:
  TeamScope(int index, int size) : TeamScope(index, size, current_call()) {}
  TeamScope(int index, int size, const CallScope* call);  // call: whose team it is
  ~TeamScope();

 private:
  int index_, size_;  // before
  const CallScope* call_;
};

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
  if (detail::in_team()) return body();
  detail::TeamLease lease(cost_ns);
  if (lease.size() <= 1) {
    detail::TeamScope scope(0, 1);
    return body();
  }
  const CallScope* call = detail::current_call();
#pragma omp parallel num_threads(lease.size())
  {
    DefaultFpEnvironment environment;
    detail::enter_worker();
    detail::TeamScope scope(detail::omp_index(), detail::omp_size(), call);
    body();
  }
}

// body(begin, end) on contiguous shares of [0, n). cost_ns is the serial time of the whole loop, roughly.
template <class Body>
void parallel_for(int64_t n, double cost_ns, const Body& body) {
  parallel_region(cost_ns, [&] {
    const int64_t index = team_index(), size = team_size();
    const int64_t begin = n * index / size, end = n * (index + 1) / size;
    if (begin < end) body(begin, end);
    team_barrier();
  });
}

}  // namespace ranvier
