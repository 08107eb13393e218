// Finds the best level that the CPU supports, and sets the active level: see isa.h.
#include "base/isa.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace ranvier {
namespace {

std::atomic<Isa> g_active{static_cast<Isa>(static_cast<int>(Isa::count) - 1)};

constexpr const char* kNames[] = {RANVIER_LEVEL_NAMES};
#define RANVIER_X(level, ...) #level,
constexpr const char* kShortNames[] = {RANVIER_FOR_EACH_LEVEL(RANVIER_X)};
#undef RANVIER_X

bool cpu_has(const char* level) {
#if defined(__x86_64__)
  __builtin_cpu_init();  // also asks the operating system (XGETBV) whether it saves the wide registers
  if (!std::strcmp(level, "v4"))
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl") && cpu_has("v3");
  if (!std::strcmp(level, "v3"))
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
#endif
  (void)level;
  return true;  // v2, the levels of aarch64 and `generic` are the baseline for which all code is compiled
}

}  // namespace

Isa active_isa() { return g_active.load(std::memory_order_relaxed); }

const char* isa_name(Isa isa) { return kNames[static_cast<int>(isa)]; }

bool isa_supported(Isa isa) { return cpu_has(kShortNames[static_cast<int>(isa)]); }

bool set_isa(const char* name) {
  for (int i = 0; i < static_cast<int>(Isa::count); ++i) {
    const Isa isa = static_cast<Isa>(i);
    if (std::strcmp(name, isa_name(isa)) && std::strcmp(name, kShortNames[i])) continue;
    if (!isa_supported(isa)) return false;
    g_active.store(isa);
    return true;
  }
  return false;
}

bool init_isa() {
  for (int i = 0; i < static_cast<int>(Isa::count); ++i)
    if (isa_supported(static_cast<Isa>(i))) {
      g_active.store(static_cast<Isa>(i));
      break;
    }
  const char* wanted = std::getenv("RANVIER_ISA");
  return !wanted || !*wanted || set_isa(wanted);
}

}  // namespace ranvier
