// LongTotal: a sum of doubles, one after another, whose error does not grow with their number.
// simd/long_sum.h has the same for vectors.
#pragma once

namespace ranvier {

struct LongTotal {
  double total = 0;
  double lost = 0;  // what the additions have lost to rounding: Neumaier's or Knuth's two-sum

  void add(double x) {
    const double sum = total + x;
    const double added = sum - total;
    lost += (total - (sum - added)) + (x - added);
    total = sum;
  }
  double value() const {
    const bool is_infinite = lost != lost;  // inf - inf is NaN
    return is_infinite ? total : total + lost;
  }
};

}  // namespace ranvier
