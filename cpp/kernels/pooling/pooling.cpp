// pooling: divides the rows and planes of images among the team, and calls the loops of the active ISA level.
// It also turns the offsets of maxima into places in the image (MaxPool2dIndices).
#include "kernels/pooling/pooling.h"

#include <algorithm>

#include "base/caches.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

// Serial time in nanoseconds, roughly: for each element of a window, of which a vector has several, and for
// each element of y besides.
constexpr double kNsPerTap = 0.05;
constexpr double kNsPerOutput = 0.2;

template <class T, class Offset>
const MaxPoolKernels<T, Offset>& max_kernels() {
  if constexpr (sizeof(Offset) == 1)
    return pooling_kernels<T>().max;
  else
    return pooling_kernels<T>().max_wide;
}

// The serial time of a call in nanoseconds.
double cost(int64_t outputs, const PoolAxis& rows, const PoolAxis& columns) {
  return outputs * (kNsPerOutput + kNsPerTap * pool_longest_window(rows) * pool_longest_window(columns));
}

template <class Call, class Kernel>
void run_forward(const Team& team, const Call& call, Kernel kernel, void* workspace) {
  const int64_t planes = call.y.shape[0] * (call.channels_last ? 1 : call.y.shape[1]);
  if (numel(call.y) == 0) return;
  const size_t scratch = call.workspace_bytes(1);
  team.parallel_for(planes * call.rows.out, cost(numel(call.y), call.rows, call.columns),
                    [&](const OpenTeam& team, int64_t begin, int64_t end) {
                      kernel(team, call, begin, end, static_cast<char*>(workspace) + scratch * team.index());
                    });
}

template <class Call, class Kernel>
void run_backward(const Team& team, const Call& call, Kernel kernel, void* workspace) {
  const int64_t n = call.dx.shape[0];
  const int64_t units = call.channels_last ? n * call.rows.in : n * call.dx.shape[1];
  if (numel(call.dx) == 0) return;
  const size_t scratch = call.workspace_bytes(1);
  const double ns = cost(numel(call.dy), call.rows, call.columns) + kNsPerTap * numel(call.dx);
  team.parallel_for(units, ns, [&](const OpenTeam& team, int64_t begin, int64_t end) {
    kernel(team, call, begin, end, static_cast<char*>(workspace) + scratch * team.index());
  });
}

}  // namespace

// `item`: bytes of an element. A thread's workspace has one of two contents, and the larger size is returned:
//   entries, counts  for the rows and for the columns of the image a table of the windows that contain each
//                    input (PoolInputs in axis.h), and a table with one number for each window
//   2 * row          two rows of an image with padding (row_buffer.h). `windows` are the elements that the
//                    windows of a row read, rounded up to whole vectors. 128 bytes are added, as the last
//                    vector may go beyond the row; the sum is rounded up to a multiple of 64.
size_t pool_scratch_bytes(const PoolAxis& rows, const PoolAxis& columns, size_t item) {
  constexpr int64_t kLanes = 16;  // lanes of the widest vectors
  const int64_t image = columns.padding + columns.in;
  const int64_t windows = (columns.out + kLanes) * columns.stride + columns.kernel * columns.dilation;
  const size_t row = (std::max(image, windows) * item + 128 + 63) / 64 * 64;
  const size_t counts = pool_counts_bytes(rows) + pool_counts_bytes(columns);
  const size_t entries = pool_inputs_bytes(rows) + pool_inputs_bytes(columns);
  return std::max(entries + counts, 2 * row);
}

// shape: (n, c, h, w); column: the stride of columns in elements; size: bytes of an element. kFar is the
// limit where L3 is so large that a third of it exceeds this.
bool pool_is_far(const int64_t* shape, int64_t column, int64_t size) {
  constexpr int64_t kFar = 10 << 20;  // bytes
  return column > 0 && shape[0] * shape[1] * shape[2] * shape[3] * size > std::min(caches.l3 / 3, kFar);
}

// Prefetches n elements of each of the rows of x that the next row of windows reads as the first: `stride`
// rows that follow after the `kernel` rows of the windows at x, or if stride > kernel, all `kernel` rows of
// the next windows. row: the stride of rows in elements; size: bytes of an element; 64: the bytes of a cache
// line.
void pool_fetch_below(const PoolAxis& rows, const void* x, int64_t row, int64_t n, int64_t size) {
  const char* from = static_cast<const char*>(x) + std::max(rows.kernel, rows.stride) * row * size;
  for (int64_t r = std::min(rows.kernel, rows.stride); r > 0; --r, from += row * size)
    for (int64_t i = 0; i < n * size; i += 64) __builtin_prefetch(from + i, 0, 2);
}

template <class T, class Offset>
void MaxPool2dForward<T, Offset>::run(const Team& team, void* workspace) const {
  run_forward(team, *this, max_kernels<T, Offset>().forward, workspace);
}

template <class T, class Offset>
void MaxPool2dBackward<T, Offset>::run(const Team& team, void* workspace) const {
  run_backward(team, *this, max_kernels<T, Offset>().backward, workspace);
}

template <class T>
void AvgPool2dForward<T>::run(const Team& team, void* workspace) const {
  run_forward(team, *this, pooling_kernels<T>().avg.forward, workspace);
}

template <class T>
void AvgPool2dBackward<T>::run(const Team& team, void* workspace) const {
  run_backward(team, *this, pooling_kernels<T>().avg.backward, workspace);
}

template <class Offset>
void MaxPool2dIndices<Offset>::run(const Team& team, void*) const {
  const int64_t channels = where.shape[1];
  const int64_t taps = pool_taps(columns);
  if (numel(where) == 0) return;
  team.parallel_for(where.shape[0] * rows.out, 1.0 * numel(where), [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t n = unit / rows.out;
      const int64_t oh = unit % rows.out;
      const int64_t top = pool_window(rows, oh).start;
      for (int64_t ow = 0; ow < columns.out; ++ow) {
        const int64_t left = pool_window(columns, ow).start;
        const Offset* from =
            where.data + n * where.strides[0] + oh * where.strides[2] + ow * where.strides[3];
        int64_t* to =
            indices.data + n * indices.strides[0] + oh * indices.strides[2] + ow * indices.strides[3];
        for (int64_t c = 0; c < channels; ++c) {
          const int64_t offset = from[c * where.strides[1]];
          const int64_t h = top + offset / taps * rows.dilation;
          const int64_t w = left + offset % taps * columns.dilation;
          to[c * indices.strides[1]] = h * columns.in + w;
        }
      }
    }
  });
}

template struct MaxPool2dIndices<uint8_t>;
template struct MaxPool2dIndices<int64_t>;

#define RANVIER_X(T)                             \
  template struct MaxPool2dForward<T, uint8_t>;  \
  template struct MaxPool2dForward<T, int64_t>;  \
  template struct MaxPool2dBackward<T, uint8_t>; \
  template struct MaxPool2dBackward<T, int64_t>; \
  template struct AvgPool2dForward<T>;           \
  template struct AvgPool2dBackward<T>;
RANVIER_X(float)
RANVIER_X(double)
#undef RANVIER_X

}  // namespace ranvier
