// The plan of conv2d_pool's gradient to the input: for each pooled pixel and offset in its window the output
// channels whose maximum lay there, and the sum of their filters times their gradients, added to the patch of
// dx that this element of the convolution's output came from. Where the patches of all offsets fit in
// registers they are added to together (`patches`), else one after another (`lists`).
#pragma once
#include "kernels/conv2d_pool/blocks.h"
#include "kernels/conv2d_pool/conv2d_pool.h"

namespace ranvier {

class PooledInputGradient {
 public:
  PooledInputGradient(const Conv2dPoolBackwardInput<float>& call, void* workspace, int team);
  size_t workspace_bytes() const { return carver_.used(); }
  void run(const Team& team) const;

 private:
  struct Scratch {  // of a thread
    float* dx;      // [block][row][column][width], with the padding
    float* turned;  // dy of a band as [pixel][channel], where it lies otherwise
    int64_t *dy_at, *where_at;
    int32_t* corner;
    PooledLists lists;
    int64_t* end_of_group;  // lists up to the end of each group of channels
    uint32_t* masks;        // [a few channels][pixel][offset]
  };
  Scratch scratch(const OpenTeam& team) const;
  void turn_weights(const OpenTeam& team) const;
  void image(int64_t n, Range blocks, const Scratch& s) const;
  void band(int64_t n, Range rows, Range blocks, const Scratch& s) const;
  void add_lists(PooledPixels in, Range blocks, const Scratch& s) const;
  void add_patches(const PooledPixels& in, Range rows, Range blocks, const Scratch& s) const;
  PooledPixels band_pixels(int64_t n, Range rows, const Scratch& s) const;
  void turn_gradient(int64_t n, Range rows, const Scratch& s) const;
  void finish(int64_t n, int64_t block, const float* sums) const;

  Conv2dPoolBackwardInput<float> c_;
  int64_t out_, taps_[2];
  bool patches_;
  PooledBlocks blocks_;
  Carver carver_;
  int64_t height_, width_;                       // of dx with its padding, in pixels
  int64_t group_, groups_;                       // output channels whose filters stay in a cache
  int64_t masked_;                               // output channels of a mask
  int64_t band_rows_, entries_, lists_, masks_;  // of a band, at most
  int64_t turned_;                               // elements of a pixel in Scratch::turned, or 0
  float* filters_;                               // [block][k][filter]
  Scratch scratch_;                              // of the first thread; the others' follow
};

}  // namespace ranvier
