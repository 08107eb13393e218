// What becomes of the losses of elements or lines.
#pragma once

namespace ranvier {

enum class Reduction { none, sum, mean, batch_mean };

// A sum is made of partial sums over so many fixed parts, whatever the team.
constexpr int kLossParts = 16;

}  // namespace ranvier
