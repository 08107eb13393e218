// conv2d_pool's forward pass with few channels and windows of 2 x 2: the lanes of vectors are pixels
// (conv2d/planes/planes.h), and a thread pools its sums while they are in its L1, before they become pixels
// of channels.
#pragma once
#include "kernels/conv2d/planes/planes.h"
#include "kernels/conv2d_pool/conv2d_pool.h"

namespace ranvier {

class PooledPlanar {
 public:
  static bool pays(const Correlation<float>& convolution);
  // `convolution`: what is pooled; its y has no memory. Its weights have to be finite.
  PooledPlanar(const Conv2dPoolForward& call, const Correlation<float>& convolution, Carver& carver,
               int threads);
  void run(const Team& team) const;

 private:
  int64_t z_step() const;  // the distance of channels in the sums
  int64_t pooled_step() const;
  void run_band(const OpenTeam& team, const PlanarSum::Band& band, bool first_of_thread) const;
  void store_offsets(const uint32_t* words, int64_t windows, uint8_t* to) const;

  Conv2dPoolForward call_;
  PlanarSum sum_;
  int64_t out_, groups_;  // channels; fours of them
  int64_t* places_;       // the places in y of the windows of a band
  float *z_, *pooled_;    // for each thread: [channel][pixel], [channel][window]
  uint32_t* offsets_;     // for each thread: [four channels][window]
};

}  // namespace ranvier
