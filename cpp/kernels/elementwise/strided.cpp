// Element-wise calls, y = f(x[0], ..., x[operands - 1]), on arrays that are not all in C order. All arrays
// have the same shape, and each has strides of its own; stride 0 repeats an element. The inner loop f takes n
// elements of each array, which have to be contiguous or one repeated element. Loops::run chooses how f gets
// them:
//
//   rows    if y is contiguous along the innermost dimension, and each operand is contiguous or repeated
//           there: row by row, in place
//   strips  if the operands for which that does not hold are contiguous along another dimension, as a
//           transposed matrix is: tiles of kTileRows x kTileColumns elements, in which these operands are
//           transposed into buffers
//   blocks  else: operands are copied (gathered) into blocks in the L1 cache, f runs on the blocks, and its
//           result is copied (scattered) to y
#include <algorithm>
#include <cstring>

#include "base/integers.h"
#include "base/loop_nest.h"
#include "base/unroll.h"
#include "kernels/copy/copy.h"
#include "kernels/elementwise/loops.h"

namespace ranvier::elementwise {
namespace {

constexpr int kArrays = kElementOperands + 1;  // the operands, then y
constexpr int kY = kElementOperands;           // the index of y
constexpr int64_t kBlockBytes = 4096;          // bytes of each array in a block: all of them stay in L1
// Bytes of a buffer: repeat_each() may write a vector too much.
constexpr int64_t kBlockRoom = kBlockBytes + 64;
constexpr int64_t kShortRow = 128;  // elements: shorter rows are joined to blocks
// Elements of a group (see Repeated); smaller groups are copied row by row.
constexpr int64_t kLeastGroup = 32;
// The tile of a transposed operand: whole cache lines in both directions, four of them in a row of floats.
constexpr int64_t kTileRows = 64;
constexpr int64_t kTileColumns = 64;

// Copies n elements from src to dst; steps are in elements.
template <class U>
void copy_strided(int64_t n, const void* src, int64_t src_step, void* dst, int64_t dst_step) {
  const U* s = static_cast<const U*>(src);
  U* d = static_cast<U*>(dst);
  for (int64_t i = 0; i < n; ++i) d[i * dst_step] = s[i * src_step];
}
__attribute__((noinline)) void copy_strided(int item, int64_t n, const void* src, int64_t src_step, void* dst,
                                            int64_t dst_step) {
  if (item == 1) return copy_strided<int8_t>(n, src, src_step, dst, dst_step);
  if (item == 2) return copy_strided<int16_t>(n, src, src_step, dst, dst_step);
  if (item == 4) return copy_strided<int32_t>(n, src, src_step, dst, dst_step);
  copy_strided<int64_t>(n, src, src_step, dst, dst_step);
}

// Copies `rows` rows of n elements of `item` bytes from x to y. In elements, rows are x_row and y_row apart,
// and the elements of a row x_step and y_step.
void copy_rows(int item, int64_t rows, int64_t n, const char* x, int64_t x_row, int64_t x_step, char* y,
               int64_t y_row, int64_t y_step) {
  const bool even = x_step == 1 && y_step == 1;
  if (even && item == 4)
    return copy_kernels<float>().copy_rows(rows, n, reinterpret_cast<const float*>(x), x_row,
                                           reinterpret_cast<float*>(y), y_row);
  if (even && item == 8)
    return copy_kernels<double>().copy_rows(rows, n, reinterpret_cast<const double*>(x), x_row,
                                            reinterpret_cast<double*>(y), y_row);
  for (int64_t i = 0; i < rows; ++i) {
    copy_strided(item, n, x, x_step, y, y_step);
    x += x_row * item;
    y += y_row * item;
  }
}

// to[i * n + j] = x[i * step] for i < count, j < n. Up to one vector behind the end of `to` is overwritten.
void repeat_each(int item, int64_t count, int64_t n, const char* x, int64_t step, char* to) {
  if (item == 4)
    return copy_kernels<float>().repeat_each(count, n, reinterpret_cast<const float*>(x), step,
                                             reinterpret_cast<float*>(to));
  if (item == 8)
    return copy_kernels<double>().repeat_each(count, n, reinterpret_cast<const double*>(x), step,
                                              reinterpret_cast<double*>(to));
  for (int64_t i = 0; i < count; ++i) {
    if (item == 1) {
      std::fill_n(to, n, *x);
    } else {
      copy_strided(item, n, x, /*src_step=*/0, to, /*dst_step=*/1);
    }
    x += step * item;
    to += n * item;
  }
}

// Operand k of a call, or the first one if the call has fewer operands: the nest needs arrays in all places.
const Array& operand_or_first(int operands, const Array* x, int k) { return k < operands ? x[k] : x[0]; }

// One call: its arrays, operands first and then y, and the loop nest over them. In the methods k is the index
// of an array. begin, end: a range of elements, counted in the order of the nest (C order of its dimensions).
struct Loops {
  Array arrays[kArrays];
  LoopNest<kArrays> nest;
  int operands;
  ElementwiseFunction function;
  const void* attributes;

  Loops(int operands_in, const Array* x, const Array& y, int ndim, const int64_t* shape,
        ElementwiseFunction f, const void* attributes_in)
      : arrays{x[0], operand_or_first(operands_in, x, 1), operand_or_first(operands_in, x, 2),
               operand_or_first(operands_in, x, 3), y},
        nest(ndim, shape,
             {arrays[0].strides, arrays[1].strides, arrays[2].strides, arrays[3].strides, arrays[4].strides}),
        operands(operands_in),
        function(f),
        attributes(attributes_in) {}

  ElementRow new_row() const {
    ElementRow r{};
    r.attributes = attributes;
    return r;
  }

  int64_t inner_step(int k) const { return nest.strides[k][nest.ndim - 1]; }
  const char* at(int k, int64_t offset) const { return arrays[k].data + offset * arrays[k].item; }
  char* y_at(int64_t offset) const { return const_cast<char*>(at(kY, offset)); }

  // True if the inner loop can read a row of array k in place: it is contiguous, or one element is repeated.
  bool moves_evenly(int k) const { return inner_step(k) == 0 || inner_step(k) == 1; }

  int64_t row_length() const { return nest.shape[nest.ndim - 1]; }

  int largest_item() const {
    int item = arrays[kY].item;
    for (int k = 0; k < operands; ++k) item = std::max(item, arrays[k].item);
    return item;
  }

  // True if all rows of array k are the same memory.
  bool repeats_row(int k) const {
    for (int d = 0; d < nest.ndim - 1; ++d)
      if (nest.strides[k][d] != 0) return false;
    return true;
  }

  // True if rows() can be used and is faster than blocks(). blocks() is faster if rows are short, or if
  // nothing has to be gathered except operands that repeat one row.
  bool direct() const {
    for (int k = 0; k < operands; ++k)
      if (!moves_evenly(k)) return false;
    if (inner_step(kY) != 1 || nest.ndim == 1) return inner_step(kY) == 1;
    bool repeats = nest.is_dense(kY) && 2 * row_length() * largest_item() <= kBlockBytes;
    for (int k = 0; k < operands; ++k) repeats = repeats && (nest.is_dense(k) || repeats_row(k));
    return row_length() >= kShortRow && !repeats;
  }

  // The dimension for strips(): the operands that are not contiguous along the innermost dimension are
  // contiguous along this one. -1 if there is none.
  int transposed_along() const {
    int along = -1;
    if (inner_step(kY) != 1) return -1;
    for (int k = 0; k < operands; ++k) {
      if (moves_evenly(k)) continue;
      int d = 0;
      while (d < nest.ndim - 1 && nest.strides[k][d] != 1) ++d;
      if (d == nest.ndim - 1 || (along >= 0 && d != along) || arrays[k].item < 4) return -1;
      along = d;
    }
    return along;
  }

  // Runs the inner loop on elements [begin, end), row by row, in place.
  void rows(int64_t begin, int64_t end) const {
    ElementRow r = new_row();
    for (int k = 0; k < operands; ++k) r.step[k] = inner_step(k) == 1;
    nest.walk(begin, end, [&](int64_t n, const int64_t* offsets) {
      r.n = n;
      r.y = y_at(offsets[kY]);
      RANVIER_UNROLL
      for (int k = 0; k < kElementOperands; ++k) r.x[k] = at(k, offsets[k]);
      function(r);
    });
  }

  // Runs the inner loop on elements [begin, end) in blocks of at most kBlockBytes of each array: strided
  // operands are gathered, and y is scattered. An array that is dense over the whole nest is used in place;
  // an operand that repeats the same row is gathered once (kept).
  void blocks(int64_t begin, int64_t end) const {
    alignas(64) char block[kArrays][kBlockRoom];
    const int64_t most = kBlockBytes / largest_item();
    const int64_t row = row_length();
    // Whole rows, where a block holds one: so all blocks begin at the same column, and a row that is kept
    // from the first block is right for the others.
    const int64_t length = row < most ? most / row * row : most;
    bool dense[kArrays], kept[kArrays];
    for (int k = 0; k < kArrays; ++k) {
      dense[k] = nest.is_dense(k);
      kept[k] = dense[k] || (row <= most && repeats_row(k));
    }
    ElementRow r = new_row();
    for (int64_t first = begin; first < end; first += r.n) {
      r.n = std::min(end - first, length);
      const bool* const skipped = first == begin ? dense : kept;  // the rows that are kept are gathered once
      gather(first, first + r.n, skipped, block);
      for (int k = 0; k < operands; ++k) {
        r.step[k] = 1;
        r.x[k] = dense[k] ? at(k, first) : block[k];
      }
      r.y = dense[kY] ? y_at(first) : block[kY];
      function(r);
      if (!dense[kY]) scatter(first, first + r.n, block[kY]);
    }
  }

  // Copies elements [begin, end) of each operand that is not skipped to its block.
  void gather(int64_t begin, int64_t end, const bool* skipped, char (*block)[kBlockRoom]) const {
    for (int k = 0; k < operands; ++k) {
      if (skipped[k]) continue;
      const Repeated repeated = repeated_of(k);
      if (inner_step(k) != 0 && repeated.group >= kLeastGroup && repeated.group != row_length())
        repeat_runs(k, repeated, begin, end, block[k]);
      else
        gather_once(k, begin, end, block[k]);
    }
  }

  // Copies elements [begin, end) of operand k to `to`. If the outermost dimensions have stride 0, the
  // elements repeat with a period: one period is gathered, and then copied.
  void gather_once(int k, int64_t begin, int64_t end, char* to) const {
    const int item = arrays[k].item;
    const int64_t n = end - begin;
    int64_t period = nest.size;
    for (int d = 0; d < nest.ndim - 1 && nest.strides[k][d] == 0; ++d) period /= nest.shape[d];
    if (period >= n) return gather_rows(k, begin, end, to);
    const int64_t first = begin % period;
    gather_rows(k, first, period, to);
    gather_rows(k, 0, first, to + (period - first) * item);
    for (int64_t done = period; done < n; done *= 2)
      std::memcpy(to + done * item, to, size_t(std::min(done, n - done) * item));
  }

  // Copies elements [begin, end) of operand k to `to`, row by row.
  void gather_rows(int k, int64_t begin, int64_t end, char* to) const {
    const int item = arrays[k].item;
    each_rows(k, begin, end, [&](int64_t rows, int64_t n, int64_t offset, int64_t row, int64_t done) {
      if (inner_step(k) == 0) return repeat_each(item, rows, n, at(k, offset), row, to + done * item);
      copy_rows(item, rows, n, at(k, offset), row, inner_step(k), to + done * item, n, 1);
    });
  }

  // Divides elements [begin, end) of array k into groups of rows at equal distances, and calls f(rows, n,
  // offset, row, done) for each: `rows` rows of n elements, the first at `offset`, `row` apart; `done`
  // elements were in earlier groups.
  template <class F>
  void each_rows(int k, int64_t begin, int64_t end, const F& f) const {
    const int64_t* strides = nest.strides[k];
    const int64_t* shape = nest.shape;
    const int64_t length = row_length();
    int outer = std::max(nest.ndim - 2, 0);                  // dimensions [0, outer) count the groups
    const int64_t row = nest.ndim > 1 ? strides[outer] : 0;  // from one row to the next
    int64_t even = nest.ndim > 1 ? shape[outer] : 1;         // rows of a group
    for (; outer > 0 && strides[outer - 1] == strides[outer] * shape[outer]; --outer)
      even *= shape[outer - 1];
    int64_t done = 0;
    while (begin < end) {
      const int64_t column = begin % length;
      const int64_t first = begin / length % even;
      int64_t rows = std::min(even - first, (end - begin) / length);
      int64_t n = length;
      if (column || !rows) {  // the range begins or ends within a row
        rows = 1;
        n = std::min(end - begin, length - column);
      }
      int64_t rest = begin / length / even;
      int64_t offset = first * row + column * inner_step(k);
      for (int d = outer - 1; d >= 0; --d) {
        offset += rest % shape[d] * strides[d];
        rest /= shape[d];
      }
      f(rows, n, offset, row, done);
      begin += rows * n;
      done += rows * n;
    }
  }

  // The layout of an operand with stride 0 in a middle dimension, such as a bias for each channel: a run of
  // elements at equal distances is repeated, which makes a group; then the next group begins.
  struct Repeated {
    int64_t run;    // elements of a run
    int64_t group;  // elements of a group
    int outer;      // dimensions [0, outer) count the groups
  };
  Repeated repeated_of(int k) const {
    const int64_t* strides = nest.strides[k];
    int d = nest.ndim - 1;
    int64_t run = nest.shape[d];
    for (; d > 0 && strides[d - 1] == strides[d] * nest.shape[d]; --d) run *= nest.shape[d - 1];
    int64_t group = run;
    for (; d > 0 && strides[d - 1] == 0; --d) group *= nest.shape[d - 1];
    return {run, group, d};
  }

  // Copies elements [begin, end) of such an operand k to `to`.
  void repeat_runs(int k, const Repeated& r, int64_t begin, int64_t end, char* to) const {
    while (begin < end) {
      const int64_t within = begin % r.group;
      const int64_t n = std::min(end - begin, r.group - within);
      int64_t rest = begin / r.group;
      int64_t offset = 0;
      for (int d = r.outer - 1; d >= 0; --d) {
        offset += rest % nest.shape[d] * nest.strides[k][d];
        rest /= nest.shape[d];
      }
      repeat_run(k, offset, r.run, within % r.run, n, to);
      begin += n;
      to += n * arrays[k].item;
    }
  }

  // Copies n elements of a repeated run, from its element `first` on: the run is copied once, then what is
  // copied is doubled.
  void repeat_run(int k, int64_t offset, int64_t run, int64_t first, int64_t n, char* to) const {
    const int item = arrays[k].item;
    const int64_t step = inner_step(k);
    const int64_t head = std::min(run - first, n);
    const int64_t once = std::min(run, n);
    copy_strided(item, head, at(k, offset + first * step), step, to, 1);
    copy_strided(item, once - head, at(k, offset), step, to + head * item, 1);
    for (int64_t done = once; done < n; done *= 2)
      std::memcpy(to + done * item, to, size_t(std::min(done, n - done) * item));
  }

  // Copies a block to elements [begin, end) of y.
  void scatter(int64_t begin, int64_t end, const char* block) const {
    const int item = arrays[kY].item;
    each_rows(kY, begin, end, [&](int64_t rows, int64_t n, int64_t offset, int64_t row, int64_t done) {
      copy_rows(item, rows, n, block + done * item, n, 1, y_at(offset), row, inner_step(kY));
    });
  }

  // Runs the inner loop on a tile: `count` rows (along dimension `along`) of n columns (along the innermost
  // one), which begins at offsets[k] in array k. Operands that are contiguous along `along` are transposed
  // into blocks (operand, row, column) first.
  template <class T>
  void tile(int along, int64_t count, int64_t n, const int64_t* offsets, T* blocks) const {
    const CopyKernels<T>& kernels = copy_kernels<T>();
    ElementRow r = new_row();
    r.n = n;
    for (int k = 0; k < operands; ++k) {
      r.step[k] = inner_step(k) != 0;
      if (moves_evenly(k)) continue;
      for (int64_t i = 0; i < count; i += kernels.lanes) {
        const int rows = static_cast<int>(std::min<int64_t>(kernels.lanes, count - i));
        const T* from = reinterpret_cast<const T*>(at(k, offsets[k] + i));
        T* to = blocks + (k * kTileRows + i) * kTileColumns;
        kernels.transpose_strip(rows, n, from, inner_step(k), to, kTileColumns);
      }
    }
    for (int64_t i = 0; i < count; ++i) {
      for (int k = 0; k < operands; ++k) {
        if (moves_evenly(k)) {
          r.x[k] = at(k, offsets[k] + i * nest.strides[k][along]);
        } else {
          r.x[k] = blocks + (k * kTileRows + i) * kTileColumns;
        }
      }
      r.y = y_at(offsets[kY] + i * nest.strides[kY][along]);
      function(r);
    }
  }

  // Runs the tiles of strips [begin, end). A strip has kTileRows rows along `along` and all columns; strips
  // are counted through `outside`, the nest without these two dimensions.
  template <class T>
  void strips(int along, int64_t begin, int64_t end) const {
    alignas(64) T blocks[kElementOperands * kTileRows * kTileColumns];
    const int inner = nest.ndim - 1;
    const int64_t rows = nest.shape[along];
    const int64_t columns = nest.shape[inner];
    const int64_t per_outer = strips_of(along);
    const LoopNest<kArrays> outer = outside(along);
    for (int64_t strip = begin; strip < end; ++strip) {
      const int64_t row = strip % per_outer * kTileRows;
      const int64_t count = std::min(kTileRows, rows - row);
      outer.walk(strip / per_outer, strip / per_outer + 1, [&](int64_t, const int64_t* start) {
        for (int64_t column = 0; column < columns; column += kTileColumns) {
          int64_t offsets[kArrays];
          for (int k = 0; k < kArrays; ++k)
            offsets[k] = start[k] + row * nest.strides[k][along] + column * nest.strides[k][inner];
          tile(along, count, std::min(columns - column, kTileColumns), offsets, blocks);
        }
      });
    }
  }

  // The number of strips for each element of outside(along).
  int64_t strips_of(int along) const { return ceil_div(nest.shape[along], kTileRows); }

  // The nest without the two dimensions of the tiles.
  LoopNest<kArrays> outside(int along) const {
    int64_t shape[kMaxDims];
    std::copy(nest.shape, nest.shape + nest.ndim, shape);
    shape[along] = 1;
    shape[nest.ndim - 1] = 1;
    return {nest.ndim,
            shape,
            {nest.strides[0], nest.strides[1], nest.strides[2], nest.strides[3], nest.strides[4]}};
  }

  template <class T>
  void run_transposed(const Team& team, int along, double ns) const {
    team.parallel_for(outside(along).size * strips_of(along), ns,
                      [&](int64_t begin, int64_t end) { strips<T>(along, begin, end); });
  }

  // Chooses the way and divides the work among threads. ns: of all elements.
  void run(const Team& team, double ns) const {
    if (nest.size == 0) return;
    int item = 1;  // bytes of the largest element of an operand
    for (int k = 0; k < operands; ++k) item = std::max(item, arrays[k].item);
    if (direct())
      return team.parallel_for(nest.size, ns, [&](int64_t begin, int64_t end) { rows(begin, end); });
    const int along = transposed_along();
    if (along >= 0 && item == 4) return run_transposed<float>(team, along, ns);
    if (along >= 0) return run_transposed<double>(team, along, ns);
    team.parallel_for(nest.size, ns, [&](int64_t begin, int64_t end) { blocks(begin, end); });
  }
};

}  // namespace

void run_strided(const Team& team, int operands, const Array* x, const Array& y, int ndim,
                 const int64_t* shape, ElementwiseFunction f, double ns, const void* attributes) {
  Loops(operands, x, y, ndim, shape, f, attributes).run(team, ns);
}

}  // namespace ranvier::elementwise
