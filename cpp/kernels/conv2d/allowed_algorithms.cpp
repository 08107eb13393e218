// The setting of allowed_algorithms.h: one atomic word, which threads may read while another changes it.
#include "kernels/conv2d/allowed_algorithms.h"

#include <atomic>

namespace ranvier {
namespace {

std::atomic<uint32_t> g_allowed{~0u};  // bit i: the i-th ConvAlgorithm is allowed

}  // namespace

ConvAlgorithms allowed_algorithms() { return {g_allowed.load(std::memory_order_relaxed)}; }

void allow_algorithm(ConvAlgorithm algorithm, bool allowed) {
  const uint32_t bit = 1u << static_cast<int>(algorithm);
  if (allowed) {
    g_allowed.fetch_or(bit);
  } else {
    g_allowed.fetch_and(~bit);
  }
}

}  // namespace ranvier
