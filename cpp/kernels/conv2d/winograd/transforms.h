// The kernels that an ISA level has for Winograd's convolution (winograd.h): the three transforms, of input,
// output and weights. The micro-kernel of the direct sum computes the products. float32 only. A plane is the
// memory of one of the 16 products of all tiles; planes are `plane` elements apart.
#pragma once
#include "base/isa.h"
#include "base/tensor_view.h"

namespace ranvier {

constexpr int kWinogradProducts = 16;  // products of a tile: 2 x 2 outputs from 4 x 4 inputs

// Arguments of the transform of the input of a tile: v[4i + j][c] = (B^T d B)[i][j], where d[4i + j] =
// pixel[4i + j][c], for c < channels. Whole vectors of v are written.
struct WinogradInput {
  const float* pixel[kWinogradProducts];
  int64_t channels;
  float* v;
  int64_t plane;
};

// Arguments of the transform to the outputs of a tile: z[2i + j][k] = finish((A^T m A)[i][j] + bias[k]),
// where m[4i + j][k], k < channels, are the products, of which whole vectors are readable. finish: norm and
// ReLU as in ConvTile (direct/tile.h).
struct WinogradSums {
  const float* m;
  int64_t plane;
  int64_t channels;
  const float* bias;  // or null
  const float* norm;  // or null
  int64_t norm_step;
  bool relu;
};

// Arguments of the transform of weights: u[4i + j][e] = (G g G^T)[i][j], where g[r][s] = w[3r + s][e], for
// e < elements, which are whole vectors.
struct WinogradWeights {
  const float* w;
  int64_t elements;
  float* u;
  int64_t plane;
};

struct WinogradKernels {
  void (*input)(const WinogradInput&);
  void (*output)(const WinogradSums&, float* const* y);  // y[2i + j][k] = z[2i + j][k]
  void (*weights)(const WinogradWeights&);
};

RANVIER_TABLE(WinogradKernels, winograd_kernels)

}  // namespace ranvier
