#include "base/precision.h"

#include <atomic>

#include "base/isa.h"

namespace ranvier {
namespace {

std::atomic<Precision> g_precision{Precision::highest};
thread_local int t_medium = -1;

}  // namespace

Precision precision() { return g_precision.load(std::memory_order_relaxed); }

void set_precision(Precision precision) { g_precision.store(precision); }

bool is_medium() { return t_medium < 0 ? precision() == Precision::medium : t_medium != 0; }

int own_medium() { return t_medium; }

int set_own_medium(int medium) {
  const int before = t_medium;
  t_medium = medium;
  return before;
}

bool has_bfloat16() {
#if defined(__x86_64__)
  static const bool has = __builtin_cpu_supports("avx512bf16");
  return has && active_isa() == Isa::v4;
#else
  return false;
#endif
}

}  // namespace ranvier
