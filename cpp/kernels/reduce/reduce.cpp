// reduce (reduce.h): the loops around those of reduce.isa.cpp, as ReducePlan (plan.h) divides the work. If a
// reduced axis is innermost in memory, each result is summed along it; else rows are summed, a panel of
// columns at a time. Segments of long reductions are joined at the end. Halves are floats of 16 bits.
// `center` is the number for each result that some ops compare with or subtract (reduce.h).
#include "kernels/reduce/reduce.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "base/parallel.h"
#include "kernels/copy/copy.h"
#include "kernels/reduce/plan.h"

namespace ranvier {
namespace {

// E: the type in which x and y are stored: T, or uint16_t for halves.
template <class T, class E>
struct Reduction {
  const Reduce<T>& r;
  const ReducePlan<T>& plan;
  const ReduceKernels<T>& kernels;
  const ReduceLoops<T, E>& loops;  // the loops over E; where one is null, blocks are converted to T first
  T* totals;                       // (parts, segments, panel)
  T* scratch;                      // the workspace of this thread

  static constexpr bool kHalves = !std::is_same_v<T, E>;

  const E* x_at(int64_t offset) const { return reinterpret_cast<const E*>(r.x.data) + offset; }
  E* y_at(int64_t offset) const { return reinterpret_cast<E*>(r.y.data) + offset; }

  // `count` runs of n elements as T, at most kReduceBlock elements. Sets `stride` to their distance.
  const T* floats(const E* x, int64_t n, int64_t count, int64_t& stride) const {
    if constexpr (kHalves) {
      T* block = scratch + plan.levels();
      for (int64_t i = 0; i < count; ++i) widen(r.x.stored, x + i * stride, n, block + i * n);
      stride = n;
      return block;
    } else {
      return x;
    }
  }

  // The total of some runs.
  T total_of(const Runs<E>& runs, T center) const {
    if (const auto f = loops.runs[static_cast<int>(r.op)])
      return f(runs.first, runs.n, runs.count, runs.stride, center);
    int64_t stride = runs.stride;
    const T* x = floats(runs.first, runs.n, runs.count, stride);
    return kernels.runs[static_cast<int>(r.op)](x, runs.n, runs.count, stride, center);
  }

  // The total of elements [begin, end) of the reduced axes, for one result. Long contiguous runs are read in
  // place; others are gathered in a buffer.
  T along(const E* x, T center, int64_t begin, int64_t end) const {
    const LoopNest<1>& nest = plan.reduced;
    const int64_t step = nest.strides[0][nest.ndim - 1];
    if (nest.ndim == 1 && step == 1 && end - begin <= kReduceBlock)
      return total_of({x + begin, end - begin, 1, 0}, center);
    T levels[kPairwiseLevels];
    E buffer[kReduceChunk];
    Pairwise<T> pairwise(r.op, levels, 1, 1);
    Runs<E> runs{};
    int64_t filled = 0;
    const auto push = [&](const Runs<E>& these) {
      *pairwise.next() = total_of(these, center);
      pairwise.push();
    };
    nest.walk(begin, end, [&](int64_t n, const int64_t* offsets) {
      const E* p = x + offsets[0];
      if (step == 1 && n >= kReduceRun) {
        for (int64_t i = 0; i < n; i += kReduceBlock) {
          const int64_t length = std::min(kReduceBlock, n - i);
          if (runs.takes(p + i, length)) continue;
          if (runs.count) push(runs);
          runs = {p + i, length, 1, 0};
        }
        return;
      }
      for (int64_t i = 0, some; i < n; i += some) {
        some = std::min(n - i, kReduceChunk - filled);
        if (step == 1)
          std::memcpy(buffer + filled, p + i, size_t(some) * sizeof(E));
        else
          for (int64_t k = 0; k < some; ++k) buffer[filled + k] = p[(i + k) * step];
        filled += some;
        if (filled == kReduceChunk) {
          push({buffer, filled, 1, 0});
          filled = 0;
        }
      }
    });
    if (runs.count) push(runs);
    if (filled || pairwise.empty()) push({buffer, filled, 1, 0});
    return *pairwise.finish();
  }

  // The totals of a panel's columns over elements [begin, end), by blocks of rows that are joined in pairs.
  const T* across(const E* x, const T* center, int64_t columns, int64_t begin, int64_t end) const {
    const auto reduce = kernels.columns[static_cast<int>(r.op)];
    // The loop that reads E itself; null: blocks are converted to T first. Narrow rows of halves are always
    // converted.
    auto direct = loops.columns[static_cast<int>(r.op)];
    if (kHalves && columns <= kReduceNarrow) direct = nullptr;
    const LoopNest<1>& nest = plan.reduced;
    const int64_t stride = nest.strides[0][nest.ndim - 1];
    Pairwise<T> pairwise(r.op, scratch, columns, plan.panel);
    const int64_t rows = plan.block_rows(columns);
    nest.walk(begin, end, [&](int64_t n, const int64_t* offsets) {
      for (int64_t i = 0; i < n; i += rows) {
        const int64_t some = std::min(rows, n - i);
        int64_t step = stride;
        const E* from = x + offsets[0] + i * stride;
        if (direct) {
          direct(from, stride, some, columns, center, pairwise.next());
        } else {
          const T* block = floats(from, columns, some, step);
          reduce(block, step, some, columns, center, pairwise.next());
        }
        pairwise.push();
      }
    });
    if (pairwise.empty()) {
      reduce(nullptr, 0, 0, columns, center, pairwise.next());
      pairwise.push();
    }
    return pairwise.finish();
  }

  // Calls f(x, center, y, columns) for a part, one panel of a row of results, with pointers to its first one.
  template <class F>
  void at_part(int64_t part, const F& f) const {
    const int64_t row = part / plan.panels;
    const int64_t column = part % plan.panels * plan.panel;
    const int64_t first = row * plan.width + column;
    plan.kept.walk(first, first + 1, [&](int64_t, const int64_t* offsets) {
      const T* center = r.center.data ? r.center.data + offsets[kCenter] : nullptr;
      const int64_t columns = std::min(plan.panel, plan.width - column);
      f(x_at(offsets[kX]), center, y_at(offsets[kY]), columns);
    });
  }

  // Divides the totals of a part, if it is a mean, and writes them to y.
  __attribute__((noinline)) void finish(const T* totals_of_part, E* y, int64_t columns) const {
    const int64_t step = plan.kept.strides[kY][plan.kept.ndim - 1];
    const T divisor = static_cast<T>(r.divisor);
    if constexpr (kHalves) {
      for (int64_t j = 0; j < columns; ++j) {
        const T total = divisor == T(1) ? totals_of_part[j] : totals_of_part[j] / divisor;
        y[j * step] = r.y.stored == Stored::float16 ? Float16(total).bits : BFloat16(total).bits;
      }
      return;
    } else if (divisor == T(1) && step == 1) {
      if (totals_of_part != y) std::copy(totals_of_part, totals_of_part + columns, y);
      return;
    }
    for (int64_t j = 0; j < columns; ++j) {
      y[j * step] = divisor == T(1) ? totals_of_part[j] : totals_of_part[j] / divisor;
    }
  }

  // Runs one segment of one part. Units are in the order of memory: all parts of segment 0, then of 1 ...
  void run_unit(int64_t unit) const {
    const int64_t part = unit % plan.parts();
    const int64_t segment = unit / plan.parts();
    const int64_t begin = plan.reduced.size * segment / plan.segments;
    const int64_t end = plan.reduced.size * (segment + 1) / plan.segments;
    at_part(part, [&](const E* x, const T* center, E* y, int64_t columns) {
      if constexpr (!kHalves)
        if (plan.is_one_block(columns)) {
          const T* centers = center ? dense_center(center, columns) : nullptr;
          kernels.columns[static_cast<int>(r.op)](x, plan.reduced.strides[0][0], end, columns, centers, y);
          return finish(y, y, columns);
        }
      T single;
      const T* found = &single;
      if (plan.across) {
        const T* centers = center ? dense_center(center, columns) : nullptr;
        found = across(x, centers, columns, begin, end);
      } else {
        const T of_result = center ? *center : T(0);
        single = along(x, of_result, begin, end);
      }
      if (plan.segments == 1) return finish(found, y, columns);
      std::copy(found, found + columns, totals + (part * plan.segments + segment) * plan.panel);
    });
  }

  // `count` results, each of one contiguous line. Short lines are transposed and summed as columns.
  void run_lines(int64_t count, const int64_t* offsets) const {
    const int inner = plan.kept.ndim - 1;
    const int op = static_cast<int>(r.op);
    const int64_t line = plan.kept.strides[kX][inner];
    const int64_t n = plan.reduced.size;
    const int64_t step_center = plan.kept.strides[kCenter][inner];
    const int64_t step_y = plan.kept.strides[kY][inner];
    const bool transposed = n <= kReduceTransposed;  // for any `count`, so that a line has the same bits
    int64_t most = transposed ? kernels.lanes : kReduceLanes;
    const auto direct = transposed ? nullptr : loops.lines[op];  // the loop that reads E itself, or null
    if (!direct) most = std::min(most, kReduceBlock / n);
    alignas(64) T tile[kReduceTransposed * kReduceLanes], totals[kReduceLanes], centers[kReduceLanes] = {};
    for (int64_t i = 0; i < count; i += most) {
      const int some = static_cast<int>(std::min(most, count - i));
      const E* from = x_at(offsets[kX] + i * line);
      const T* center = r.center.data ? r.center.data + offsets[kCenter] + i * step_center : nullptr;
      int64_t step = line;
      if (direct) {
        direct(from, n, some, line, center, step_center, totals);
      } else if (transposed) {
        const T* x = floats(from, n, some, step);
        kernels.transpose_lines(tile, x, step, some, n);
        for (int j = 0; center && j < some; ++j) centers[j] = center[j * step_center];
        const T* dense_centers = center ? centers : nullptr;
        kernels.columns[op](tile, kernels.lanes, n, kernels.lanes, dense_centers, totals);
      } else {
        const T* x = floats(from, n, some, step);
        kernels.lines[op](x, n, some, step, center, step_center, totals);
      }
      finish(totals, y_at(offsets[kY] + i * step_y), some);
    }
  }

  // True if each result has contiguous runs at even distances, and other results have the runs in between.
  bool are_beside() const {
    const LoopNest<1>& reduced = plan.reduced;
    if (!kernels.beside[static_cast<int>(r.op)] || reduced.ndim != 2 || reduced.strides[0][1] != 1 ||
        reduced.size == 0)
      return false;
    const int64_t n = reduced.shape[1];
    const int64_t line = plan.kept.strides[kX][plan.kept.ndim - 1];
    return n >= kReduceRun && n <= kReduceChunk && line >= n && line < reduced.strides[0][0];
  }

  // `count` such results, with the bits of along().
  void run_beside(int64_t count, const int64_t* offsets) const {
    const int inner = plan.kept.ndim - 1;
    const int64_t line = plan.kept.strides[kX][inner];
    const int64_t step_center = plan.kept.strides[kCenter][inner];
    const int64_t rows = plan.reduced.shape[0];
    const int64_t n = plan.reduced.shape[1];
    const int64_t stride = plan.reduced.strides[0][0];
    const int64_t at_once = kReduceBlock / n;
    T levels[kPairwiseLevels * kReduceTogether];
    for (int64_t i = 0; i < count; i += kReduceTogether) {
      const int lines = static_cast<int>(std::min<int64_t>(kReduceTogether, count - i));
      const T* x = r.x.data + offsets[kX] + i * line;
      const T* center = r.center.data ? r.center.data + offsets[kCenter] + i * step_center : nullptr;
      Pairwise<T> pairwise(r.op, levels, lines, kReduceTogether);
      for (int64_t row = 0; row < rows; row += at_once) {
        kernels.beside[static_cast<int>(r.op)](x + row * stride, n, std::min(at_once, rows - row), stride,
                                               lines, line, center, step_center, pairwise.next());
        pairwise.push();
      }
      finish(pairwise.finish(), y_at(offsets[kY] + i * plan.kept.strides[kY][inner]), lines);
    }
  }

  // Results [begin, end), each reduced along memory in one segment.
  void run_along(int64_t begin, int64_t end) const {
    const LoopNest<4>& nest = plan.kept;
    const int inner = nest.ndim - 1;
    const LoopNest<1>& reduced = plan.reduced;
    const bool lines =
        reduced.ndim == 1 && reduced.strides[0][0] == 1 && reduced.size > 0 && reduced.size <= kReduceBlock;
    [[maybe_unused]] const bool beside = are_beside();
    nest.walk(begin, end, [&](int64_t count, const int64_t* offsets) {
      if (lines) return run_lines(count, offsets);
      if constexpr (sizeof(E) == sizeof(float))
        if (beside) return run_beside(count, offsets);
      for (int64_t i = 0; i < count; ++i) {
        const E* x = x_at(offsets[kX] + i * nest.strides[kX][inner]);
        const T center =
            r.center.data ? r.center.data[offsets[kCenter] + i * nest.strides[kCenter][inner]] : T(0);
        const T total = along(x, center, 0, plan.reduced.size);
        finish(&total, y_at(offsets[kY] + i * nest.strides[kY][inner]), 1);
      }
    });
  }

  // The centers of a panel's columns, contiguous.
  const T* dense_center(const T* center, int64_t columns) const {
    T* dense = scratch + kPairwiseLevels * plan.panel;
    const int64_t step = plan.kept.strides[kCenter][plan.kept.ndim - 1];
    for (int64_t j = 0; j < columns; ++j) dense[j] = center[j * step];
    return dense;
  }

  // Turns totals of squares into results [begin, end). A total that overflowed, or is so small that squares
  // lost bits (not above `low`), is computed again in a wider type.
  void finish_squares(int64_t begin, int64_t end) const {
    const LoopNest<4>& nest = plan.kept;
    const int inner = nest.ndim - 1;
    const T low = r.root ? std::numeric_limits<T>::min() / std::numeric_limits<T>::epsilon() : T(-1);
    // excess * rest^2: what `rest` takes from a total (reduce.h), divided as the total in y is.
    const T excess = static_cast<T>(static_cast<double>(plan.reduced.size) / r.divisor);
    const int64_t step = nest.strides[kY][inner];
    const int64_t step_rest = r.rest.data ? nest.strides[kRest][inner] : 0;
    nest.walk(begin, end, [&](int64_t count, const int64_t* offsets) {
      T* y = r.y.data + offsets[kY];
      const T zero(0);
      const T* rest = r.rest.data ? r.rest.data + offsets[kRest] : &zero;
      for (int64_t i = 0; i < count; ++i, y += step, rest += step_rest) {
        const T squares = *y - excess * (*rest * *rest);
        const T value = squares < T(0) ? T(0) : squares;
        if (*y > low && *y < std::numeric_limits<T>::infinity()) {
          *y = r.root ? std::sqrt(value) : value;
        } else if (*y == *y) {  // NaN stays
          const auto at = [&](int k) { return offsets[k] + i * nest.strides[k][inner]; };
          const T center = r.center.data ? r.center.data[at(kCenter)] : T(0);
          *y = wide(r.x.data + at(kX), center);
        }
      }
    });
  }

  // The result for one total of squares, in a wider type than T.
  T wide(const T* x, T center) const {
    using Wide = std::conditional_t<sizeof(T) == 4, double, long double>;
    const LoopNest<1>& nest = plan.reduced;
    const int64_t step = nest.strides[0][nest.ndim - 1];
    const auto total_of = [&](const auto& f) {
      Wide sum = 0;
      nest.walk(0, nest.size, [&](int64_t n, const int64_t* from) {
        for (int64_t k = 0; k < n; ++k) sum += f(static_cast<Wide>(x[from[0] + k * step]));
      });
      return sum;
    };
    Wide mean = center;  // with `rest`, center is the rounded mean, and the exact one is computed below
    if (r.rest.data) mean = total_of([](Wide v) { return v; }) / static_cast<Wide>(nest.size);
    const Wide value =
        total_of([&](Wide v) { return (v - mean) * (v - mean); }) / static_cast<Wide>(r.divisor);
    const Wide result = r.root ? std::sqrt(value) : value;
    return static_cast<T>(result);
  }

  // Joins the totals of a part's segments as a binary tree, and finishes the result.
  void join_segments(int64_t part) const {
    const auto join = kernels.join[static_cast<int>(r.op)];
    T* first = totals + part * plan.segments * plan.panel;
    at_part(part, [&](const E*, const T*, E* y, int64_t columns) {
      for (int64_t step = 1; step < plan.segments; step *= 2)
        for (int64_t s = 0; s + step < plan.segments; s += 2 * step)
          join(columns, first + s * plan.panel, first + (s + step) * plan.panel);
      finish(first, y, columns);
    });
  }
};

// True for columns of few rows, such as the gradient of a bias: one call of `columns` does it without a plan.
template <class T>
bool is_small(const Reduce<T>& r) {
  return r.x.stored == Stored::whole && r.x.ndim == 2 && r.reduced[0] && !r.reduced[1] && !r.center.data &&
         !r.root && r.x.strides[1] == 1 && r.x.shape[0] > 0 && r.x.shape[0] <= kReduceRows &&
         r.x.shape[1] > 1 && r.x.shape[1] <= kReducePanel;
}

template <class T>
void run_small(const Reduce<T>& r) {
  alignas(64) T totals[kReducePanel];
  const int64_t width = r.x.shape[1];
  reduce_kernels<T>().columns[static_cast<int>(r.op)](r.x.data, r.x.strides[0], r.x.shape[0], width, nullptr,
                                                      totals);
  const T divisor = static_cast<T>(r.divisor);
  for (int64_t j = 0; j < width; ++j)
    r.y.data[j * r.y.strides[1]] = divisor == T(1) ? totals[j] : totals[j] / divisor;
}

}  // namespace

template <class T>
size_t Reduce<T>::workspace_bytes(int threads) const {
  const ReducePlan<T> plan(*this);
  return sizeof(T) * (plan.totals() + threads * plan.scratch());
}

template <class E, class T>
static const ReduceLoops<T, E>& loops_of(const Reduce<T>& r, const ReduceKernels<T>& kernels) {
  if constexpr (std::is_same_v<T, E>)
    return kernels;
  else
    return kernels.halves[r.x.stored == Stored::bfloat16];
}

template <class E, class T>
static void run_plan(const Reduce<T>& r, const ReducePlan<T>& plan, const Team& team, void* workspace) {
  const ReduceKernels<T>& kernels = reduce_kernels<T>();
  const ReduceLoops<T, E>& loops = loops_of<E>(r, kernels);
  const bool widens = !loops.runs[static_cast<int>(r.op)];
  // Nanoseconds, roughly: of an element, of its conversion from 16 bits, and of a part.
  const double cost = (0.04 * sizeof(T) / 4 + 0.06 * widens) * numel(r.x) + 10.0 * plan.parts();
  team.region(cost, [&](const OpenTeam& team) {
    T* totals = static_cast<T*>(workspace);
    T* scratch = totals + plan.totals() + team.index() * plan.scratch();
    const Reduction<T, E> reduction{r, plan, kernels, loops, totals, scratch};
    team.parallel_for(plan.parts() * plan.segments, cost, [&](int64_t begin, int64_t end) {
      if (!plan.across && plan.segments == 1) return reduction.run_along(begin, end);
      for (int64_t unit = begin; unit < end; ++unit) reduction.run_unit(unit);
    });
    if (plan.segments > 1)
      team.parallel_for(plan.parts(), cost, [&](int64_t part) { reduction.join_segments(part); });
    const auto finish = [&](int64_t begin, int64_t end) { reduction.finish_squares(begin, end); };
    if (r.op == ReduceOp::squares || r.op == ReduceOp::deviations)
      team.parallel_for(plan.kept.size, cost, finish);
  });
}

template <class T>
void Reduce<T>::run(const Team& team, void* workspace) const {
  if (is_small(*this))
    return team.region(0, [&](const OpenTeam& team) {
      if (team.index() == 0) run_small(*this);
    });
  const ReducePlan<T> plan(*this);
  if (plan.kept.size == 0) return;
  if constexpr (sizeof(T) == sizeof(float))
    if (plan.halves) return run_plan<uint16_t>(*this, plan, team, workspace);
  run_plan<T>(*this, plan, team, workspace);
}

RANVIER_INSTANTIATE(Reduce);

}  // namespace ranvier
