// Defines workspace_bytes() and run() of a call whose algorithm depends on its shapes, by
// with_algorithm(call, carver, threads, f) in the same file. That calls f on the algorithm that computes the
// call, made in memory of the carver; it does not call f where nothing is computed.
#pragma once
#include "base/carve.h"

// The rest: `template <class T>` for a template.
#define RANVIER_BY_ALGORITHM(Call, ...)                                                                 \
  __VA_ARGS__ size_t Call::workspace_bytes(int threads) const {                                         \
    Carver carver(nullptr);                                                                             \
    with_algorithm(*this, carver, threads, [](const auto&) {});                                         \
    return carver.used();                                                                               \
  }                                                                                                     \
  __VA_ARGS__ void Call::run(const Team& team, void* workspace) const {                                 \
    Carver carver(workspace);                                                                           \
    with_algorithm(*this, carver, team.threads(), [&](const auto& algorithm) { algorithm.run(team); }); \
  }
