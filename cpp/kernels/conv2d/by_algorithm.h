// RANVIER_BY_ALGORITHM(Call) defines workspace_bytes() and run() of a call whose algorithm depends on its
// shapes. The file that uses it has a function with_algorithm(call, carver, threads, f), which makes an
// object of the algorithm's class in memory of the carver and calls f with it. It does not call f where
// nothing has to be computed.
#pragma once
#include "base/carve.h"

// The arguments after Call: `template <class T>` if Call is a template, otherwise none.
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
