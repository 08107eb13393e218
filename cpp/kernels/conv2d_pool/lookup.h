// The gradient of conv2d_pool to the weight where the input has few channels, which do not fill vectors:
// lanes are output channels. Windows have at most four elements. For each position of the input there is a
// table (a quad) of the four inputs that the elements of a window at this position meet; each lane takes the
// one that the offset of its channel names. For the first layers of small networks this is 1.4 to 5 times as
// fast as lists.
#pragma once
#include "kernels/conv2d_pool/blocks.h"
#include "kernels/conv2d_pool/conv2d_pool.h"

namespace ranvier {

// True if PooledLookup takes less time than lists.
bool pooled_lookup_pays(const Conv2dPoolBackwardWeight& call);

class PooledLookup {
 public:
  PooledLookup(const Conv2dPoolBackwardWeight& call, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  struct Scratch {  // what each thread has
    float* plane;   // a channel of a band of the input, with zeros for the padding
    float* quads;   // [channel][row][column][4]
  };
  struct Band {  // rows of pooled pixels of an image
    int64_t image, row, rows;
  };
  int64_t reach(int d, int64_t pooled) const {
    return pooled_reach(c_.geometry, c_.window, c_.taps, d, pooled);
  }
  Scratch take_scratch(Carver& carver) const;
  Band band(int64_t i) const;
  void accumulate_part(const OpenTeam& team, int64_t part, Range panels) const;
  void make_quads(const Band& band, const Scratch& s) const;
  void copy_plane(int64_t channel, const Band& band, float* plane) const;
  PooledQuads job(const Band& band, int64_t panel, const Scratch& s) const;
  void add_band(PooledQuads job, int64_t part, int64_t panel) const;
  float* sums(int64_t part, int64_t panel) const;

  Conv2dPoolBackwardWeight c_;
  int64_t out_, in_, taps_;  // channels, taps of a filter
  PixelRows<float> dy_;
  PixelRows<uint8_t> where_;
  Panels<float> panels_;
  int64_t rows_;              // the most pooled rows of a band
  int64_t bands_;             // the bands of an image
  int64_t parts_;             // the parts into which all bands are divided; decided by the shapes alone
  int64_t height_, pitch_;    // rows and columns of the input that a band reads
  float *sums_, *bias_sums_;  // [part][panel][tap][channel][width], [part][panel][width]
  TeamScratch scratch_;
};

}  // namespace ranvier
