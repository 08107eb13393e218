// The forward pass of conv2d_pool with few channels and windows of 2 x 2. Lanes are pixels, as in
// conv2d/planes/planes.h. A thread pools the sums as planes while they are in L1, and then stores the results
// channels-last.
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
  int64_t z_step() const;       // from channel to channel in z_
  int64_t pooled_step() const;  // from channel to channel in pooled_, and from group to group in offsets_
  void run_band(const OpenTeam& team, const PlanarSum::Band& band, bool first_of_thread) const;
  void store_offsets(const uint32_t* words, int64_t windows, uint8_t* to) const;

  Conv2dPoolForward call_;
  PlanarSum sum_;
  int64_t out_;         // output channels
  int64_t groups_;      // groups of four output channels
  int64_t* places_;     // the places in y of the windows of a band
  float *z_, *pooled_;  // for each thread: [channel][pixel], [channel][window]
  uint32_t* offsets_;   // for each thread: [group][window]
};

}  // namespace ranvier
