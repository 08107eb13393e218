// The places of the maxima in their windows, which the gradients of conv2d_pool read.
#pragma once
#include "base/carve.h"
#include "base/tensor_view.h"

namespace ranvier {

class OpenTeam;

// The offsets with contiguous channels: the caller's own, or a copy.
class PooledOffsets {
 public:
  PooledOffsets(const TensorView<const uint8_t>& where, Carver& carver);
  void copy_share(const OpenTeam& team) const;
  const uint8_t* pixel(int64_t n, int64_t i, int64_t j) const {
    return data + n * stride_n + i * stride_h + j * stride_w;
  }
  const uint8_t* data;
  int64_t stride_n, stride_h, stride_w;

 private:
  TensorView<const uint8_t> where_;
  uint8_t* copy_ = nullptr;
};

}  // namespace ranvier
