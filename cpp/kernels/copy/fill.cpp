#include "kernels/copy/copy.h"

#include <cstring>

#include "base/loop_nest.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

constexpr double kNsPerByte = 0.05;

template <class T>
void fill_line(void* y, int64_t step, int64_t n, const void* value) {
  T* p = static_cast<T*>(y);
  const T number = *static_cast<const T*>(value);
  for (int64_t i = 0; i < n; ++i) p[i * step] = number;
}

// Contiguous elements: of zeros by memset, else a line of cache at a time, since GCC makes no vectors of such
// a loop at -O2.
template <class T>
void fill_run(void* y, int64_t, int64_t n, const void* value) {
  constexpr int64_t kAtOnce = 64 / sizeof(T);
  const T number = *static_cast<const T*>(value);
  constexpr T zero{};
  if (std::memcmp(&number, &zero, sizeof(T)) == 0) {
    std::memset(y, 0, size_t(n) * sizeof(T));
    return;
  }
  T* p = static_cast<T*>(y);
  T line[kAtOnce];
  for (T& element : line) element = number;
  for (; n >= kAtOnce; n -= kAtOnce, p += kAtOnce) std::memcpy(p, line, sizeof line);
  for (int64_t i = 0; i < n; ++i) p[i] = number;
}

using FillLine = void (*)(void*, int64_t, int64_t, const void*);

void fill(const Team& team, int ndim, const int64_t* shape, const int64_t* strides, void* data, int64_t item,
          const void* value, FillLine line, FillLine run) {
  const LoopNest<1> nest(ndim, shape, {strides});
  const int64_t step = nest.strides[0][nest.ndim - 1];
  const FillLine f = step == 1 ? run : line;
  team.walk(nest, kNsPerByte * item * nest.size, [&](int64_t n, const int64_t* offsets) {
    f(static_cast<char*>(data) + offsets[0] * item, step, n, value);
  });
}

}  // namespace

template <class T>
void Fill<T>::run(const Team& team, void*) const {
  fill(team, y.ndim, y.shape, y.strides, y.data, sizeof(T), &value, fill_line<T>, fill_run<T>);
}

RANVIER_INSTANTIATE(Fill);
template struct Fill<int64_t>;
template struct Fill<bool>;

}  // namespace ranvier
