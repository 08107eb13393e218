// Winograd's minimal filtering F(2x2, 3x3), for the forward and the gradient to the input: a tile of 2 x 2
// outputs is computed from 4 x 4 inputs with 16 products for each pair of an input and an output channel,
// where the direct sum has 36.
//
//   y = A^T [ sum over c of (G g_c G^T) * (B^T d_c B) ] A
//
// where g_c are the 3 x 3 weights and d_c the 4 x 4 inputs of channel c, * multiplies element by element, and
// transforms.isa.cpp has the matrices A, B and G. The sums over channels are 16 matrix products: tiles x
// channels by channels x outputs.
//
// Chosen: float32, 3x3 taps, stride 1, no dilation, no groups, more than 4 outputs, where a cost model that
// is fitted to measured shapes expects a gain (winograd_pays()): from about 32 channels on. Not for few
// channels and large images, for which planes/ takes less time.
//
// Memory: the transformed weights, 16/9 of the weights; for each thread the transformed inputs and products
// of a block of tiles, half of L2.
//
// With precision "medium" the transformed inputs and weights are rounded to bfloat16 (pairs.h).
//
// Gain: 1.2 to 1.8 times the speed of the direct sum.
//
// Source: Lavin and Gray, "Fast algorithms for convolutional neural networks" (CVPR 2016).
#pragma once
#include "kernels/conv2d/direct/direct.h"
#include "kernels/conv2d/winograd/transforms.h"

namespace ranvier {

// True if Winograd's algorithm applies, and takes less time than the direct sum; from the shapes alone.
bool winograd_pays(const Correlation<float>& problem);

// The distance of the 16 planes (one for each product), if they have this many elements: an odd number of
// cache lines, since addresses that are a multiple of many lines apart share few sets of a cache.
constexpr int64_t kWinogradLine = 64 / sizeof(float);
inline int64_t winograd_plane(int64_t elements) {
  return (ceil_div(elements, kWinogradLine) | 1) * kWinogradLine;
}

// Sets `pixel` to the addresses of the 4 x 4 pixels of x, which has this shape, from (row, column) of an
// image on; `zeros` for pixels outside the image. Prefetches the pixels that the tile below will be the first
// to read.
void winograd_pixels(const PixelRows<float>& x, const int64_t* shape, const float* zeros, int64_t image,
                     int64_t row, int64_t column, const float** pixel);

// The number of pairs of an output along one axis and a tap that meets the input for it.
int64_t winograd_used_taps(int64_t out, int64_t in, int64_t pad);

// The tiles of all images, in the order in which they are computed: sorted by which part of the tile is
// inside y, so that the tiles that need one of the 16 products are consecutive. A tile whose second column
// (row) is outside of y does not need the products with j = 3 (i = 3).
class WinogradTiles {
 public:
  struct Tile {
    int64_t image, row, column;  // the place of its first output
  };
  WinogradTiles(int64_t images, int64_t height, int64_t width);
  int64_t count() const { return first_[4]; }
  // The tiles that need product (i, j), which are consecutive in this order:
  //
  //   [0]  second column outside of y   needs no j = 3
  //   [1]  whole                        needs all
  //   [2]  second row outside           needs no i = 3
  //   [3]  both outside                 needs no j = 3 and no i = 3
  Range of_product(int i, int j) const {
    const int begin = j == 3 ? 1 : 0;
    int end = 4;
    if (j == 3) end = 3;
    if (i == 3) end = 2;
    return {first_[begin], first_[end]};
  }
  Tile operator[](int64_t index) const;

 private:
  int64_t height_, width_;
  int64_t first_[5];  // where each of these four classes of tiles begins, and the end
};

// The division of images into bands of output rows: each image has `count` bands of `height` rows, which
// begin `step` rows apart. whole: the tiles of a band must be in one block.
struct WinogradBands {
  int64_t count, step, height;
  bool whole;
};

struct WinogradBlock {  // tiles and panels that a thread works on at a time, and its scratch for them
  Range tiles, panels;
  float *v, *m;
};

// Takes the products of a block, transforms them to outputs, and stores these. `sums` describes the first
// tile of the block; the products of the next tile are Winograd::tile_step() elements further.
class WinogradSink {
 public:
  virtual void take(const OpenTeam& team, const WinogradBlock& block, WinogradSums sums) const = 0;
  // Memory that take() will read and write, `bytes` each, to be prefetched during the products.
  struct Ahead {
    const char *read, *written;
    int64_t bytes;
  };
  virtual Ahead ahead(const WinogradBlock&) const { return {nullptr, nullptr, 0}; }

 protected:
  ~WinogradSink() = default;
};

class Winograd {
 public:
  Winograd(const Correlation<float>& problem, Carver& carver, int threads)
      : Winograd(problem, {1, 0, problem.y.shape[2], false}, carver, threads) {}
  // For conv2d_pool. If `where` is given, the x of the problem is the gradient of a max-pool at the maxima of
  // windows of 2 x 2, each of which is a tile; `where` has the places of the maxima. The products are then
  // those of the patches of dx (pairs.h), and the first row of tiles of a band is the last one of the band
  // before.
  Winograd(const Correlation<float>& problem, const WinogradBands& bands, Carver& carver, int threads,
           const TensorView<const uint8_t>& where = {});
  int64_t packed_size() const { return kWinogradProducts * u_plane_; }
  void pack_weights(const OpenTeam& team) const;  // each thread of the team transforms its share
  void run(const Team& team) const;               // to the problem's y
  void run(const Team& team, const WinogradSink& sink) const;

  int64_t tile_step() const { return m_stride_; }
  int64_t tiles_of_block() const { return block_; }  // the most tiles of a block
  int64_t tiles_of_band() const { return unit_; }    // if bands are whole
  int64_t first_channel(const WinogradBlock& block) const { return panels_.first(block.panels.begin); }
  WinogradTiles::Tile tile(int64_t index) const { return tiles_[index]; }

 private:
  WinogradSums sums(const WinogradBlock& block) const;
  void prepare(const OpenTeam& team) const;
  void order(int64_t panel, int64_t channel, int64_t channels, float* ordered) const;
  void pack(const OpenTeam& team, int64_t panel, int64_t run, int64_t slot) const;
  int64_t across(int64_t threads) const;        // how many threads take the same tiles
  bool packs_late(const OpenTeam& team) const;  // true: each panel is packed just before its products
  void compute(const OpenTeam& team, const WinogradSink& sink) const;
  void inputs(const WinogradBlock& block) const;
  void gradients(const WinogradBlock& block) const;
  void products(const WinogradBlock& block, int64_t slot, WinogradSink::Ahead ahead) const;

  Correlation<float> p_;
  WinogradBands bands_;
  WinogradTiles tiles_;  // the tiles of all bands, as if bands were images
  int64_t unit_;         // how many consecutive tiles must stay in one block
  int64_t in_, out_;     // channels
  bool pairs_;           // elements of v_ and u_ are pairs of bfloat16, two channels each: see pairs.h
  int64_t steps_;        // the products of a sum, or pairs of products
  int64_t pad_[2];
  Panels<float> panels_;
  PixelRows<float> x_;
  PixelRows<uint8_t> where_;
  bool pooled_;
  int64_t block_, group_;                // the tiles of a block, the panels of a group
  int64_t v_stride_, m_stride_;          // from tile to tile, in elements
  int64_t u_plane_, v_plane_, m_plane_;  // from product to product
  float* u_;                             // [product][panel, or thread where it packs late][channel][width]
  float *v_, *m_;                        // for each thread [product][tile][channel]
  float* zeros_;                         // a pixel of the padding
  ConvSegment* segments_;                // the products of a sum
  float* spare_;                         // for each thread a pixel outside y
  float* ordered_;  // for each thread the weights of a run and panel, [tap][channel][width]
  float* wide_;     // with pairs_: the same transformed, [product][channel][width], before the rounding
  float* bias_;     // a copy of a bias that is strided
};

}  // namespace ranvier
