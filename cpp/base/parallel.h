// Team: the threads that work on one kernel call. The only place where threads are opened.
//
// SPMD: region() runs its body once on every thread of a team; parallel_for() inside it takes this thread's
// share and ends in a barrier, and outside opens a region for itself. So the same kernel runs alone, or
// inside a region that its caller keeps open. Code of a region outside parallel_for runs on every thread and
// writes only locals.
//
// A thread may be slow, or stop for milliseconds: its core is weaker, or another process runs there. So long
// loops are shared as they go: a thread does its share in chunks, then what others have not begun of theirs.
// Which thread does a chunk, and where a share ends, is different from run to run: no sum may cross the
// boundary of a share or chunk (results are equal at any team size).
#pragma once
#include <cstdint>
#include <type_traits>

#include "base/interrupt.h"

namespace ranvier {

int num_threads();                // the largest team that a call of this thread may open now
void set_num_threads(int count);  // for all threads, from now on; count >= 1
void set_alone(bool alone);       // this thread opens no team: for work beside the program's own
void set_busy(bool busy);         // this thread runs for long, as a fit does: others leave it a core
int busy_others();                // how many other threads run for long
int default_num_threads();        // min(affinity mask, cgroup quota, physical cores), or OMP_NUM_THREADS
void init_parallel();             // once, while the module loads
void pause();                     // between two looks at what another thread, or process, will write

// Work below this is done before a second thread has started on it (measured: fork, join and the data's way
// between two caches). In nanoseconds of serial work.
#if RANVIER_RACE_CHECK
constexpr double kParallelPays = 0;  // the race check shares every loop out
#else
constexpr double kParallelPays = 4000;
#endif

namespace detail {

// The progress of a thread in a region.
struct Progress {
  uint32_t barriers = 0, loops = 0;
};

}  // namespace detail

class OpenTeam;

// A value, passed down from the call to its loops: how many threads may work on the call, decided once.
class Team {
 public:
  explicit Team(int threads, StopSignal* stop = nullptr) : stop_(stop), threads_(threads) {}

  int threads() const { return threads_; }  // the most there can be: workspaces are made for this many

  // body(team) on every thread, with an OpenTeam. cost_ns is the serial time of the whole region, roughly.
  template <class Body>
  void region(double cost_ns, const Body& body) const;

  // body(begin, end), or body(team, begin, end), on contiguous shares of [0, n), long ones in chunks; or
  // body(i) for each number in them. cost_ns is the serial time of the whole loop, roughly, or 0 for that of
  // the region.
  template <class Body>
  void parallel_for(int64_t n, double cost_ns, const Body& body) const;
  // f(count, offsets) for each piece of the innermost loop of a LoopNest.
  template <class Nest, class F>
  void walk(const Nest& nest, double cost_ns, const F& f) const {
    parallel_for(nest.size, cost_ns, [&](int64_t begin, int64_t end) { nest.walk(begin, end, f); });
  }

 private:
  void open(double cost_ns, void (*call)(const void* body, const OpenTeam&), const void* body) const;
  void share(int64_t n, double cost_ns, void (*call)(const void* body, const OpenTeam&, int64_t, int64_t),
             const void* body) const;

 protected:
  friend bool interrupted(const Team& team);

  StopSignal* stop_;
  detail::Progress* progress_ = nullptr;  // the progress of this thread in the region
  double cost_ns_ = 0;                    // the cost of the loops that this thread works on
  int threads_, index_ = 0, size_ = 1;
  bool open_ = false;  // in a region
  bool leads_ = true;  // on the thread that made the call
};

// In a region: this thread's place among those that work.
class OpenTeam : public Team {
 public:
  int index() const { return index_; }
  int size() const { return size_; }     // the threads that the region really got: threads() or fewer
  bool leads() const { return leads_; }  // True if this is the thread that made the call
  void barrier() const {                 // every thread of the team comes here before any continues
    if (size_ > 1) meet();
  }
  // This thread without the others, which wait or do the same.
  OpenTeam alone() const { return {*this, 0, 1, nullptr, cost_ns_, leads_}; }
  // The same, for calls whose workspace is that of one thread.
  OpenTeam single() const {
    OpenTeam one = alone();
    one.threads_ = 1;
    return one;
  }

  // This thread's share of [0, n). No division where it is all: it takes as long as a small product's row.
  int64_t share_begin(int64_t n) const { return index_ == 0 ? 0 : n * index_ / size_; }
  int64_t share_end(int64_t n) const { return index_ + 1 == size_ ? n : n * (index_ + 1) / size_; }

 private:
  friend class Team;
  friend class Chunks;
  OpenTeam(const Team& team, int index, int size, detail::Progress* progress, double cost_ns, bool leads)
      : Team(team) {
    progress_ = progress, cost_ns_ = cost_ns;
    index_ = index, size_ = size;
    open_ = true, leads_ = leads;
  }
  void meet() const;
};

// A loop over [0, n) that the team shares as it goes: chunks of this thread's share, then chunks of the
// others' shares that they have not begun. Chunks end at multiples of `chunk`, and where shares end.
//
//   for (Chunks c(team, n, Chunks::size(team, n)); c.next();) f(c.begin, c.end);
//
// All threads of the team come to it, and meet at a barrier before the next one. Where shares are shorter
// than two chunks, each thread does its own only.
class Chunks {
 public:
  Chunks(const OpenTeam& team, int64_t n, int64_t chunk);
  bool next();
  int64_t begin = 0, end = 0;
  // Items in a chunk, by the cost of the team's loop over n of them.
  static int64_t size(const OpenTeam& team, int64_t n);

 private:
  void enter(int thread);
  int64_t claim() const;

  const OpenTeam& team_;
  const int64_t n_, chunk_;
  const bool shared_;
  int thread_, entered_ = 0;  // the thread whose share it is at; how many shares it has seen
  int64_t share_begin_ = 0, share_end_ = 0, count_ = 0;  // that share's range; its chunks
};

// One region and one loop for all bodies, which are called through a pointer: the compiler would copy a body
// into the path of one thread, and into that of several. It costs a nanosecond.
template <class Body>
void Team::region(double cost_ns, const Body& body) const {
  open(
      cost_ns, [](const void* body, const OpenTeam& team) { (*static_cast<const Body*>(body))(team); },
      &body);
}

template <class Body>
void Team::parallel_for(int64_t n, double cost_ns, const Body& body) const {
  const auto call = [](const void* body_, const OpenTeam& team, int64_t begin, int64_t end) {
    const Body& body = *static_cast<const Body*>(body_);
    if constexpr (std::is_invocable_v<Body, const OpenTeam&, int64_t, int64_t>)
      body(team, begin, end);
    else if constexpr (std::is_invocable_v<Body, int64_t>)
      for (int64_t i = begin; i < end; ++i) body(i);
    else
      body(begin, end);
  };
  share(n, cost_ns, call, &body);
}

}  // namespace ranvier
