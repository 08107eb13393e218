// Implements fork.h by two counters. A run is the time in which a thread holds a NoFork; a fork in another
// thread waits until no run is counted. ForkAllowed takes the run of its thread out of the count for a while,
// for example while the run calls Python.
#include "base/fork.h"

#include <atomic>

#include "base/system.h"

namespace ranvier {
namespace {

std::atomic<int> g_runs{0};     // threads that hold a NoFork, without those that hold a ForkAllowed
std::atomic<int> g_forks{0};    // forks that wait for runs to end, or are taking place
std::atomic<int> g_allowed{0};  // ForkAllowed objects that exist now
thread_local int t_held = 0;    // NoFork objects that this thread holds

// There is no lock, since a replay of a few microseconds comes here, while a fork is rare and may wait. A run
// counts itself and then looks for forks; a fork (hold_runs) counts itself and then looks for runs. So at
// least one of the two sees the other; if a run sees a fork, it steps back and waits.
void enter_run() {
  for (;;) {
    g_runs.fetch_add(1);
    if (g_forks.load() == 0) return;
    g_runs.fetch_sub(1);
    while (g_forks.load() != 0) nap();
  }
}

// memory_order_release: a fork that sees the lower count also sees all that the run has written.
void leave_run() { g_runs.fetch_sub(1, std::memory_order_release); }

}  // namespace

NoFork::NoFork() {
  ++t_held;
  if (t_held == 1) enter_run();
}

NoFork::~NoFork() {
  --t_held;
  if (t_held == 0) leave_run();
}

ForkAllowed::ForkAllowed() : held_(t_held) {
  g_allowed.fetch_add(1);
  t_held = 0;
  if (held_) leave_run();
}

ForkAllowed::~ForkAllowed() {
  if (held_) enter_run();
  t_held = held_;
  g_allowed.fetch_sub(1);
}

bool is_fork_allowed() { return g_allowed.load() != 0; }

void hold_runs() {
  g_forks.fetch_add(1);
  while (g_runs.load() != 0) nap();
}

void release_runs() { g_forks.fetch_sub(1); }

void forget_runs() {
  g_runs.store(0);
  g_forks.store(0);
  g_allowed.store(0);
}

}  // namespace ranvier
