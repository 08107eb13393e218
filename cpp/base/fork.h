// Work that a fork() in another thread waits for. Otherwise the child would find it half done, for ever.
#pragma once

namespace ranvier {

// While one lives, no fork happens. A thread that holds one never waits for the GIL: the thread that forks
// has it.
class NoFork {
 public:
  NoFork();
  ~NoFork();
  NoFork(const NoFork&) = delete;
  NoFork& operator=(const NoFork&) = delete;
};

// While one lives, forks do not wait for what this thread is doing.
class ForkAllowed {
 public:
  ForkAllowed();
  ~ForkAllowed();
  ForkAllowed(const ForkAllowed&) = delete;
  ForkAllowed& operator=(const ForkAllowed&) = delete;

 private:
  int held_;  // NoForks of this thread
};
bool is_fork_allowed();  // true while an object of this class lives

// For the handlers of fork(), in the thread that forks.
void hold_runs();     // waits until no NoFork lives; then none begins
void release_runs();  // after the fork, in the parent
void forget_runs();   // and in the child, which has none

}  // namespace ranvier
