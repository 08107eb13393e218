// Divides work among threads: even shares, partial sums over parts of the pixels, and Share, a part of a list
// of items of different weights.
#pragma once
#include <algorithm>
#include <cstdint>

#include "base/integers.h"
#include "base/parallel.h"

namespace ranvier {

struct Range {
  int64_t begin, end;
  bool empty() const { return begin >= end; }
};

// A part of a list of items, from one bound to another in units of weight. The list is not stored: the caller
// walks through it in order, and says how many items of which weight come next.
class Share {
 public:
  explicit Share(Range weights) : lo_(weights.begin), hi_(weights.end) {}

  // Which of the next `count` items, of this weight each, are in the part. The walk moves past these items.
  Range take(int64_t count, int64_t weight) {
    const Range r{index(lo_, count, weight), index(hi_, count, weight)};
    at_ += count * weight;
    return r;
  }
  // True if none of the next items, of this weight in all, is in the part; the walk then moves past them.
  bool skip(int64_t weight) {
    if (at_ + weight > lo_ && at_ < hi_) return false;
    at_ += weight;
    return true;
  }

 private:
  int64_t index(int64_t bound, int64_t count, int64_t weight) const {
    if (bound <= at_) return 0;
    return std::min(count, ceil_div(bound - at_, weight));
  }
  int64_t lo_, hi_, at_ = 0;
};

// The number of parts, at most `most`, into which pixels are divided. Each part has separate sums, which are
// then added in order. It depends on the shapes alone, and is a power of two, so that teams of such sizes get
// even shares.
inline int64_t partial_sums(int64_t pixels, int64_t most, int64_t pixels_of_part = 768) {
  constexpr int64_t kMaxPartials = 16;
  int64_t parts = std::clamp<int64_t>(pixels / pixels_of_part, 1, kMaxPartials);
  while (parts & (parts - 1)) parts &= parts - 1;  // clears the lowest bit until one is left
  return std::clamp<int64_t>(parts, 1, std::max<int64_t>(most, 1));
}

// Each of the parts has `units` units of work. Calls f(part, range of units) for this thread's share of all
// units: whole parts, and some units of a part that another thread shares. Threads that finish early take
// parts that others have not begun (Chunks).
template <class F>
void for_my_parts(const OpenTeam& team, int64_t parts, int64_t units, const F& f) {
  for (Chunks c(team, parts * units, std::max<int64_t>(units, 1)); c.next() && !interrupted(team);)
    f(c.begin / units, Range{c.begin % units, c.begin % units + c.end - c.begin});
}

// to[j * step] = the sum over the parts, in order, of sums[part * stride + j], for j < n.
template <class T>
void add_partials(const T* sums, int64_t parts, int64_t stride, int64_t n, T* to, int64_t step) {
  for (int64_t j = 0; j < n; ++j) {
    T total = 0;
    for (int64_t part = 0; part < parts; ++part) total += sums[part * stride + j];
    to[j * step] = total;
  }
}

// How many threads take the same items and divide the panels: more than 1 if there are so few items that a
// thread would have fewer than `least`.
inline int64_t threads_across(int64_t threads, int64_t panels, int64_t items, int64_t least) {
  int64_t across = 1;
  while (threads % (across * 2) == 0 && across * 2 <= panels && items * across < least * threads) across *= 2;
  return across;
}

// The index-th of `count` even parts of r.
inline Range part(Range r, int64_t index, int64_t count) {
  const int64_t n = r.end - r.begin;
  return {r.begin + n * index / count, r.begin + n * (index + 1) / count};
}

// This thread's even share of `count` items.
inline Range even_share(const OpenTeam& team, int64_t count) {
  return {team.share_begin(count), team.share_end(count)};
}

}  // namespace ranvier
