// Work for which a fork() in another thread waits. The child has only the thread that forks, so work that is
// half done in another thread would never be finished there.
#pragma once

namespace ranvier {

// While a NoFork exists, no fork happens. A thread that holds one must never wait for the GIL, since the
// thread that forks has it.
class NoFork {
 public:
  NoFork();
  ~NoFork();
  NoFork(const NoFork&) = delete;
  NoFork& operator=(const NoFork&) = delete;
};

// While a ForkAllowed exists, forks do not wait for this thread, even if it holds a NoFork.
class ForkAllowed {
 public:
  ForkAllowed();
  ~ForkAllowed();
  ForkAllowed(const ForkAllowed&) = delete;
  ForkAllowed& operator=(const ForkAllowed&) = delete;

 private:
  int held_;  // how many NoFork objects this thread holds
};
bool is_fork_allowed();  // true while an object of this class exists in any thread

// For the handlers of fork(), in the thread that forks.
void hold_runs();     // waits until no NoFork exists; after that none can begin
void release_runs();  // after the fork, in the parent
void forget_runs();   // after the fork, in the child, which has none of the threads that held a NoFork

}  // namespace ranvier
