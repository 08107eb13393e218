// The gradient to the weight by Winograd's algorithm: the sums over tiles are 16 matrix products, channels x
// tiles by tiles x outputs. Elements are pairs of bfloat16, the same channel of two tiles: see pairs.h, which
// has the formula.
//
// Chosen: precision "medium", 3x3 taps, stride 1, no dilation, no groups, at least 16 channels and outputs,
// where winograd_weight_pays(). Also for the gradients at the maxima of windows of 2 x 2 (conv2d_pool).
//
// Memory: at most 16 partial sums of dw; for each thread the 16 sums, and the transformed factors of a block
// of tiles.
#pragma once
#include "kernels/conv2d/winograd/winograd.h"

namespace ranvier {

struct WinogradWeightCall {
  TensorView<const float> dy, x;
  // Which pixel of its window of 2 x 2 each dy belongs to (pairs.h); or data null: dy has all pixels.
  TensorView<const uint8_t> where;
  TensorView<float> dw, db;  // db may be null
  int64_t pad[2];
};

// True if WinogradWeight takes less time than the alternatives. It reads the shapes alone. taps: of the
// weights.
bool winograd_weight_pays(const ConvAlgorithms& algorithms, const Conv2dGeometry& geometry,
                          const int64_t (&taps)[2], const WinogradWeightCall& call);

class WinogradWeight {
 public:
  WinogradWeight(const WinogradWeightCall& call, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  struct Scratch {
    float *v, *d, *m;
  };
  Scratch take_scratch(Carver& carver) const;
  void accumulate_part(const OpenTeam& team, int64_t part, Range panels) const;
  void transform(Range pairs, Range panels, float* bias, const Scratch& s) const;
  void add_products(int64_t pairs, Range panels, const Scratch& s) const;
  float* sums(int64_t part, int64_t panel) const {
    return sums_ + (part * panels_.count() + panel) * 9 * panel_size_;
  }
  float* bias_sums(int64_t part) const { return bias_sums_ + part * panels_.count() * panels_.width; }

  WinogradWeightCall c_;
  int64_t in_;
  int64_t rows_, columns_;  // of tiles
  int64_t tiles_;           // all tiles
  Panels<float> panels_;
  PixelRows<float> x_, dy_;
  PixelRows<uint8_t> where_;
  int64_t parts_;       // the number of parts; decided by the shapes alone, as block_ is
  int64_t block_;       // pairs of tiles in a block
  int64_t panel_size_;  // channels times outputs of a panel
  // From one pair of tiles to the next in v and d; from one product to the next in v, d and m.
  int64_t v_stride_, d_stride_, v_plane_, d_plane_, m_plane_;
  float* sums_;       // [part][panel][tap][channel][width]
  float* bias_sums_;  // [part][panel][width]
  float* zeros_;      // a pixel of the padding
  char* scratch_;
  int64_t scratch_bytes_;  // the scratch memory of a thread
};

}  // namespace ranvier
