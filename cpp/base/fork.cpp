#include "base/fork.h"

#include <time.h>

#include <atomic>

namespace ranvier {
namespace {

std::atomic<int> g_runs{0};
std::atomic<int> g_forks{0};  // that wait, or happen

void nap() {
  const timespec time{0, 20000};
  nanosleep(&time, nullptr);
}

}  // namespace

// Two counters and no lock: a replay of some microseconds passes here, and a fork is rare and may wait.
NoFork::NoFork() {
  for (;;) {
    g_runs.fetch_add(1);
    if (g_forks.load() == 0) return;
    g_runs.fetch_sub(1);
    while (g_forks.load() != 0) nap();
  }
}

NoFork::~NoFork() { g_runs.fetch_sub(1, std::memory_order_release); }

void hold_runs() {
  g_forks.fetch_add(1);
  while (g_runs.load() != 0) nap();
}

void release_runs() { g_forks.fetch_sub(1); }

void forget_runs() {
  g_runs.store(0);
  g_forks.store(0);
}

}  // namespace ranvier
