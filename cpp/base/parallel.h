// Team: the threads that work on one kernel call. No other file opens threads.
//
// The model is SPMD. region() runs its body once on every thread of a team. parallel_for() inside a region
// runs this thread's share and ends in a barrier; outside of a region it opens one. So the same kernel runs
// alone, or inside a region that its caller keeps open. Code in a region but outside of parallel_for() runs
// on every thread, and must write only local variables, or memory that no other thread writes.
//
// A thread may be slow, or stop for milliseconds, if its core is weaker or another process runs there. So
// long loops are shared while they run: a thread does its share in chunks, and then chunks of other threads'
// shares that these have not begun. Which thread does a chunk, and where a share ends, differs from run to
// run. Therefore no sum may cross the boundary of a share or chunk; results are then equal at any team size.
#pragma once
#include <cstdint>
#include <type_traits>

#include "base/interrupt.h"

namespace ranvier {

int num_threads();                // the largest team that a call of this thread may open now
void set_num_threads(int count);  // for all threads, from now on; count >= 1
void set_alone(bool alone);       // this thread opens no teams: for work in the background
void set_busy(bool busy);         // this thread runs for long, for example a fit: others leave it a core
int busy_others();                // how many other threads run for long
int default_num_threads();        // min(affinity mask, cgroup quota, physical cores), or OMP_NUM_THREADS
void init_parallel();             // called once, while the module is loaded
void pause();                     // for loops that wait for what another thread, or process, will write

// Nanoseconds of serial work. Shorter work would be done before a second thread has started on it: this is
// the measured time of opening and ending a region, and of moving data between two caches.
#if RANVIER_RACE_CHECK
constexpr double kParallelPays = 0;  // the race check shares every loop
#else
constexpr double kParallelPays = 4000;
#endif

namespace detail {

// The progress of a thread in a region.
struct Progress {
  uint32_t barriers = 0;  // that it has come to
  uint32_t loops = 0;     // shared loops (Chunks) that it has begun
};

}  // namespace detail

class OpenTeam;

// How many threads may work on a call, decided once. It is passed by value or reference from the call to its
// loops.
class Team {
 public:
  explicit Team(int threads, StopSignal* stop = nullptr) : stop_(stop), threads_(threads) {}

  int threads() const { return threads_; }  // the most threads: workspaces are made for this many

  // Runs body(team) on every thread, with an OpenTeam. cost_ns: roughly the serial time of the whole region.
  template <class Body>
  void region(double cost_ns, const Body& body) const;

  // Calls body(begin, end), or body(team, begin, end), for contiguous shares of [0, n), which are divided
  // into chunks if they are long; or body(i) for each number. cost_ns: roughly the serial time of the whole
  // loop; 0: that of the region.
  template <class Body>
  void parallel_for(int64_t n, double cost_ns, const Body& body) const;
  // Calls f(count, offsets) for each piece of the innermost loop of a LoopNest (loop_nest.h).
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
  int threads_;
  int index_ = 0;  // of this thread, and the number of threads, in the region
  int size_ = 1;
  bool open_ = false;  // in a region
  bool leads_ = true;  // on the thread that made the call
};

// The team inside a region, as this thread sees it: its index among the threads that work.
class OpenTeam : public Team {
 public:
  int index() const { return index_; }
  int size() const { return size_; }     // how many threads the region really got: threads() or fewer
  bool leads() const { return leads_; }  // True if this is the thread that made the call
  void barrier() const {                 // every thread of the team comes here before any continues
    if (size_ > 1) meet();
  }
  // A team of this thread alone, for work that the other threads do not share.
  OpenTeam alone() const { return {*this, /*index=*/0, /*size=*/1, /*progress=*/nullptr, cost_ns_, leads_}; }
  // The same, with threads() = 1: for calls whose workspace is made for one thread.
  OpenTeam single() const {
    OpenTeam one = alone();
    one.threads_ = 1;
    return one;
  }

  // This thread's share of [0, n). A team of one does not divide: a division takes as long as a row of a
  // small product.
  int64_t share_begin(int64_t n) const {
    if (index_ == 0) return 0;  // without a division: most teams of short calls have one thread
    return n * index_ / size_;
  }
  int64_t share_end(int64_t n) const {
    if (index_ + 1 == size_) return n;
    return n * (index_ + 1) / size_;
  }

 private:
  friend class Team;
  friend class Chunks;
  OpenTeam(const Team& team, int index, int size, detail::Progress* progress, double cost_ns, bool leads)
      : Team(team) {
    progress_ = progress;
    cost_ns_ = cost_ns;
    index_ = index;
    size_ = size;
    open_ = true;
    leads_ = leads;
  }
  void meet() const;
};

// A loop over [0, n) that the team shares while it runs: the chunks of this thread's share, and then chunks
// of the shares of other threads that these have not begun. Chunks end at multiples of `chunk`, and where
// shares end.
//
//   for (Chunks c(team, n, Chunks::size(team, n)); c.next();) f(c.begin, c.end);
//
// All threads of the team must come to the loop, and meet at a barrier before the next one. If shares are
// shorter than two chunks, each thread does only its own share.
class Chunks {
 public:
  Chunks(const OpenTeam& team, int64_t n, int64_t chunk);
  bool next();
  int64_t begin = 0;  // the chunk that next() has found
  int64_t end = 0;
  // How many items a chunk should have in a loop over n items, by the cost of the team.
  static int64_t size(const OpenTeam& team, int64_t n);

 private:
  void enter(int thread);
  int64_t claim() const;

  const OpenTeam& team_;
  const int64_t n_, chunk_;
  const bool shared_;
  int thread_;       // whose share is being worked on
  int entered_ = 0;  // how many shares are used up
  int64_t share_begin_ = 0;
  int64_t share_end_ = 0;
  int64_t count_ = 0;  // how many chunks the share has
};

// All bodies share the code of regions and loops, which calls them through a pointer; that takes a
// nanosecond. Otherwise the compiler would copy each body twice, for one thread and for several.
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
