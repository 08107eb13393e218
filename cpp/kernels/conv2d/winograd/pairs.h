// Winograd's transforms (transforms.h) for products of bfloat16, which conv_pair_tile (direct/tile.h)
// computes. An element of v, the transformed input, has the size of a float32 and holds a pair of bfloat16:
// two neighbouring channels of one tile, or the same channel of two tiles.
//
// Two gradients are computed with such pairs only, so the transforms of their sums are here, too. In the
// notation of winograd.h:
//
//   weights                 dw = G^T [ sum over tiles of (B^T d B) * (A dy A^T) ] G
//   input, of pooled tiles  dx = sum over tiles of B [ sum over outputs of (G g G^T) * (A dy A^T) ] B^T
//
// In dx each tile adds a patch of 4 x 4 pixels, and neighbouring patches overlap by two pixels.
//
// A tile is pooled if its 2 x 2 outputs are one window of a max-pool (conv2d_pool). dy is then one number for
// each channel, and `where` the output 2 i + j that was the maximum, to which dy belongs; above 3: dy is not
// used.
#pragma once
#include "kernels/conv2d/winograd/transforms.h"

namespace ranvier {

// v[4i + j] = (A dy A^T)[i][j]: of one tile, with pairs of channels, or of two tiles, with pairs of tiles.
// Whole vectors of v are written. bias, for two tiles only: the sum of dy over both is added to bias[c].
struct WinogradGradient {
  const float* dy[2][4];    // [tile][output 2i + j]; of pooled tiles [tile][0]
  const uint8_t* where[2];  // [tile], of pooled tiles
  int64_t channels;
  float* v;
  int64_t plane;  // the distance from one product's v to the next's
  float* bias;    // or null
};

// w[3r + s][e] = (G^T m G)[r][s] with m[4i + j][e], for e < elements, which are whole vectors.
struct WinogradWeightSums {
  const float* m;
  int64_t plane, elements;  // plane: the distance from one product's m to the next's
  float* w;
  int64_t tap;  // the distance from one tap's w to the next's
};

// The two rows of dx where the patches of a row of tiles overlap those of the row of tiles above: `here` and
// `above` are the sums m of these two, each of (tiles, channels). The first patch begins at `column`, which
// may be negative; the columns [0, width) of dx are written. If saved is given, dx is 0 where saved <= 0 (as
// in Conv2dPoolBackwardInput).
constexpr int kMostPatchChannels = 128;  // the most channels of a call
struct WinogradPatches {
  struct Sums {
    const float* m;
    int64_t plane;  // from a product to the next; 0 if all sums are 0
    int64_t step;   // from a tile to the next; 0 if all sums are 0
  };
  Sums here, above;
  int64_t tiles, channels;
  int64_t column, width;
  float* dx[2];           // null where the row is outside
  const float* saved[2];  // or null
  int64_t dx_step, saved_step;
};

#if RANVIER_HAS_v4
namespace v4 {
// WinogradKernels::input with pairs of neighbouring channels; their number is even.
void winograd_pairs(const WinogradInput& p);
// The same with pairs of tiles: channel c of the pixels p.pixel, and of the pixels `other`.
void winograd_tiles(const WinogradInput& p, const float* const* other);
void winograd_gradient_tiles(const WinogradGradient& p);
// Of pooled tiles; `tiles`: with pairs of tiles, else of channels.
void winograd_pooled(const WinogradGradient& p, bool tiles);
void winograd_weight_sums(const WinogradWeightSums& p);
void winograd_patches(const WinogradPatches& p);
}  // namespace v4
using v4::winograd_gradient_tiles, v4::winograd_pairs, v4::winograd_patches, v4::winograd_pooled,
    v4::winograd_tiles, v4::winograd_weight_sums;
#else  // without level v4 these are never called
static inline void winograd_pairs(const WinogradInput&) {}
static inline void winograd_tiles(const WinogradInput&, const float* const*) {}
static inline void winograd_gradient_tiles(const WinogradGradient&) {}
static inline void winograd_pooled(const WinogradGradient&, bool) {}
static inline void winograd_weight_sums(const WinogradWeightSums&) {}
static inline void winograd_patches(const WinogradPatches&) {}
#endif

}  // namespace ranvier
