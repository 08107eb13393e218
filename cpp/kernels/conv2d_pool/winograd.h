// The gradient of conv2d_pool to the input by Winograd's algorithm, in pairs of bfloat16: each pooled
// gradient is a tile, which gives a patch of 4 x 4 pixels of dx. conv2d/winograd/pairs.h has the formula.
//
// Chosen: precision "medium", windows of 2 x 2, 3x3 taps, stride 1, no dilation, no groups, an even number of
// outputs, and enough channels (pays()).
//
// Memory: as Winograd (conv2d/winograd/winograd.h). Images of more than kWholeImage tiles are divided into
// bands, whose first row of tiles is computed twice.
#pragma once
#include "kernels/conv2d/winograd/winograd.h"
#include "kernels/conv2d_pool/conv2d_pool.h"

namespace ranvier {

class PooledWinogradInput final : WinogradSink {
 public:
  static bool pays(const Conv2dPoolBackwardInput& call);
  PooledWinogradInput(const Conv2dPoolBackwardInput& call, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  void take(const OpenTeam& team, const WinogradBlock& block, WinogradSums sums) const override;
  Ahead ahead(const WinogradBlock& block) const override;
  void band(int64_t index, const WinogradBlock& block, const WinogradSums& sums) const;

  Conv2dPoolBackwardInput c_;
  WinogradBands bands_;
  Winograd winograd_;
  PixelRows<float> saved_;
  float* zeros_;
};

}  // namespace ranvier
