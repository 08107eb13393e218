// Winograd's transforms to pairs of bfloat16, which conv_pair_tile of direct/tile.h multiplies, and those of
// the sums of gradients that are computed in such pairs alone.
//
//   dw = G^T [ sum over tiles of (B^T d B) * (A dy A^T) ] G          (as winograd.h has them)
//
//   dx = the sum over tiles of B [ sum over outputs of (G g G^T) * (A dy A^T) ] B^T, a patch of 4 x 4 pixels
//
// `where`: dy is the gradient of a pooled tile, and belongs to the pixel 2 i + j that it names; above 3, to
// none.
#pragma once
#include "kernels/conv2d/winograd/transforms.h"

namespace ranvier {

// v[4i + j] = (A dy A^T)[i][j] of one tile, two channels an element, or of two tiles, an element of each.
// Whole vectors of v are written; bias[c], or null, gets the sum of dy.
struct WinogradGradient {
  const float* dy[2][4];  // [tile][pixel 2i + j] of dense ones, [tile][0] of pooled ones
  const uint8_t* where[2];
  int64_t channels;
  float* v;
  int64_t plane;  // the distance from one product's v to the next's
  float* bias;
};

// w[(3r + s) * tap + e] = (G^T m G)[r][s], m[4i + j][e], e < elements, whole vectors.
struct WinogradWeightSums {
  const float* m;
  int64_t plane, elements;
  float* w;
  int64_t tap;
};

// Two rows of dx, from the sums m of a row of tiles and of the row above it, each of (tiles, channels). Their
// first column is `column`, and those of [0, width) are written; saved, or null, masks them as in
// Conv2dPoolBackwardInput.
constexpr int kMostPatchChannels = 128;
struct WinogradPatches {
  struct Sums {
    const float* m;
    int64_t plane, step;  // both 0 where all are zero
  };
  Sums here, above;
  int64_t tiles, channels;
  int64_t column, width;
  float* dx[2];  // null where the row is outside
  const float* saved[2];
  int64_t dx_step, saved_step;
};

#if RANVIER_HAS_V4
namespace v4 {
// As WinogradKernels::input, of an even number of channels, of which two are one element of v.
void winograd_pairs(const WinogradInput& p);
// The same of two tiles, whose pixels c are one element of v.
void winograd_tiles(const WinogradInput& p, const float* const* other);
void winograd_gradient_tiles(const WinogradGradient& p);
void winograd_pooled(const WinogradGradient& p, bool tiles);
void winograd_weight_sums(const WinogradWeightSums& p);
void winograd_patches(const WinogradPatches& p);
}  // namespace v4
using v4::winograd_gradient_tiles, v4::winograd_pairs, v4::winograd_patches, v4::winograd_pooled,
    v4::winograd_tiles, v4::winograd_weight_sums;
#else  // not called
static inline void winograd_pairs(const WinogradInput&) {}
static inline void winograd_tiles(const WinogradInput&, const float* const*) {}
static inline void winograd_gradient_tiles(const WinogradGradient&) {}
static inline void winograd_pooled(const WinogradGradient&, bool) {}
static inline void winograd_weight_sums(const WinogradWeightSums&) {}
static inline void winograd_patches(const WinogradPatches&) {}
#endif

}  // namespace ranvier
