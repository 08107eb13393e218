// The transforms of Winograd's F(2x2, 3x3), compiled once for each ISA level: additions only, on a vector of
// channels at a time.
//
//   B^T = [1  0 -1  0]    G = [ 1    0    0 ]    A^T = [1  1  1  0]
//         [0  1  1  0]        [1/2  1/2  1/2]          [0  1 -1 -1]
//         [0 -1  1  0]        [1/2 -1/2  1/2]
//         [0  1  0 -1]        [ 0    0    1 ]
#include "base/unroll.h"
#include "kernels/conv2d/winograd_tile.h"
#include "kernels/conv2d_pool/max.h"
#include "kernels/norm/channel_line.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

using V = vec<float>;
static constexpr int L = lanes<float>;

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
      pixel = rest_pixel, at = 0;
    }
    V d[4][4];  // B^T d
    RANVIER_UNROLL
    for (int j = 0; j < 4; ++j) {
      const V d0 = load(pixel[j] + at), d1 = load(pixel[4 + j] + at);
      const V d2 = load(pixel[8 + j] + at), d3 = load(pixel[12 + j] + at);
      d[0][j] = d0 - d2, d[1][j] = d1 + d2, d[2][j] = d2 - d1, d[3][j] = d1 - d3;
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

// A^T m A + bias, of one vector of channels.
RANVIER_INLINE void outputs(const float* m_, int64_t plane, V bias, V (&y)[2][2]) {
  V a[2][4];  // (A^T m)
  RANVIER_UNROLL
  for (int j = 0; j < 4; ++j) {
    const float* m = m_ + j * plane;
    const V m0 = load(m), m1 = load(m + 4 * plane), m2 = load(m + 8 * plane), m3 = load(m + 12 * plane);
    a[0][j] = (m0 + m1) + m2, a[1][j] = (m1 - m2) - m3;
  }
  RANVIER_UNROLL
  for (int i = 0; i < 2; ++i) {
    y[i][0] = (a[i][0] + a[i][1]) + a[i][2] + bias;
    y[i][1] = (a[i][1] - a[i][2]) - a[i][3] + bias;
  }
}

RANVIER_INLINE void normalize(V (&y)[2][2], const ChannelLine<float>& line) {
  RANVIER_UNROLL
  for (int at = 0; at < 4; ++at) y[at / 2][at % 2] = normalized(y[at / 2][at % 2], line);
}

static void output(const WinogradOutput& p) {
  const V floor = floor_of(p.relu);
  for (int64_t k = 0; k < p.channels; k += L) {
    const int n = static_cast<int>(p.channels - k < L ? p.channels - k : L);
    V y[2][2];
    outputs(p.m + k, p.plane, p.bias ? load_n(p.bias + k, n) : V{}, y);
    if (p.norm) normalize(y, channel_line(p.norm + k, p.norm_step, n));
    for (int i = 0; i < 2; ++i) {
      const V y0 = max(y[i][0], floor), y1 = max(y[i][1], floor);
      if (n == L) {
        store(p.y[2 * i] + k, y0), store(p.y[2 * i + 1] + k, y1);
      } else {
        store_n(p.y[2 * i] + k, y0, n), store_n(p.y[2 * i + 1] + k, y1, n);
      }
    }
  }
}

static void pooled_output(const WinogradPooledOutput& p) {
  const V floor = floor_of(p.relu);
  for (int64_t k = 0; k < p.channels; k += L) {
    const int n = static_cast<int>(p.channels - k < L ? p.channels - k : L);
    V y[2][2];
    outputs(p.m + k, p.plane, p.bias ? load_n(p.bias + k, n) : V{}, y);
    if (p.norm) normalize(y, channel_line(p.norm + k, p.norm_step, n));
    WindowMax m{y[0][0], {}};
    RANVIER_UNROLL
    for (int at = 1; at < 4; ++at) meet(m, y[at / 2][at % 2], at);
    store_max(max(m.best, floor), narrow_to_bytes(m.offset), n, p.y + k, p.where ? p.where + k : nullptr);
  }
}

// One row of G g, or of (G g) G^T.
RANVIER_INLINE void transform(const V (&g)[3], V (&u)[4]) {
  const V even = (g[0] + g[2]) * 0.5f, odd = g[1] * 0.5f;
  u[0] = g[0], u[1] = even + odd, u[2] = even - odd, u[3] = g[2];
}

static void weights(const WinogradWeights& p) {
  const int64_t elements = p.elements, plane = p.plane;
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

extern const WinogradKernels winograd_kernels = {input, output, pooled_output, weights};

}  // namespace ranvier::RANVIER_ISA
