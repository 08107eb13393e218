// arg_reduce (reduce.h), argmax and argmin: the index of the extreme of each line, a line being the elements
// along the axis. The first of equal extremes counts, in whatever order they are searched, so a long line may
// be divided among threads.
#include <algorithm>

#include "base/loop_nest.h"
#include "base/parallel.h"
#include "kernels/copy/copy.h"
#include "kernels/reduce/reduce.h"

namespace ranvier {
namespace {

constexpr int64_t kPanel = 256;         // columns that are searched side by side
constexpr int64_t kPartWork = 1 << 14;  // elements that make a part of a line worthwhile

// An extreme and its index in the line.
template <class T>
struct Found {
  T value;
  int64_t at;
};

// True if `later` takes the place of `earlier`: the result is the first NaN, else the first of the greatest
// (least).
template <class T>
bool beats(bool maximum, T later, T earlier) {
  const bool better = maximum ? later > earlier : later < earlier;
  const bool earlier_is_nan = earlier != earlier;
  const bool later_is_nan = later != later;
  return !earlier_is_nan && (later_is_nan || better);
}

// The three ways to search lines: `line`, `columns` and `transposed`.
template <class T>
struct Search {
  const ArgReduce<T>& call;
  const ReduceKernels<T>& kernels;
  int64_t step;  // from one element of a line to the next

  // n elements of a line as contiguous T: where they are in x, or copied (or widened from halves) to the
  // buffer.
  const T* read(int64_t offset, int64_t n, T* buffer) const {
    if constexpr (sizeof(T) == sizeof(float))
      if (call.x.stored != Stored::whole) {
        const uint16_t* x = reinterpret_cast<const uint16_t*>(call.x.data) + offset;
        uint16_t bits[kReduceChunk];
        for (int64_t j = 0; step != 1 && j < n; ++j) bits[j] = x[j * step];
        widen(call.x.stored, step == 1 ? x : bits, n, buffer);
        return buffer;
      }
    const T* x = call.x.data + offset;
    if (step == 1) return x;
    for (int64_t j = 0; j < n; ++j) buffer[j] = x[j * step];
    return buffer;
  }

  // Searches elements [begin, end) of the line that begins at offset `first` of x, begin < end.
  Found<T> line(int64_t first, int64_t begin, int64_t end) const {
    T buffer[kReduceChunk];
    Found<T> best{};
    for (int64_t i = begin; i < end; i += kReduceChunk) {
      const int64_t n = std::min(kReduceChunk, end - i);
      const T* p = read(first + i * step, n, buffer);
      const int64_t at = kernels.arg_line(p, n, call.maximum);
      const T found = p[at];
      if (i > begin && !beats(call.maximum, found, best.value)) continue;
      best = {found, i + at};
      if (found != found) break;
    }
    return best;
  }

  // Searches `count` lines whose first elements are contiguous in memory, as columns.
  void columns(const T* x, int64_t count, int64_t* y, int64_t step_y) const {
    T best[kPanel], value[kPanel];
    ArgIndex<T> at[kPanel];
    const int64_t length = call.x.shape[call.axis];
    for (int64_t j = 0; j < count; j += kPanel) {
      const int64_t width = std::min(kPanel, count - j);
      for (int64_t i = 0; i < length; i += kArgRows) {
        const int rows = static_cast<int>(std::min(kArgRows, length - i));
        kernels.arg[call.maximum](x + j + i * step, step, rows, width, value, at);
        for (int64_t k = 0; k < width; ++k) {
          if (i > 0 && !beats(call.maximum, value[k], best[k])) continue;
          best[k] = value[k];
          y[(j + k) * step_y] = i + at[k];
        }
      }
    }
  }

  // Searches `count` short contiguous lines, `apart` elements from each other, which are transposed into a
  // tile.
  void transposed(const T* x, int64_t count, int64_t apart, int64_t* y, int64_t step_y) const {
    alignas(64) T tile[kReduceShort * kReduceLanes], best[kReduceLanes];
    ArgIndex<T> at[kReduceLanes];
    const int64_t n = call.x.shape[call.axis];
    for (int64_t i = 0; i < count; i += kernels.lanes) {
      const int some = static_cast<int>(std::min<int64_t>(kernels.lanes, count - i));
      kernels.transpose_lines(tile, x + i * apart, apart, some, n);
      kernels.arg[call.maximum](tile, kernels.lanes, static_cast<int>(n), kernels.lanes, best, at);
      for (int j = 0; j < some; ++j) y[(i + j) * step_y] = at[j];
    }
  }
};

// How many parts a line is divided into: more than one if there are few, long lines.
template <class T>
int64_t parts_of_line(const ArgReduce<T>& call) {
  const int64_t length = call.x.shape[call.axis];
  const int64_t lines = length ? numel(call.x) / length : 0;
  return lines && lines < kReduceSegments ? std::clamp<int64_t>(length / kPartWork, 1, kReduceSegments) : 1;
}

}  // namespace

template <class T>
size_t ArgReduce<T>::workspace_bytes(int) const {
  return sizeof(Found<T>) * kReduceSegments * parts_of_line(*this);
}

template <class T>
void ArgReduce<T>::run(const Team& team, void* workspace) const {
  int64_t shape[kMaxDims];
  for (int d = 0; d < x.ndim; ++d) shape[d] = d == axis ? 1 : x.shape[d];
  const LoopNest<2> kept(x.ndim, shape, {y.strides, x.strides});
  const int64_t length = x.shape[axis];
  const int64_t step = x.strides[axis];
  const int64_t parts = parts_of_line(*this);
  const int64_t step_y = kept.strides[0][kept.ndim - 1];
  const int64_t apart = kept.strides[1][kept.ndim - 1];
  const Search<T> search{*this, reduce_kernels<T>(), step};
  const bool side_by_side = apart == 1 && step != 1 && kept.shape[kept.ndim - 1] > 1;
  const double cost = 0.1 * static_cast<double>(numel(x)) + 5.0 * static_cast<double>(kept.size);
  if (parts > 1 && !side_by_side) {  // few long lines
    auto* found = static_cast<Found<T>*>(workspace);
    return team.region(cost, [&](const OpenTeam& team) {
      team.parallel_for(kept.size * parts, cost, [&](int64_t unit) {
        kept.walk(unit / parts, unit / parts + 1, [&](int64_t, const int64_t* offsets) {
          const int64_t part = unit % parts;
          found[unit] = search.line(offsets[1], length * part / parts, length * (part + 1) / parts);
        });
      });
      team.parallel_for(kept.size, 0, [&](int64_t i) {
        kept.walk(i, i + 1, [&](int64_t, const int64_t* offsets) {
          Found<T> best = found[i * parts];
          for (int64_t part = 1; part < parts; ++part)
            if (beats(maximum, found[i * parts + part].value, best.value)) best = found[i * parts + part];
          y.data[offsets[0]] = best.at;
        });
      });
    });
  }
  team.walk(kept, cost, [&](int64_t count, const int64_t* offsets) {
    const T* from = x.data + offsets[1];
    int64_t* to = y.data + offsets[0];
    const bool halves = x.stored != Stored::whole;
    if (side_by_side && !halves) return search.columns(from, count, to, step_y);
    if (step == 1 && length <= kReduceShort && !halves)
      return search.transposed(from, count, apart, to, step_y);
    for (int64_t i = 0; i < count; ++i) to[i * step_y] = search.line(offsets[1] + i * apart, 0, length).at;
  });
}

RANVIER_INSTANTIATE(ArgReduce);

}  // namespace ranvier
