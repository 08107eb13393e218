// The transforms of Winograd's F(2x2, 3x3), compiled once for each ISA level. They consist of additions, and
// products with 1/2 for weights; lanes are channels. The matrices:
//
//   B^T = [1  0 -1  0]    G = [ 1    0    0 ]    A^T = [1  1  1  0]
//         [0  1  1  0]        [1/2  1/2  1/2]          [0  1 -1 -1]
//         [0 -1  1  0]        [1/2 -1/2  1/2]
//         [0  1  0 -1]        [ 0    0    1 ]
#include "kernels/conv2d/winograd/output.h"

namespace ranvier::RANVIER_ISA {

using V = vec<float>;
static constexpr int L = lanes<float>;

// WinogradKernels::input: see WinogradInput; first the columns (B^T d), then the rows.
static void input(const WinogradInput& p) {
  const int64_t plane = p.plane;
  alignas(64) float rest[kWinogradProducts][L];
  const float* rest_pixel[kWinogradProducts];
  const float* const* pixel = p.pixel;
  for (int64_t c = 0; c < p.channels; c += L) {
    int64_t at = c;
    if (p.channels - c < L) {  // no vector is read past the last channel
      for (int i = 0; i < kWinogradProducts; ++i) {
        store(rest[i], load_n(pixel[i] + c, static_cast<int>(p.channels - c)));
        rest_pixel[i] = rest[i];
      }
      pixel = rest_pixel;
      at = 0;
    }
    V d[4][4];  // B^T d
    RANVIER_UNROLL
    for (int j = 0; j < 4; ++j) {
      const V d0 = load(pixel[j] + at);
      const V d1 = load(pixel[4 + j] + at);
      const V d2 = load(pixel[8 + j] + at);
      const V d3 = load(pixel[12 + j] + at);
      d[0][j] = d0 - d2;
      d[1][j] = d1 + d2;
      d[2][j] = d2 - d1;
      d[3][j] = d1 - d3;
    }
    float* v = p.v + c;
    RANVIER_UNROLL
    for (int i = 0; i < 4; ++i, v += 4 * plane) {
      store(v, d[i][0] - d[i][2]);
      store(v + plane, d[i][1] + d[i][2]);
      store(v + 2 * plane, d[i][2] - d[i][1]);
      store(v + 3 * plane, d[i][1] - d[i][3]);
    }
  }
}

// WinogradKernels::output: see WinogradSums.
static void output(const WinogradSums& p, float* const* to) {
  const V floor = floor_of(p.relu);
  for (int64_t k = 0; k < p.channels; k += L) {
    const int n = static_cast<int>(p.channels - k < L ? p.channels - k : L);
    V y[2][2];
    winograd_outputs(p, k, n, y);
    for (int i = 0; i < 2; ++i) {
      const V y0 = max(y[i][0], floor);
      const V y1 = max(y[i][1], floor);
      if (n == L) {
        store(to[2 * i] + k, y0);
        store(to[2 * i + 1] + k, y1);
      } else {
        store_n(to[2 * i] + k, y0, n);
        store_n(to[2 * i + 1] + k, y1, n);
      }
    }
  }
}

// u = G g for one column g, or one row of (G g) G^T.
RANVIER_INLINE void transform(const V (&g)[3], V (&u)[4]) {
  const V even = (g[0] + g[2]) * 0.5f;
  const V odd = g[1] * 0.5f;
  u[0] = g[0];
  u[1] = even + odd;
  u[2] = even - odd;
  u[3] = g[2];
}

// WinogradKernels::weights: see WinogradWeights; first the columns of g, then the rows of the result.
static void weights(const WinogradWeights& p) {
  const int64_t elements = p.elements;
  const int64_t plane = p.plane;
  for (int64_t e = 0; e < elements; e += L) {
    V rows[4][3];
    RANVIER_UNROLL
    for (int s = 0; s < 3; ++s) {
      const float* w = p.w + s * elements + e;
      const V g[3] = {load(w), load(w + 3 * elements), load(w + 6 * elements)};
      V u[4];
      transform(g, u);
      RANVIER_UNROLL
      for (int i = 0; i < 4; ++i) rows[i][s] = u[i];
    }
    RANVIER_UNROLL
    for (int i = 0; i < 4; ++i) {
      V u[4];
      transform(rows[i], u);
      RANVIER_UNROLL
      for (int j = 0; j < 4; ++j) store(p.u + (4 * i + j) * plane + e, u[j]);
    }
  }
}

extern const WinogradKernels winograd_kernels_float = {input, output, weights};

}  // namespace ranvier::RANVIER_ISA
