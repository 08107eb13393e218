// LongTotal: a sum of doubles, one after another, whose error does not grow with their number.
// simd/long_sum.h has the same for vectors.
#pragma once

namespace ranvier {

struct LongTotal {
  double total = 0, lost = 0;  // lost: what the additions have lost

  void add(double x) {
    const double sum = total + x;
    const double added = sum - total;
    lost += (total - (sum - added)) + (x - added);
    total = sum;
  }
  double value() const { return lost == lost ? total + lost : total; }  // lost: NaN after an infinite total
};

}  // namespace ranvier
