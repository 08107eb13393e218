// Winograd's transforms for products of bfloat16: see pairs.h for the functions and winograd.h for the
// formula. This file is compiled for level v4 alone.
//
// An element of v has the size of a float32 and holds a pair of bfloat16: two neighbouring channels of one
// tile, or, where a parameter `tiles` is true, the same channel of two tiles.
#if __AVX512BF16__
#include "kernels/conv2d/winograd/pairs.h"

#include "base/unroll.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

using V = vec<float>;
static constexpr int L = lanes<float>;

// The lanes of two vectors rounded to bfloat16: first all of `low`, then all of `high`.
RANVIER_INLINE __m512i rounded(V low, V high) {
  return (__m512i)_mm512_cvtne2ps_pbh(__m512(high), __m512(low));
}

// The order in which the lanes of two vectors become pairs. interleaved: a pair is a lane of each vector;
// else two neighbours of one vector.
struct Order {
  int16_t at[2 * L];
};
static constexpr Order order_of(bool interleaved) {
  Order o{};
  for (int i = 0; i < 2 * L; ++i) {
    const int source = interleaved ? i / 2 + i % 2 * L : i;
    o.at[i] = static_cast<int16_t>(source);
  }
  return o;
}
alignas(64) static constexpr Order kOrders[2] = {order_of(false), order_of(true)};

RANVIER_INLINE __m512i ordered(__m512i both, bool interleaved) {
  return _mm512_permutexvar_epi16(_mm512_load_si512(kOrders[interleaved].at), both);
}

// How many lanes of a vector are in use if `left` numbers are left, which may be negative: 0 to L.
static int within(int64_t left) { return left < 0 ? 0 : lanes_used<float>(left); }

// The transform B^T d B of the input, for L elements of v at a time. Their pairs come from two vectors, `low`
// and `high`: channels [c, c + L) and [c + L, c + 2 L) of one tile; where `tiles`, channels [c, c + L) of the
// tile p.pixel and of the tile `other`.
static void input(const WinogradInput& p, const float* const* other, bool tiles) {
  const int step = tiles ? L : 2 * L;  // channels of a vector of pairs
  const int apart = step - L;          // from the first channel of `low` to that of `high`
  float* to = p.v;
  for (int64_t c = 0; c < p.channels; c += step, to += L) {
    const int low = within(p.channels - c);
    const int high = within(p.channels - c - apart);
    // Row i of B^T d B: row i of B^T d is row `one` of d plus (`adds`) or minus row `two`.
    const auto outputs = [&](int i, int one, int two, bool adds) RANVIER_INLINED {
      V d[2][4];
      RANVIER_UNROLL
      for (int j = 0; j < 4; ++j) {
        const int a = 4 * one + j;
        const int b = 4 * two + j;
        const V x[2] = {load_n(p.pixel[a] + c, low), load_n(other[a] + c + apart, high)};
        const V y[2] = {load_n(p.pixel[b] + c, low), load_n(other[b] + c + apart, high)};
        RANVIER_UNROLL
        for (int h = 0; h < 2; ++h) d[h][j] = adds ? x[h] + y[h] : x[h] - y[h];
      }
      const auto put = [&](int j, V first, V second) RANVIER_INLINED {
        store(to + (4 * i + j) * p.plane, (V)ordered(rounded(first, second), tiles));
      };
      put(0, d[0][0] - d[0][2], d[1][0] - d[1][2]);
      put(1, d[0][1] + d[0][2], d[1][1] + d[1][2]);
      put(2, d[0][2] - d[0][1], d[1][2] - d[1][1]);
      put(3, d[0][1] - d[0][3], d[1][1] - d[1][3]);
    };
    outputs(0, 0, 2, /*adds=*/false);
    outputs(1, 1, 2, /*adds=*/true);
    outputs(2, 2, 1, /*adds=*/false);
    outputs(3, 1, 3, /*adds=*/false);
  }
}

extern void winograd_pairs(const WinogradInput& p) { input(p, p.pixel, /*tiles=*/false); }
extern void winograd_tiles(const WinogradInput& p, const float* const* other) {
  input(p, other, /*tiles=*/true);
}

// A dy A^T of two tiles: first A dy (`rows`), then each row is multiplied by A^T, rounded and stored. The
// bias gets the sum of all dy of both tiles.
extern void winograd_gradient_tiles(const WinogradGradient& p) {
  for (int64_t c = 0; c < p.channels; c += L) {
    const int n = within(p.channels - c);
    V rows[2][4][2];  // A dy of a tile
    RANVIER_UNROLL
    for (int tile = 0; tile < 2; ++tile) {
      RANVIER_UNROLL
      for (int j = 0; j < 2; ++j) {
        const V y0 = load_n(p.dy[tile][j] + c, n);
        const V y1 = load_n(p.dy[tile][2 + j] + c, n);
        V(&row)[4][2] = rows[tile];
        row[0][j] = y0;
        row[1][j] = y0 + y1;
        row[2][j] = y0 - y1;
        row[3][j] = -y1;
      }
    }
    const V(&a)[4][2] = rows[0], (&b)[4][2] = rows[1];
    float* to = p.v + c;
    const auto put = [&](V first, V second) RANVIER_INLINED {
      store(to, (V)ordered(rounded(first, second), /*interleaved=*/true));
      to += p.plane;
    };
    RANVIER_NO_UNROLL
    for (int i = 0; i < 4; ++i) {
      put(a[i][0], b[i][0]);
      put(a[i][0] + a[i][1], b[i][0] + b[i][1]);
      put(a[i][0] - a[i][1], b[i][0] - b[i][1]);
      put(-a[i][1], -b[i][1]);
    }
    if (p.bias) store(p.bias + c, load(p.bias + c) + ((a[1][0] + a[1][1]) + (b[1][0] + b[1][1])));
  }
}

// A dy A^T of pooled tiles: in a tile at most one pixel of dy is not 0, the one that a max-pool of 2 x 2 has
// taken. So all entries of the result are this gradient, its negative, or 0: it is rounded once and then
// copied.
extern void winograd_pooled(const WinogradGradient& p, bool tiles) {
  const __m512i sign = _mm512_set1_epi16(INT16_MIN);
  const int step = tiles ? L : 2 * L;
  const int apart = step - L;
  float* to = p.v;
  for (int64_t c = 0; c < p.channels; c += step, to += L) {
    const int low = within(p.channels - c);
    const int high = within(p.channels - c - apart);
    const V a = load_n(p.dy[0][0] + c, low);
    const V b = load_n(p.dy[tiles][0] + c + apart, high);
    if (p.bias) store(p.bias + c, load(p.bias + c) + (a + b));
    const auto offsets = [&](const uint8_t* from, int n) RANVIER_INLINED {
      const auto first_n = static_cast<__mmask16>((1 << n) - 1);
      return _mm_maskz_loadu_epi8(first_n, from);
    };
    const __m512i value = ordered(rounded(a, b), tiles);
    // The places of the maxima, 2 i + j, in the same order as the gradients `value`.
    const __m256i where_low = _mm256_castsi128_si256(offsets(p.where[0] + c, low));
    const __m256i bytes = _mm256_inserti128_si256(where_low, offsets(p.where[tiles] + c + apart, high), 1);
    const __m512i where = ordered(_mm512_cvtepu8_epi16(bytes), tiles);
    const __mmask32 below = _mm512_test_epi16_mask(where, _mm512_set1_epi16(2));
    const __mmask32 right = _mm512_test_epi16_mask(where, _mm512_set1_epi16(1));
    const __mmask32 inside = _mm512_testn_epi16_mask(where, _mm512_set1_epi16(0xfc));
    // y = x times the column of A for the first pixel, or where is_second for the second pixel.
    const auto spread = [&](__m512i x, __mmask32 is_second, __m512i(&y)[4]) RANVIER_INLINED {
      const __m512i negative = _mm512_xor_si512(x, sign);
      y[0] = _mm512_maskz_mov_epi16(~is_second, x);
      y[1] = x;
      y[2] = _mm512_mask_mov_epi16(x, is_second, negative);
      y[3] = _mm512_maskz_mov_epi16(is_second, negative);
    };
    __m512i rows[4];
    spread(_mm512_maskz_mov_epi16(inside, value), below, rows);
    float* row_to = to;
    RANVIER_NO_UNROLL
    for (const __m512i& row : rows) {
      __m512i y[4];
      spread(row, right, y);
      RANVIER_UNROLL
      for (int j = 0; j < 4; ++j, row_to += p.plane) store(row_to, (V)y[j]);
    }
  }
}

// G^T m G: dw of 3 x 3 taps from the sums m of 4 x 4 products; first G^T m (rows[r][j]), then times G.
extern void winograd_weight_sums(const WinogradWeightSums& p) {
  const auto transform = [](const V(&m)[4], V(&w)[3]) RANVIER_INLINED {
    const V even = (m[1] + m[2]) * 0.5f;
    w[0] = m[0] + even;
    w[1] = (m[1] - m[2]) * 0.5f;
    w[2] = even + m[3];
  };
  for (int64_t e = 0; e < p.elements; e += L) {
    V rows[3][4];
    RANVIER_NO_UNROLL
    for (int j = 0; j < 4; ++j) {
      const float* from = p.m + e + j * p.plane;
      const V m[4] = {load(from), load(from + 4 * p.plane), load(from + 8 * p.plane),
                      load(from + 12 * p.plane)};
      V w[3];
      transform(m, w);
      RANVIER_UNROLL
      for (int r = 0; r < 3; ++r) rows[r][j] = w[r];
    }
    RANVIER_NO_UNROLL
    for (int r = 0; r < 3; ++r) {
      V w[3];
      transform(rows[r], w);
      RANVIER_UNROLL
      for (int s = 0; s < 3; ++s) store(p.w + (3 * r + s) * p.tap + e, w[s]);
    }
  }
}

// Stores a vector of channels from c on of the columns `column` and `column` + 1 of row r of dx, as far as
// these columns are inside.
static void put_columns(const WinogradPatches& p, int r, int64_t column, int64_t c, const V (&y)[2]) {
  const int n = within(p.channels - c);
  RANVIER_NO_UNROLL
  for (int j = 0; j < 2; ++j) {
    const int64_t at = column + j;
    if (at < 0 || at >= p.width) continue;
    float* dx = p.dx[r] + at * p.dx_step + c;
    V v = y[j];
    if (p.saved[r]) v = select(load_n(p.saved[r] + at * p.saved_step + c, n) <= V{}, V{}, v);
    store_n(dx, v, n);
  }
}

static constexpr float kZeros[L] = {};
static constexpr WinogradPatches::Sums kNone{kZeros, 0, 0};

// Each tile adds a patch of 4 x 4 pixels, B m B^T, to dx, and patches overlap by two: a pixel belongs to up
// to four tiles, two rows of tiles by two columns. Here are the two rows of pixels that a row of tiles
// (`here`, the first two rows of their patches) shares with the row above (`above`, the last two rows of
// theirs):
//
//   B = [ 1  0  0  0]     rows[0] = row 0 of B m here  + row 2 of B m above = m0 + (a1 + a2 - a0)
//       [ 0  1 -1  1]     rows[1] = row 1 of B m here  + row 3 of B m above = (m1 - m2 + m3) - a3
//       [-1  1  1  0]
//       [ 0  0  0 -1]     and the same for the columns, with the tile to the left in place of that above
//
// Tiles are visited from left to right; before[c / L][r] is what the last tile gives to row r of the next two
// columns.
extern void winograd_patches(const WinogradPatches& p) {
  V before[kMostPatchChannels / L][2][2] = {};
  int64_t column = p.column;
  for (int64_t tile = 0; column < p.width; ++tile, column += 2)
    for (int64_t c = 0; c < p.channels; c += L) {
      V rows[2][4];
      const bool exists = tile < p.tiles;
      const auto& here = exists ? p.here : kNone;
      const auto& over = exists ? p.above : kNone;
      const int64_t channel = exists ? c : 0;
      const float* m = here.m + tile * here.step + channel;
      const float* a = over.m + tile * over.step + channel;
      const int64_t m_row = 4 * here.plane;
      const int64_t a_row = 4 * over.plane;
      RANVIER_UNROLL
      for (int j = 0; j < 4; ++j, m += here.plane, a += over.plane) {
        rows[0][j] = load(m) + ((load(a + a_row) + load(a + 2 * a_row)) - load(a));
        rows[1][j] = ((load(m + m_row) - load(m + 2 * m_row)) + load(m + 3 * m_row)) - load(a + 3 * a_row);
      }
      RANVIER_NO_UNROLL
      for (int r = 0; r < 2; ++r) {
        const V(&x)[4] = rows[r];
        V(&left)[2] = before[c / L][r];
        const V y[2] = {x[0] + left[0], ((x[1] - x[2]) + x[3]) - left[1]};
        left[0] = (x[1] + x[2]) - x[0];
        left[1] = x[3];
        if (p.dx[r]) put_columns(p, r, column, c, y);
      }
    }
}

}  // namespace ranvier::RANVIER_ISA
#endif
