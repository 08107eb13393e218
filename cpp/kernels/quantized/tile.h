// The kernels of an ISA level (QuantizedKernel in quantized.h): quantize() makes integers of a row of x, and
// tile() multiplies some rows by some panels of the weight. Both are templates over Products, one of the ways
// to multiply bytes of simd/byte_products.h: quantized.isa.cpp compiles them for each level, vnni.isa.cpp
// with AVX512_VNNI, and amx.isa.cpp uses quantize() and FloatSums. quantized.cpp calls the kernels.
//
// quantized.h draws the panels. A line of 64 bytes has 16 columns of y by 4 neighbours along k (a quad). For
// each group along k (32, or kPiece for int8) the sums of integers are exact; a group's sum then becomes
// float32 and is scaled and added in the order of k. So no bit depends on the number of rows or panels of a
// tile.
#pragma once
#include "base/unroll.h"
#include "kernels/quantized/quantized.h"
#include "simd/byte_products.h"
#include "simd/bytes.h"
#include "simd/halves.h"
#include "simd/strided.h"
#include "simd/transpose.h"

namespace ranvier::RANVIER_ISA {

constexpr int kL = lanes<float>;
constexpr int kVectors = kColumnVectors;     // vectors of float32 for the 16 columns of a panel
constexpr int64_t kScaleBytes = 2 * kPanel;  // the float16 scales of a panel's group, before its codes
// Bytes ahead of the reading of one panel. The processor's own prefetchers stop at the end of a page.
constexpr int64_t kAhead = 4096;

// Fetches what is read soon: of one panel a later line, into L1, of several the same line of those that
// follow, into L2. Without that, panels read side by side come at half of the memory's speed.
template <int panels>
RANVIER_INLINE void fetch_ahead(const uint8_t* line, int64_t panel_bytes) {
  if constexpr (panels == 1) return __builtin_prefetch(line + kAhead);
  RANVIER_UNROLL
  for (int p = panels; p < 2 * panels; ++p) __builtin_prefetch(line + p * panel_bytes, 0, 2);
}

// The n numbers at x, or kL; zeros in other lanes.
RANVIER_INLINE vec<float> load_up_to(const float* x, int64_t n) {
  return n < kL ? load_lanes(x, int(n)) : load(x);
}

// Of sizes |x| as integers: they are in the same order, then infinity, then NaN.
RANVIER_INLINE ivec<float> greater(ivec<float> a, ivec<float> b) { return select(a > b, a, b); }
RANVIER_INLINE ivec<float> greater_size(ivec<float> most, vec<float> x) {
  return greater(bits(abs(x)), most);
}

// Whether numbers whose greatest is this are computed in float32: see quantized.h.
RANVIER_INLINE bool is_unfit(vec<float> most) {
  return any((most != 0.0f) & ~((most > 0x1p-110f) & (most < __builtin_inff())));
}
RANVIER_INLINE vec<float> inverse_of(vec<float> most) {
  return select(most > 0.0f, 127.0f / most, vec<float>{});
}

// Stores kL integers, and returns them.
template <class Integer>
RANVIER_INLINE ivec<float> store_integers(Integer* q, vec<float> x) {
  const ivec<float> whole = to_int(round_even(x));
  if constexpr (sizeof(Integer) == 1) {
    const auto bytes = narrow_to_bytes(whole);
    __builtin_memcpy(q, &bytes, sizeof bytes);
  } else {
    store_bits16(q, whole);
  }
  return whole;
}

// A row with one scale, whose sums are of pieces.
template <class Integer>
static bool quantize_row(const QuantizedLine& line) {
  constexpr int kChains = 4;  // separate maxima, which hide the latency of comparisons
  ivec<float> maxima[kChains] = {};
  for (int64_t begin = 0; begin < line.k; begin += kChains * kL)
    for (int i = 0; i < kChains; ++i) {
      const int64_t l = begin + i * kL;
      if (l >= line.k) break;
      maxima[i] = greater_size(maxima[i], load_up_to(line.x + l, line.k - l));
    }
  const ivec<float> first_two = greater(maxima[0], maxima[1]);
  const ivec<float> last_two = greater(maxima[2], maxima[3]);
  const int32_t bits_of_most = fold_lanes(greater(first_two, last_two), greater);
  float most;
  __builtin_memcpy(&most, &bits_of_most, sizeof most);
  if (is_unfit(broadcast(most))) return false;
  const vec<float> inverse = inverse_of(broadcast(most));
  for (int64_t begin = 0, piece = 0; begin < line.k; begin += line.group, ++piece) {
    const int64_t left = line.k - begin;
    const int64_t count = left < line.group ? left : line.group;
    Integer* q = static_cast<Integer*>(line.q) + begin;
    ivec<float> sum = {};
    for (int64_t l = 0; l < count; l += kL)
      sum += store_integers(q + l, load_up_to(line.x + begin + l, count - l) * inverse);
    line.scale[piece] = most / 127;
    line.zero_sum[piece] = -line.zero * reduce_add(sum);
  }
  return true;
}

// A row with a scale for each group of 32: kL groups at a time, since the lanes of one vector are compared
// and added by many instructions, those of kL vectors by few.
template <class Integer>
static bool quantize_groups(const QuantizedLine& line) {
  const int64_t all = (line.k + kGroup - 1) / kGroup;
  float last[kGroup] = {};  // the last group, if it is not whole
  const int64_t whole = line.k / kGroup * kGroup;
  if (line.k != whole) __builtin_memcpy(last, line.x + whole, size_t(line.k - whole) * sizeof *last);
  for (int64_t begin = 0; begin < all; begin += kL) {
    const int groups = lanes_used<float>(all - begin);
    const auto group_at = [&](int g) RANVIER_INLINED {
      const int64_t first = (begin + g) * kGroup;
      return first + kGroup > line.k ? last : line.x + first;
    };
    vec<float> rows[kL];
    for (int g = groups; g < kL; ++g) rows[g] = vec<float>{};
    for (int g = 0; g < groups; ++g) {
      const float* x = group_at(g);
      ivec<float> most = {};
      RANVIER_UNROLL
      for (int l = 0; l < kGroup; l += kL) most = greater_size(most, load(x + l));
      rows[g] = from_bits(most);
    }
    const vec<float> most = join_lanes<kL / 2, float>(
        rows, [](auto a, auto b) RANVIER_INLINED { return from_bits(greater(bits(a), bits(b))); });
    if (is_unfit(most)) return false;
    float inverse[kL];
    store(inverse, inverse_of(most));
    for (int g = groups; g < kL; ++g) rows[g] = vec<float>{};
    for (int g = 0; g < groups; ++g) {
      const float* x = group_at(g);
      Integer* q = static_cast<Integer*>(line.q) + (begin + g) * kGroup;
      const vec<float> factor = broadcast(inverse[g]);
      ivec<float> sum = {};
      RANVIER_UNROLL
      for (int l = 0; l < kGroup; l += kL) sum += store_integers(q + l, load(x + l) * factor);
      rows[g] = from_bits(sum);
    }
    const vec<float> sum = join_lanes<kL / 2, float>(
        rows, [](auto a, auto b) RANVIER_INLINED { return from_bits(bits(a) + bits(b)); });
    store_lanes(line.scale + begin, most / 127.0f, groups);
    store_lanes(reinterpret_cast<float*>(line.zero_sum) + begin, from_bits(bits(sum) * -line.zero), groups);
  }
  return true;
}

// QuantizedKernel::quantize. q has room for whole vectors.
template <class Integer, bool kGroups>
static bool quantize(const QuantizedLine& line) {
  const bool fits = kGroups ? quantize_groups<Integer>(line) : quantize_row<Integer>(line);
  Integer* q = static_cast<Integer*>(line.q);
  if (fits) __builtin_memset(q + line.k, 0, static_cast<size_t>(line.padded - line.k) * sizeof *q);
  return fits;
}

// The sums of integers of a tile.
template <class Products, int rows, int panels>
struct IntegerSums {
  using Integer = typename Products::Integer;
  static constexpr int kParts = Products::kParts;
  typename Products::Sums sums[rows][panels][kParts];

  RANVIER_INLINED void start(const int32_t* zero_sum, int64_t groups) {
    RANVIER_UNROLL
    for (int r = 0; r < rows; ++r) {
      const auto first = Products::start(zero_sum[r * groups]);
      RANVIER_UNROLL
      for (int i = 0; i < panels * kParts; ++i) sums[r][i / kParts][i % kParts] = first;
    }
  }

  // The products of a line of each panel and 4 integers of each row.
  template <int half>
  RANVIER_INLINED void add(const uint8_t* line, int64_t panel_bytes, const char* q, int64_t row_bytes) {
    typename Products::Factors x[rows];
    RANVIER_UNROLL
    for (int r = 0; r < rows; ++r) x[r] = Products::factors((const Integer*)(q + r * row_bytes));
    RANVIER_UNROLL
    for (int i = 0; i < panels * kParts; ++i) {
      const int p = i / kParts;
      const int part = i % kParts;
      const auto codes =
          Products::template codes<half>(line + p * panel_bytes + part * int64_t{Products::kPartBytes});
      RANVIER_UNROLL
      for (int r = 0; r < rows; ++r) sums[r][p][part] = Products::add(sums[r][p][part], codes, x[r]);
    }
  }
};

// The numbers of a tile, of float32.
template <int rows, int panels>
struct FloatSums {
  vec<float> sums[rows][panels][kVectors] = {};

  RANVIER_INLINED void store(const QuantizedTile& t) const {
    RANVIER_UNROLL
    for (int i = 0; i < panels * kVectors; ++i) {
      const int64_t left = t.columns - i * kL;
      if (left <= 0) break;
      const int n = lanes_used<float>(left);
      const vec<float> bias = t.bias ? load_lanes(t.bias + i * kL, n) : vec<float>{};
      const vec<float> scale = t.w_scale ? load_lanes(t.w_scale + i * kL, n) : vec<float>{};
      RANVIER_UNROLL
      for (int r = 0; r < rows; ++r) {
        const vec<float> sum = sums[r][i / kVectors][i % kVectors];
        const vec<float> y =
            t.w_scale ? fma(sum, scale * broadcast(t.scale[r * t.groups]), bias) : sum + bias;
        store_lanes(t.y + r * t.n + i * kL, y, n);
      }
    }
  }
};

// A tile of int8: a group is a piece of a row.
template <class Products, int rows, int panels>
static void tile_int8(const QuantizedTile& t) {
  constexpr int64_t kFourBytes = 4 * sizeof(typename Products::Integer);
  IntegerSums<Products, rows, panels> integers;
  FloatSums<rows, panels> floats;
  const uint8_t* w = t.w;
  const char* q = t.q;
  for (int64_t group = 0; group < t.groups; ++group) {
    integers.start(t.zero_sum + group, t.groups);
    constexpr int64_t kQuadsOfPiece = kPiece / 4;
    const int64_t left = t.quads - group * kQuadsOfPiece;
    const int64_t quads_of_group = left < kQuadsOfPiece ? left : kQuadsOfPiece;
    for (int64_t quads = quads_of_group; quads > 0; --quads) {
      fetch_ahead<panels>(w, t.panel_bytes);
      integers.template add<kWhole>(w, t.panel_bytes, q, t.row_bytes);
      w += kQuadBytes;
      q += kFourBytes;
    }
    RANVIER_UNROLL
    for (int i = 0; i < rows * panels; ++i) {
      const int r = i / panels;
      const int p = i % panels;
      ivec<float> whole[kVectors];
      Products::finish(integers.sums[r][p], t.zero_sum[r * t.groups + group], whole);
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) floats.sums[r][p][v] += to_float(whole[v]);
    }
  }
  floats.store(t);
}

// A tile of groups of 32 codes, of 8 bits, or of 4 (is_four): a line of 64 bytes then has two quads, i in the
// low halves of its bytes and i + 4 in the high halves. In a panel, each group is its 16 scales and its
// lines.
template <class Products, bool is_four, int rows, int panels>
static void tile_groups(const QuantizedTile& t) {
  constexpr int64_t kFourBytes = 4 * sizeof(typename Products::Integer);
  constexpr int kQuads = kGroup / 4;
  constexpr int kLines = is_four ? kQuads / 2 : kQuads;
  constexpr int kFirstHalf = is_four ? 0 : kWhole;  // which bits of a byte are the first code
  IntegerSums<Products, rows, panels> integers;
  FloatSums<rows, panels> floats;
  const uint8_t* w = t.w;
  const char* q = t.q;
  for (int64_t group = 0; group < t.groups; ++group) {
    integers.start(t.zero_sum + group, t.groups);
    const uint8_t* line = w + kScaleBytes;
    RANVIER_UNROLL
    for (int i = 0; i < kLines; ++i, line += kQuadBytes) {
      fetch_ahead<panels>(line, t.panel_bytes);
      integers.template add<kFirstHalf>(line, t.panel_bytes, q + i * kFourBytes, t.row_bytes);
      if (is_four) integers.template add<1>(line, t.panel_bytes, q + (i + kLines) * kFourBytes, t.row_bytes);
    }
    RANVIER_UNROLL
    for (int p = 0; p < panels; ++p) {
      vec<float> scale[kVectors];
      for (int v = 0; v < kVectors; ++v)
        scale[v] = load_halves((const Float16*)(w + p * t.panel_bytes) + v * kL);
      RANVIER_UNROLL
      for (int r = 0; r < rows; ++r) {
        ivec<float> whole[kVectors];
        Products::finish(integers.sums[r][p], t.zero_sum[r * t.groups + group], whole);
        const vec<float> of_row = broadcast(t.scale[r * t.groups + group]);
        RANVIER_UNROLL
        for (int v = 0; v < kVectors; ++v)
          floats.sums[r][p][v] = fma(to_float(whole[v]), scale[v] * of_row, floats.sums[r][p][v]);
      }
    }
    w = line;
    q += kQuads * kFourBytes;
  }
  floats.store(t);
}

template <class Products, QuantizedKind kind, int rows, int panels>
static void tile(const QuantizedTile& t) {
  if constexpr (kind == QuantizedKind::int8)
    tile_int8<Products, rows, panels>(t);
  else
    tile_groups<Products, kind == QuantizedKind::q4_0, rows, panels>(t);
}

// QuantizedKernel::tile: any number of rows, in tiles of `rows` and then of half as many; up to `panels`
// panels.
template <class Products, QuantizedKind kind, int rows, int panels>
static void any_tile(const QuantizedTile& t) {
  if constexpr (panels > 1)
    if (t.panels < panels) return any_tile<Products, kind, rows, panels - 1>(t);
  QuantizedTile rest = t;
  for (; rest.rows >= rows; rest.rows -= rows) {
    tile<Products, kind, rows, panels>(rest);
    rest.q += rows * t.row_bytes;
    rest.y += rows * t.n;
    rest.scale += rows * t.groups;
    rest.zero_sum += rows * t.groups;
  }
  if constexpr (rows > 1)
    if (rest.rows > 0) any_tile<Products, kind, rows / 2, panels>(rest);
}

template <class Products, QuantizedKind kind, int rows, int panels>
static constexpr QuantizedKernel kernel_of = {
    rows, panels, quantize<typename Products::Integer, kind != QuantizedKind::int8>,
    any_tile<Products, kind, rows, panels>};

}  // namespace ranvier::RANVIER_ISA
