// Copies the offsets of maxima to the layout that the gradients read: see offsets.h.
#include "kernels/conv2d_pool/offsets.h"

#include "kernels/conv2d/share.h"

namespace ranvier {

PooledOffsets::PooledOffsets(const TensorView<const uint8_t>& where, Carver& carver)
    : data(where.data),
      stride_n(where.strides[0]),
      stride_h(where.strides[2]),
      stride_w(where.strides[3]),
      where_(where) {
  if (!where.data || where.strides[1] == 1 || where.shape[1] == 1) return;
  stride_w = where.shape[1], stride_h = stride_w * where.shape[3], stride_n = stride_h * where.shape[2];
  data = copy_ = carver.take<uint8_t>(where.shape[0] * stride_n);
}

void PooledOffsets::copy_share(const OpenTeam& team) const {
  if (!copy_) return;
  const int64_t *st = where_.strides, h = where_.shape[2];
  const Range rows = even_share(team, where_.shape[0] * h);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    const uint8_t* from = where_.data + row / h * st[0] + row % h * st[2];
    for (int64_t j = 0; j < where_.shape[3]; ++j)
      for (int64_t k = 0; k < where_.shape[1]; ++k)
        copy_[row * stride_h + j * stride_w + k] = from[j * st[3] + k * st[1]];
  }
}

}  // namespace ranvier
