// gather, scatter and its gradient (index.h). They are compiled once, since vectors would gain little. Picks
// has the loops over lines and picks; a functor such as Take or Sum says what a pick does with an element.
#include "kernels/index/index.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "base/caches.h"
#include "base/loop_nest.h"
#include "base/parallel.h"
#include "base/rows.h"
#include "kernels/copy/copy.h"
#include "kernels/reduce/reduce.h"

namespace ranvier {
namespace {

constexpr double kNsPerElement = 1.0;  // on one thread, roughly
constexpr int64_t kAtOnce = 1 << 16;   // picks between two tests for an interrupt
constexpr int64_t kWide = 8;           // with fewer lines it does not pay that each thread reads all picks
constexpr int64_t kLongRow = 16;       // elements; for shorter rows a loop is as fast as a call
constexpr int64_t kPicksAhead = 16;    // rows of a large table are prefetched this many picks ahead
constexpr int64_t kBytesAhead = 256;   // of such a row; the hardware prefetches the rest

struct Range {
  int64_t begin, end;
};

// `picked` has the shape of the index (gather: y), `whole` the axis into which it points (gather: x). A line
// is all elements along the axis; pick j of a line moves one element.
template <class P, class W>
struct Picks {
  int axis;
  TensorView<P> picked;
  TensorView<const int64_t> index;
  TensorView<W> whole;
  LoopNest<3> lines;         // over the first elements of lines, of index, picked and whole
  bool from_0 = false;       // see index.h
  int64_t* found = nullptr;  // see index.h

  Picks(int axis_in, const TensorView<P>& picked_in, const TensorView<const int64_t>& index_in,
        const TensorView<W>& whole_in)
      : axis(axis_in),
        picked(picked_in),
        index(index_in),
        whole(whole_in),
        lines(picked.ndim, Shape(picked, axis).values,
              {index_in.strides, picked_in.strides, whole_in.strides}) {}

  struct Shape {  // without the axis
    int64_t values[kMaxDims];
    Shape(const TensorView<P>& v, int axis) {
      std::copy_n(v.shape, v.ndim, values);
      values[axis] = 1;
    }
  };

  int64_t count() const { return picked.shape[axis]; }
  int64_t length() const { return whole.shape[axis]; }
  bool shared() const {  // all lines have the same indices
    for (int d = 0; d < lines.ndim; ++d)
      if (lines.shape[d] > 1 && lines.strides[0][d] != 0) return false;
    return true;
  }

  // True if all lines have the same indices and lie side by side: a pick moves a contiguous row.
  bool are_rows() const {
    const int inner = lines.ndim - 1;
    return shared() && lines.ndim == 1 &&
           (lines.size == 1 || (lines.strides[1][inner] == 1 && lines.strides[2][inner] == 1)) &&
           picked.strides[axis] == lines.size && lines.size > 0;
  }

  bool has_unit_steps() const {
    return picked.strides[axis] == 1 && whole.strides[axis] == 1 && index.strides[axis] == 1;
  }
  // True if threads divide the places along the axis of `whole` rather than the lines.
  bool shares_places() const { return shared() && lines.size >= kWide && length() > lines.size; }

  // True if picked elements are closer in memory along the axis than from line to line.
  bool are_along() const {
    if (lines.size <= 1) return true;
    const int64_t line = std::llabs(lines.strides[1][lines.ndim - 1]);
    const int64_t own = std::llabs(picked.strides[axis]);
    if (line != own) return own < line;  // else one value is repeated
    return std::llabs(index.strides[axis]) < std::llabs(lines.strides[0][lines.ndim - 1]);
  }

  // Calls use(j, row) for picks js of one line, in order or backwards, whose index `row` is in `rows`.
  template <bool backwards, class Use>
  void each_pick(Range js, Range rows, const int64_t* line, const Use& use) const {
    const int64_t step = index.strides[axis];
    const int64_t n_rows = length();
    for (int64_t k = js.begin; k < js.end; ++k) {
      const int64_t j = backwards ? js.end - 1 - (k - js.begin) : k;
      int64_t row = line[j * step];
      if (row < 0) row += n_rows;
      if (row >= rows.begin && row < rows.end) use(j, row);
    }
  }

  // Calls move.row(n, picked, whole) for the rows that picks js move. Prefetches those of a large `whole`.
  template <bool backwards, class Move>
  void each_row(Range js, Range rows, const int64_t* line, P* p, W* w, int64_t n, const Move& move) const {
    const int64_t step = index.strides[axis];
    const int64_t n_rows = length();
    const int64_t axis_p = picked.strides[axis];
    const int64_t axis_w = whole.strides[axis];
    const int64_t bytes = n * int64_t(sizeof(W));
    const bool ask = bytes * n_rows > caches.l2 / 2;
    each_pick<backwards>(js, rows, line, [&](int64_t j, int64_t row) {
      const int64_t next = backwards ? j - kPicksAhead : j + kPicksAhead;
      if (ask && next >= js.begin && next < js.end) {
        int64_t far = line[next * step];
        if (far < 0) far += n_rows;
        const char* from = reinterpret_cast<const char*>(w + inside(far, n_rows) * axis_w);
        constexpr int kForWriting = 1;
        for (int64_t b = 0; b < bytes && b < kBytesAhead; b += 64) __builtin_prefetch(from + b, kForWriting);
      }
      move.row(n, p + j * axis_p, w + row * axis_w);
    });
  }

  // Calls move(picked, whole) for picks js of a line with has_unit_steps(). Sets `found` if one is outside.
  template <class Move>
  void each_adjacent(Range js, const int64_t* line, P* p, W* w, const Move& move) const {
    const int64_t n_rows = length();
    const int64_t from_end = from_0 ? 0 : n_rows;
    bool outside = false;
    for (int64_t j = js.begin; j < js.end; ++j) {
      int64_t row = line[j];
      if (__builtin_expect(uint64_t(row) >= uint64_t(n_rows), false)) {
        row += from_end;
        if (uint64_t(row) >= uint64_t(n_rows)) {
          outside = true;
          continue;
        }
      }
      move(p[j], w[row]);
    }
    if (outside && found) __atomic_store_n(found, 1, __ATOMIC_RELAXED);
  }

  // Calls move(picked, whole) for each of the lines and picks js whose index is in `rows`; the picks of a
  // line in order, or backwards. The loop goes line by line if are_along(), else pick by pick for all lines.
  template <bool backwards, class Move>
  void each(Range line, Range js, Range rows, const Move& move) const {
    const int inner = lines.ndim - 1;
    const int64_t step_index = lines.strides[0][inner];
    const int64_t step_p = lines.strides[1][inner];
    const int64_t step_w = lines.strides[2][inner];
    const int64_t axis_p = picked.strides[axis];
    const int64_t axis_w = whole.strides[axis];
    const bool along = are_along();
    const bool dense = step_p == 1 && step_w == 1;
    const bool unit = !backwards && has_unit_steps() && rows.begin == 0 && rows.end == length();
    lines.walk(line.begin, line.end, [&](int64_t n, const int64_t* offsets) {
      const int64_t* at = index.data + offsets[0];
      P* p = picked.data + offsets[1];
      W* w = whole.data + offsets[2];
      const auto one = [&](int64_t i, Range some) {
        if (unit) return each_adjacent(some, at + i * step_index, p + i * step_p, w + i * step_w, move);
        each_pick<backwards>(some, rows, at + i * step_index, [&](int64_t j, int64_t row) {
          move(p[i * step_p + j * axis_p], w[i * step_w + row * axis_w]);
        });
      };
      if (along || n == 1) {
        for (int64_t i = 0; i < n; ++i) one(i, js);
      } else if (step_index == 0) {
        if (dense && n >= kLongRow) return each_row<backwards>(js, rows, at, p, w, n, move);
        each_pick<backwards>(js, rows, at, [&](int64_t j, int64_t row) {
          P* to_p = p + j * axis_p;
          W* to_w = w + row * axis_w;
          for (int64_t i = 0; i < n; ++i) move(to_p[i * step_p], to_w[i * step_w]);
        });
      } else {
        const int64_t step = index.strides[axis];
        const int64_t n_rows = length();
        for (int64_t k = js.begin; k < js.end; ++k) {
          const int64_t j = backwards ? js.end - 1 - (k - js.begin) : k;
          const int64_t* line = at + j * step;
          P* to_p = p + j * axis_p;
          for (int64_t i = 0; i < n; ++i) {
            int64_t row = line[i * step_index];
            if (row < 0) row += n_rows;
            if (row >= rows.begin && row < rows.end) move(to_p[i * step_p], w[i * step_w + row * axis_w]);
          }
        }
      }
    });
  }

  // The same, divided among threads by lines, or (shares_places) by the places of `whole` along the axis:
  // then each thread reads all picks and takes those that point to its places.
  template <bool backwards, class Move>
  void each_shared(const Team& team, double cost, const Move& move) const {
    const Range all_lines{0, lines.size};
    const Range all_picks{0, count()};
    const Range all_rows{0, length()};
    if (shares_places()) {
      team.region(cost, [&](const OpenTeam& team) {
        const Range own{team.share_begin(length()), team.share_end(length())};
        for (int64_t done = 0; done < all_picks.end && own.begin < own.end && !interrupted(team);
             done += kAtOnce) {
          const int64_t most = std::min(done + kAtOnce, all_picks.end);
          Range some{done, most};
          if (backwards) some = {all_picks.end - most, all_picks.end - done};
          each<backwards>(all_lines, some, own, move);
        }
        team.barrier();
      });
    } else {
      team.parallel_for(lines.size, cost, [&](int64_t begin, int64_t end) {
        each<backwards>({begin, end}, all_picks, all_rows, move);
      });
    }
  }
};

// What a pick does with the picked element and its place in `whole`; row() does it with n of them.
struct Take {
  template <class T>
  void operator()(T& picked, const T& whole) const {
    picked = whole;
  }
  template <class T>
  void row(int64_t n, T* picked, const T* whole) const {
    std::memcpy(picked, whole, size_t(n) * sizeof(T));
  }
};

struct Put {
  template <class T>
  void operator()(const T& picked, T& whole) const {
    whole = picked;
  }
  template <class T>
  void row(int64_t n, const T* picked, T* whole) const {
    std::memcpy(whole, picked, size_t(n) * sizeof(T));
  }
};

struct Sum {
  template <class T>
  void operator()(const T& picked, T& whole) const {
    whole += picked;
  }
  template <class T>
  void row(int64_t n, const T* picked, T* whole) const {
    reduce_kernels<T>().join[static_cast<int>(ReduceOp::sum)](n, whole, picked);
  }
};

struct Product {
  template <class T>
  void operator()(const T& picked, T& whole) const {
    whole *= picked;
  }
  template <class T>
  void row(int64_t n, const T* picked, T* whole) const {
    reduce_kernels<T>().join[static_cast<int>(ReduceOp::product)](n, whole, picked);
  }
};

// The greatest (sign 1) or least (sign -1) element stays; a NaN stays before any number.
template <int sign>
struct Extreme {
  template <class T>
  void operator()(const T& picked, T& whole) const {
    const bool is_better = sign > 0 ? picked > whole : picked < whole;
    const T better = is_better ? picked : whole;
    whole = __builtin_expect(picked != picked, false) ? picked : better;
  }
  template <class T>
  void row(int64_t n, const T* picked, T* whole) const {
    const ReduceOp op = sign > 0 ? ReduceOp::max : ReduceOp::min;
    reduce_kernels<T>().join[static_cast<int>(op)](n, whole, picked);
  }
};

// The value that was put last gets the gradient. Picks go backwards, so that earlier ones find 0.
struct TakeOut {
  template <class T>
  void operator()(T& picked, T& whole) const {
    picked = whole;
    whole = T(0);
  }
  template <class T>
  void row(int64_t n, T* picked, T* whole) const {
    std::memcpy(picked, whole, size_t(n) * sizeof(T));
    std::memset(whole, 0, size_t(n) * sizeof(T));
  }
};

}  // namespace

// y[j] = x[at[j]] for a line of `count` picks; returns false if an index is outside, and skips it. from_0:
// negative indices are outside, too; else they count from the end. Elements of `at`, x and y are at_step,
// x_step and y_step apart; x has `length` of them.
template <class T>
bool take_line(int64_t count, const int64_t* at, int64_t at_step, const T* x, int64_t x_step, int64_t length,
               bool from_0, T* y, int64_t y_step) {
  const auto take = [=](int64_t at_step, int64_t x_step, int64_t y_step) {
    bool inside = true;
    for (int64_t j = 0; j < count; ++j) {
      int64_t row = at[j * at_step];
      if (__builtin_expect(uint64_t(row) >= uint64_t(length), false)) {
        if (!from_0) row += length;
        if (uint64_t(row) >= uint64_t(length)) {
          inside = false;
          continue;
        }
      }
      y[j * y_step] = x[row * x_step];
    }
    return inside;
  };
  const bool contiguous = at_step == 1 && x_step == 1 && y_step == 1;
  if (contiguous) return take(1, 1, 1);  // with constant steps the loop is faster
  return take(at_step, x_step, y_step);
}

template <class T>
bool Gather<T>::finds_outside() const {
  const Picks<T, const T> picks(axis, y, index, x);
  return picks.are_along() && !picks.are_rows() && picks.count() <= picks.lines.size;
}

template <class T>
void Gather<T>::run(const Team& team, void*) const {
  const Picks<T, const T> picks(axis, y, index, x);
  if (picks.are_rows()) {
    const int64_t bytes = picks.lines.size * int64_t(sizeof(T));
    const int64_t count = picks.count();
    const PickedRows from = {reinterpret_cast<const char*>(x.data), x.strides[axis] * int64_t(sizeof(T)),
                             x.shape[axis], index.data, index.strides[axis]};
    const double ns = 0.1 * double(bytes * count) + 2.0 * double(count);
    return team.parallel_for(count, ns, [&](int64_t begin, int64_t end) {
      copy_rows(reinterpret_cast<char*>(y.data), bytes, from, begin, end);
    });
  }
  const Range lines{0, picks.lines.size};
  const Range js{0, picks.count()};
  const Range rows{0, picks.length()};
  const double cost = kNsPerElement * static_cast<double>(numel(y));
  if (picks.count() > picks.lines.size) {
    team.parallel_for(picks.count(), cost, [&](int64_t begin, int64_t end) {
      picks.template each<false>(lines, {begin, end}, rows, Take{});
    });
  } else if (picks.are_along()) {
    team.parallel_for(picks.lines.size, cost, [&](int64_t begin, int64_t end) {
      picks.lines.walk(begin, end, [&](int64_t n, const int64_t* offsets) {
        const int inner = picks.lines.ndim - 1;
        const auto at = [&](int t, int64_t i) { return offsets[t] + i * picks.lines.strides[t][inner]; };
        for (int64_t i = 0; i < n; ++i) {
          const int64_t* line_index = index.data + at(0, i);
          T* line_y = y.data + at(1, i);
          const T* line_x = x.data + at(2, i);
          const bool all_inside = take_line(js.end, line_index, index.strides[axis], line_x, x.strides[axis],
                                            rows.end, from_0 && found.data, line_y, y.strides[axis]);
          if (!all_inside && found.data) __atomic_store_n(found.data, 1, __ATOMIC_RELAXED);
        }
      });
    });
  } else {
    team.parallel_for(picks.lines.size, cost, [&](int64_t begin, int64_t end) {
      picks.template each<false>({begin, end}, js, rows, Take{});
    });
  }
}

template <class T>
bool Scatter<T>::finds_outside() const {
  const Picks<const T, T> picks(axis, x, index, y);
  return picks.are_along() && picks.has_unit_steps() && !picks.shares_places();
}

template <class T>
void Scatter<T>::run(const Team& team, void*) const {
  Picks<const T, T> picks(axis, x, index, y);
  picks.found = found.data;
  picks.from_0 = from_0 && found.data;
  const double cost = kNsPerElement * static_cast<double>(numel(x) + numel(y));
  team.region(cost, [&](const OpenTeam& team) {
    if (base.data != y.data) {
      if (base.data) {
        Copy<T>{base, y}.run(team, /*workspace=*/nullptr);
      } else {
        Fill<T>{T(0), y}.run(team, /*workspace=*/nullptr);
      }
    }
    if constexpr (sizeof(T) == 2)
      return picks.template each_shared<false>(team, cost, Put{});
    else
      switch (op) {
        case ScatterOp::put:
          return picks.template each_shared<false>(team, cost, Put{});
        case ScatterOp::sum:
          return picks.template each_shared<false>(team, cost, Sum{});
        case ScatterOp::product:
          return picks.template each_shared<false>(team, cost, Product{});
        case ScatterOp::max:
          return picks.template each_shared<false>(team, cost, Extreme<1>{});
        case ScatterOp::min:
          return picks.template each_shared<false>(team, cost, Extreme<-1>{});
      }
  });
}

template <class T>
void ScatterBackward<T>::run(const Team& team, void*) const {
  const Picks<T, T> picks(axis, dx, index, dbase);
  const double cost = kNsPerElement * static_cast<double>(numel(dx) + numel(dy));
  team.region(cost, [&](const OpenTeam& team) {
    Copy<T>{dy, dbase}.run(team, /*workspace=*/nullptr);
    picks.template each_shared<true>(team, cost, TakeOut{});
  });
}

RANVIER_INSTANTIATE(Gather);
template struct Gather<BFloat16>;
RANVIER_INSTANTIATE(Scatter);
template struct Scatter<BFloat16>;
RANVIER_INSTANTIATE(ScatterBackward);

}  // namespace ranvier
