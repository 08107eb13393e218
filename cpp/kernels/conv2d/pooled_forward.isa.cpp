// Max-pooling of what a thread has just computed, compiled once for each ISA level.
#include "base/unroll.h"
#include "kernels/conv2d/pooled_max.h"
#include "kernels/conv2d/pooled_tile.h"

namespace ranvier::RANVIER_ISA {

// kRows and kColumns of the window, or 0: as given.
template <int kRows, int kColumns>
static void pool_row(const PooledRow& p) {
  constexpr int L = lanes<float>;
  const int64_t rows = kRows ? kRows : p.window[0], columns = kColumns ? kColumns : p.window[1];
  const vec<float> floor = p.relu ? vec<float>{} : vec<float>{} - __builtin_inff();
  for (int64_t k = 0; k < p.channels; k += L) {
    const int n = static_cast<int>(p.channels - k < L ? p.channels - k : L);
    const vec<float> bias = p.bias ? load_n(p.bias + k, n) : vec<float>{};
    const float* z = p.z + k;
    for (int64_t i = 0; i < p.windows; ++i, z += columns * p.pixel) {
      WindowMax max{load(z) + bias, {}};
      int at = 0;
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t s = 0; s < columns; ++s, ++at)
          if (at > 0) meet(max, load(z + r * p.row + s * p.pixel) + bias, at);
      const int64_t to = i * p.step + k;
      store_max(max, floor, n, p.y + to, p.where ? p.where + to : nullptr);
    }
  }
}

static void pool(const PooledRow& p) {
  if (p.window[0] == 2 && p.window[1] == 2) return pool_row<2, 2>(p);
  pool_row<0, 0>(p);
}

extern const PooledKernels pooled_kernels = {pool};

}  // namespace ranvier::RANVIER_ISA
