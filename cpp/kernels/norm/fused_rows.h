// Blocks of rows between batch norm and the ReLU or max-pool after it: made in scratch by the kernels of
// those kernel families. Rows are those of ChannelPlan in the layout of columns.
#pragma once
#include "base/caches.h"
#include "base/integers.h"
#include "base/parallel.h"
#include "kernels/activation/activation.h"
#include "kernels/conv2d_pool/tile.h"
#include "kernels/norm/channels.h"

namespace ranvier {

// Rows of a block, which stay in L1: whole ones of kNormRows, whose sums keep their order.
template <class T>
int64_t block_rows(const ChannelPlan& plan) {
  const int64_t bytes = kNormRows * std::max<int64_t>(plan.width, 1) * static_cast<int64_t>(sizeof(T));
  return std::max<int64_t>(caches.l1 / 2 / bytes, 1) * kNormRows;
}

template <class T>
void relu(T* y, int64_t n) {
  activation_kernels<T>().forward[int(Activation::relu)]({n, y, nullptr, y, 1, 0, 1, 0, 0});
}

constexpr int64_t kPooledSlack = 16;  // pooling reads whole vectors

template <class T>
int64_t pooled_rows_size(const BatchNormForward<T>& f) {  // of a thread
  if (!f.pool.y.data) return 0;
  return round_up(f.pool.window[0] * f.pool.size[1] * f.x.shape[1] + kPooledSlack, 64);
}

// Row i of windows, from their pixels z.
inline void pool_rows(const NormPool& p, bool relu, int64_t i, const float* z) {
  const int64_t channels = p.y.shape[1];
  PooledRow row{};
  row.z = z, row.pixel = channels, row.row = p.size[1] * channels;
  row.window[0] = p.window[0], row.window[1] = p.window[1];
  row.windows = p.y.shape[3], row.channels = row.step = channels, row.relu = relu;
  const int64_t at = i * row.windows * channels;
  row.y = p.y.data + at, row.where = p.where.data ? p.where.data + at : nullptr;
  pooled_kernels().row(row);
}

}  // namespace ranvier
