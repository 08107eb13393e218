// Winograd's minimal filtering F(2x2, 3x3): a tile of 2 x 2 outputs from 4 x 4 inputs with 16 products for
// each pair of channels, where the direct sum has 36. Forward and the gradient to the input.
//
//   y = A^T [ sum over c of (G g_c G^T) * (B^T d_c B) ] A        (* element by element; see
//   transforms.isa.cpp)
//
// The sums over channels are 16 matrix products: tiles x channels by channels x outputs.
//
// Chosen: float32, 3x3 taps, stride 1, no dilation, no groups, more than 4 outputs, where a cost model that
// is fitted to measured shapes expects a gain (winograd_pays): from some 32 channels on; but for at most 8
// outputs of images for which planes take less.
//
// Memory: weights of 16/9 their size, and for each thread the transformed inputs and products of a block of
// tiles, half of L2.
//
// With factors of bfloat16 (medium/) the transformed inputs and weights are rounded, the inputs in registers.
//
// Earns: 1.2 to 1.8 times the speed of the direct sum.
//
// Source: Lavin and Gray, "Fast algorithms for convolutional neural networks" (CVPR 2016).
#pragma once
#include "kernels/conv2d/direct/direct.h"
#include "kernels/conv2d/winograd/transforms.h"

namespace ranvier {

// True if Winograd's algorithm applies, and takes less time than the direct sum; from the shapes alone.
bool winograd_pays(const Correlation<float>& problem);

// Addresses a multiple of many cache lines apart share few sets of a cache. So the 16 planes, of this many
// elements, are an odd number of lines apart.
constexpr int64_t kWinogradLine = 64 / sizeof(float);
inline int64_t winograd_plane(int64_t elements) {
  return (ceil_div(elements, kWinogradLine) | 1) * kWinogradLine;
}

// The 4 x 4 pixels from (row, column) on of an image of x, which has this shape; `zeros` where there is none.
// Prefetches what the tile below will be the first to read.
void winograd_pixels(const PixelRows<float>& x, const int64_t* shape, const float* zeros, int64_t image,
                     int64_t row, int64_t column, const float** pixel);

// Pairs of an output along one axis and a tap that is inside the input.
int64_t winograd_used_taps(int64_t out, int64_t in, int64_t pad);

// The tiles of all images in the order of the work: by the part of the tile that is inside y, so that the
// tiles that need one of the 16 products are neighbours. A tile whose second column (row) is outside needs
// none of the products with j = 3 (i = 3).
class WinogradTiles {
 public:
  struct Tile {
    int64_t image, row, column;  // the place of its first output
  };
  WinogradTiles(int64_t images, int64_t height, int64_t width);
  int64_t count() const { return first_[4]; }
  Range of_product(int i, int j) const { return {first_[j == 3], first_[i < 3 ? (j < 3 ? 4 : 3) : 2]}; }
  Tile operator[](int64_t index) const;

 private:
  int64_t height_, width_;
  int64_t first_[5];  // cut at the right; whole; cut below; cut at both; end
};

// The division of images into bands of rows: `count` of each image, `height` rows from `step` to `step`; and
// whether a band's tiles have to be in one block.
struct WinogradBands {
  int64_t count, step, height;
  bool whole;
};

struct WinogradBlock {  // tiles and panels that a thread works on at a time, and its scratch for them
  Range tiles, panels;
  float *v, *m;
};

// Takes the products of a block: transforms them to outputs, and stores those. `sums` is of the block's first
// tile; the next tile's are Winograd::tile_step() elements further.
class WinogradSink {
 public:
  virtual void take(const OpenTeam& team, const WinogradBlock& block, WinogradSums sums) const = 0;
  // Memory that take() will read, and write to, which the products prefetch: this many bytes.
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
  // where: of a gradient at the maxima of windows of 2 x 2, the problem's x, each of which makes a tile. The
  // sums are then those of the patches of its dx, see pairs.h; the bands' first rows are the last of the
  // bands before them.
  Winograd(const Correlation<float>& problem, const WinogradBands& bands, Carver& carver, int threads,
           const TensorView<const uint8_t>& where = {});
  int64_t packed_size() const { return kWinogradProducts * u_plane_; }
  void pack_weights(const OpenTeam& team) const;  // each thread of the team transforms its share
  void run(const Team& team) const;               // to the problem's y
  void run(const Team& team, const WinogradSink& sink) const;

  int64_t tile_step() const { return m_stride_; }
  int64_t tiles_of_block() const { return block_; }  // at most
  int64_t tiles_of_band() const { return unit_; }    // where bands are whole
  int64_t first_channel(const WinogradBlock& block) const { return panels_.first(block.panels.begin); }
  WinogradTiles::Tile tile(int64_t index) const { return tiles_[index]; }

 private:
  WinogradSums sums(const WinogradBlock& block) const;
  void prepare(const OpenTeam& team) const;
  void order(int64_t panel, int64_t channel, int64_t channels, float* ordered) const;
  void pack(const OpenTeam& team, int64_t panel, int64_t run, int64_t slot) const;
  int64_t across(int64_t threads) const;        // threads with the same tiles
  bool packs_late(const OpenTeam& team) const;  // each panel just before its products, into L2
  void compute(const OpenTeam& team, const WinogradSink& sink) const;
  void inputs(const WinogradBlock& block) const;
  void gradients(const WinogradBlock& block) const;
  void products(const WinogradBlock& block, int64_t slot, WinogradSink::Ahead ahead) const;

  Correlation<float> p_;
  WinogradBands bands_;
  WinogradTiles tiles_;  // the tiles of bands, as if these were images
  int64_t unit_;         // tiles that stay in one block
  int64_t in_, out_;     // channels
  bool pairs_;           // pairs of bfloat16, see medium/: two channels of v_ and u_ are one element
  int64_t steps_;        // products of a sum, or pairs of them
  int64_t pad_[2];
  Panels<float> panels_;
  PixelRows<float> x_;
  PixelRows<uint8_t> where_;
  bool pooled_;
  int64_t block_, group_;        // tiles, panels
  int64_t v_stride_, m_stride_;  // the distances from tile to tile
  int64_t u_plane_, v_plane_, m_plane_;
  float* u_;        // [product][panel, or thread where it packs late][channel][width]
  float *v_, *m_;   // for each thread [product][tile][channel]
  float* zeros_;    // a pixel of the padding
  float* spare_;    // for each thread a pixel outside y
  float* ordered_;  // for each thread weights of a few channels, [tap][channel][width]
  float* wide_;     // where in pairs: of the same, [product][channel][width]
  float* bias_;     // where the caller's is strided
};

}  // namespace ranvier
