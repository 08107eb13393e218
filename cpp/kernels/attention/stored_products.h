// The products of attention for arrays that are stored as bfloat16, by the tiles of kernels/matmul/pairs.h,
// which multiply pairs of bfloat16 and add in float32. A pair is two neighbouring elements along the summed
// dimension, in the memory of one float. Keys are read in place if they form such pairs in memory, else
// copied; values and queries are packed; weights are rounded while they are packed.
#pragma once
#include <cstring>

#include "base/carve.h"
#include "base/integers.h"
#include "kernels/matmul/pairs.h"

namespace ranvier {

// c (m, n) = scale a b, or with `added` c += a b. a (m, k) consists of `pairs` pairs in each row; b (k, n) is
// packed in strips of a tile's columns. Strides count floats.
struct StoredFactors {
  int64_t m, n, pairs;
  const float* a;
  int64_t rs_a, cs_a;
  const float* b;
  float* c;
  int64_t rs_c;
  float scale;
  bool added;

  void multiply() const {
    const StoredPairs& tile = stored_kernels();
    const int64_t panels = ceil_div(m, tile.rows);
    StoredTile t{};
    t.k = pairs;
    t.chain_length = even_chain_length(pairs, medium_kernels().max_chain);
    t.rs_a = rs_a;
    t.cs_a = cs_a;
    t.rs_c = rs_c;
    t.cs_c = 1;
    t.scale = scale;
    t.added = added;
    for (int64_t j = 0; j < n; j += tile.columns)
      for (int64_t i = 0; i < panels; ++i) {
        const int64_t row = m * i / panels;
        t.rows = static_cast<int>(m * (i + 1) / panels - row);
        t.columns = static_cast<int>(std::min<int64_t>(tile.columns, n - j));
        t.a = a + row * rs_a;
        t.b = b + j * pairs;
        t.floats = c + row * rs_c + j;
        tile.run(t);
      }
  }
};

// The memory of one thread for the largest block of queries: pairs of a query or key (`pairs`), queries
// rounded up to whole vectors (`lines`), elements of a result rounded up (`line`), and queries (`rows`).
struct StoredAttention {
  static constexpr int64_t kVector = 16;  // floats of the widest vector
  StoredAttention(int64_t heads, int64_t rows, int64_t most_keys, int64_t e, int64_t d, Carver& carver)
      : pairs(ceil_div(e, 2)), lines(round_up(rows, kVector)), line(round_up(d, kVector)), rows(rows) {
    const int64_t of_keys = ceil_div(most_keys, 2);
    queries = carver.take<float>(heads * pairs * lines);
    keys = carver.take<float>(most_keys * pairs);
    values = carver.take<float>(of_keys * line);
    weights = carver.take<float>(of_keys * lines);
    results = carver.take<float>(heads * rows * line);
  }
  int64_t pairs, lines, line, rows;
  float *queries, *keys, *values, *weights, *results;

  using Half = TensorView<const BFloat16>;
  template <class View>
  static auto halves(const View& x) {
    using To = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(x.data)>>, const BFloat16,
                                  BFloat16>;
    TensorView<To> y;
    y.data = reinterpret_cast<To*>(x.data);
    y.ndim = x.ndim;
    std::copy_n(x.shape, kMaxDims, y.shape);
    std::copy_n(x.strides, kMaxDims, y.strides);
    return y;
  }

  // Packs x (k, columns) in strips of a tile's columns; rs, cs: its strides.
  static void pack(int64_t k, int64_t columns, const BFloat16* x, int64_t rs, int64_t cs, float* to) {
    const StoredPairs& tile = stored_kernels();
    for (int64_t j = 0; j < columns; j += tile.columns) {
      const int count = static_cast<int>(std::min<int64_t>(tile.columns, columns - j));
      const int half = tile.columns / 2;
      const int width = count > half ? tile.columns : half;  // one or two vectors
      const auto* bits = reinterpret_cast<const uint16_t*>(x + j * cs);
      tile.pack({k, count, width, bits, rs, cs, to + j * ceil_div(k, 2)});
    }
  }

  // Packs the queries q (heads, rows, e) of a block.
  void pack_queries(const Half& q) const {
    for (int64_t h = 0; h < q.shape[0]; ++h)
      pack(q.shape[2], q.shape[1], q.data + h * q.strides[0], q.strides[2], q.strides[1],
           queries + h * pairs * lines);
  }

  // c (keys, queries) = the scores of head h for the keys k; rows of c are rs_c elements apart.
  void multiply_keys(const Half& k, int64_t h, int64_t queries_here, float scale, float* c,
                     int64_t rs_c) const {
    const int64_t n = k.shape[1];
    const int64_t e = k.shape[2];
    const int64_t rs = k.strides[1];
    const BFloat16* from = k.data + h * k.strides[0];
    const bool in_place = k.strides[2] == 1 && e % 2 == 0 && rs % 2 == 0;
    BFloat16* to = reinterpret_cast<BFloat16*>(keys);
    for (int64_t j = 0; j < n && !in_place; ++j, to += 2 * pairs) {
      to[2 * pairs - 1] = BFloat16(0.0f);
      for (int64_t i = 0; i < e; ++i) to[i] = from[j * rs + i * k.strides[2]];
    }
    StoredFactors f;
    f.m = n;
    f.n = queries_here;
    f.pairs = pairs;
    f.a = in_place ? reinterpret_cast<const float*>(from) : keys;
    f.rs_a = in_place ? rs / 2 : pairs;
    f.cs_a = 1;
    f.b = queries + h * pairs * lines;
    f.c = c;
    f.rs_c = rs_c;
    f.scale = scale;
    f.added = false;
    f.multiply();
  }

  // The results of head h: the product of w (keys, queries), whose rows are `step` elements apart, with the
  // values v.
  void multiply_values(const Half& v, int64_t h, int64_t queries_here, const float* w, int64_t step,
                       bool added) const {
    const int64_t n = v.shape[1];
    const int64_t of_keys = ceil_div(n, 2);
    pack(n, v.shape[2], v.data + h * v.strides[0], v.strides[1], v.strides[2], values);
    medium_kernels().pack(of_keys, static_cast<int>(queries_here), static_cast<int>(lines), w, 2 * step, 1,
                          weights, static_cast<int>(n % 2));
    StoredFactors{queries_here, v.shape[2], of_keys, weights, 1, lines, values, results + h * rows * line,
                  line,         1,          added}
        .multiply();
  }
};

}  // namespace ranvier
