// What becomes of the losses of elements or lines.
#pragma once

namespace ranvier {

enum class Reduction { none, sum, mean, batch_mean };

// A sum is made of partial sums over fixed parts, independent of the team: at most so many, and fewer for a
// short call.
constexpr int kLossParts = 16;
inline int loss_parts(double cost_ns) {
  return cost_ns < 1000 ? 1 : cost_ns < 500 * kLossParts ? static_cast<int>(cost_ns / 500) : kLossParts;
}

}  // namespace ranvier
