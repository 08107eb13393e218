// Products of matrices that are stored as bfloat16, by the tiles of pairs.h: packing moves pairs of numbers
// as they are, and a tile is rounded where it is finished, so no float32 of a, b or c is in memory.
//
// A chain has at most kc pairs, in even blocks of k; then come the bias, the activation and the rounding.
#pragma once
#include <algorithm>

#include "base/caches.h"
#include "base/carve.h"
#include "base/integers.h"
#include "base/parallel.h"
#include "kernels/matmul/pairs.h"
#include "kernels/matmul/plan.h"

namespace ranvier {

class StoredProduct {
 public:
  static constexpr int64_t kMostProducts = 8192;  // of longer sums a panel and a strip would fill L2
  static bool pays(int64_t n, int64_t k) {
    return bfloat16() == Bfloat16::pairs && pays_in_pairs(n, k) && k <= kMostProducts;
  }

  StoredProduct(int64_t m, int64_t n, int64_t k, int threads)
      : m_(m), n_(n), k_(k), pairs_(ceil_div(k, 2)), tile_(stored_kernels()) {
    panels_ = ceil_div(m, tile_.rows);
    const int64_t near = caches.l2 / 2 / (pairs_ * tile_.rows * kSize);
    const int64_t even = threads > 1 ? ceil_div(panels_, kUnits * threads) : panels_;
    run_ = std::max<int64_t>(std::min(near, even), 1);
    block_ = std::min(n, std::max<int64_t>(kBlock / (pairs_ * kSize * tile_.columns), 1) * tile_.columns);
    const int64_t strips = ceil_div(block_, tile_.columns), runs = ceil_div(panels_, run_);
    groups_ = threads > 1
                  ? std::clamp<int64_t>(ceil_div(kUnits * threads, runs), 1, ceil_div(strips, kLeastStrips))
                  : 1;
  }

  // Of a crew of so many threads.
  size_t bytes(int threads) const {
    Carver carver(nullptr);
    const Memory memory(*this, carver, threads);
    return carver.used();
  }

  struct Sides {
    const BFloat16 *a, *b, *bias;
    BFloat16* c;
    float* wide;
    int64_t rs_a, cs_a, rs_b, cs_b, rs_c, cs_c, step_bias;
    MatmulActivation activation;
  };

  void run(const OpenTeam& crew, const Sides& x, char* workspace) const {
    Carver carver(workspace);
    const Memory memory(*this, carver, crew.size());
    for (int64_t j = 0; j < n_; j += block_) {
      const int64_t n = std::min(block_, n_ - j), strips = ceil_div(n, tile_.columns);
      pack_b(crew, x, memory, j, n);
      crew.barrier();
      const int64_t units = ceil_div(panels_, run_) * groups_;
      for (Chunks some(crew, units, 1); some.next() && !interrupted(crew);)
        for (int64_t u = some.begin; u < some.end; ++u) {
          const int64_t i = u / groups_ * run_, group = u % groups_;
          sweep(crew, x, memory, j, n, i, std::min(i + run_, panels_), strips * group / groups_,
                strips * (group + 1) / groups_);
        }
      crew.barrier();
    }
  }

 private:
  static constexpr int64_t kSize = sizeof(float);  // of a pair
  static constexpr int64_t kBlock = 4 << 20;       // bytes of b that are packed at once
  static constexpr int64_t kUnits = 4;             // of a thread, at least
  static constexpr int64_t kLeastStrips = 4;       // of a unit: a is packed for each
  static constexpr int64_t kTogether = 16,
                           kManyTogether = 128;  // numbers along k that are packed of all strips in turn

  struct Memory {
    Memory(const StoredProduct& x, Carver& carver, int threads)
        : b(carver.take<float>(x.pairs_ * round_up(x.block_, x.tile_.columns))),
          bias(carver.take<float>(round_up(x.block_, x.tile_.columns))),
          size_a(round_up(x.pairs_ * x.run_ * x.tile_.rows, 64)),
          a(carver.take<float>(size_a * threads)) {}
    float *b, *bias;
    int64_t size_a;
    float* a;  // of each thread
  };

  int64_t row(int64_t panel) const { return m_ * panel / panels_; }
  int width(int64_t columns) const { return columns > tile_.columns / 2 ? tile_.columns : tile_.columns / 2; }
  int columns(int64_t n, int64_t strip) const {
    return static_cast<int>(std::min<int64_t>(tile_.columns, n - strip * tile_.columns));
  }

  void pack_b(const OpenTeam& crew, const Sides& x, const Memory& memory, int64_t j, int64_t n) const {
    const int64_t strips = ceil_div(n, tile_.columns);
    if (crew.index() == 0 && x.bias)
      for (int64_t l = 0; l < round_up(n, tile_.columns); ++l)
        memory.bias[l] = l < n ? float(x.bias[(j + l) * x.step_bias]) : 0;
    // Of lines far apart some numbers of all strips in turn.
    const int64_t some =
        k_ * std::abs(x.rs_b) * int64_t{sizeof(BFloat16)} > caches.l2 ? kTogether : kManyTogether;
    const auto pack = [&](int64_t strip, int64_t p, int64_t k) {
      const int64_t first = strip * tile_.columns;
      const int own = columns(n, strip), width = this->width(own);
      tile_.pack({k, own, width, bits(x.b + p * x.rs_b + (j + first) * x.cs_b), x.rs_b, x.cs_b,
                  memory.b + first * pairs_ + p / 2 * width});
    };
    if (x.cs_b != 1) {
      for (int64_t s = crew.share_begin(strips); s < crew.share_end(strips) && !interrupted(crew); ++s)
        pack(s, 0, k_);
      return;
    }
    const int64_t groups = ceil_div(k_, some);
    for (int64_t g = crew.share_begin(groups); g < crew.share_end(groups) && !interrupted(crew); ++g)
      for (int64_t s = 0; s < strips; ++s) pack(s, g * some, std::min(some, k_ - g * some));
  }

  // Rows whose numbers are neighbours are pairs as they are. Those of a panel are not all in the same sets of
  // L1.
  bool reads_a_in_place(const Sides& x) const {
    constexpr int64_t kInTheSameSets = 2048;  // bytes
    const int64_t step = x.rs_a * int64_t{sizeof(BFloat16)};
    return x.cs_a == 1 && k_ % 2 == 0 && x.rs_a % 2 == 0 && step % kInTheSameSets != 0;
  }

  void pack_a(const Sides& x, float* to, int64_t i0, int64_t i1) const {
    const int64_t some = x.rs_a == 1 && x.cs_a != 1 ? kTogether : k_;
    for (int64_t p = 0; p < k_; p += some)
      for (int64_t i = i0; i < i1; ++i) {
        const int rows = static_cast<int>(row(i + 1) - row(i));
        tile_.pack({std::min(some, k_ - p), rows, rows, bits(x.a + row(i) * x.rs_a + p * x.cs_a), x.cs_a,
                    x.rs_a, to + (row(i) - row(i0)) * pairs_ + p / 2 * rows});
      }
  }

  // The strips [j0, j1) of n columns from column j on against the panels [i0, i1).
  void sweep(const OpenTeam& crew, const Sides& x, const Memory& memory, int64_t j, int64_t n, int64_t i0,
             int64_t i1, int64_t j0, int64_t j1) const {
    float* const packed = memory.a + crew.index() * memory.size_a;
    const bool in_place = reads_a_in_place(x);
    if (!in_place) pack_a(x, packed, i0, i1);
    StoredTile t{};
    t.k = pairs_, t.k_block = k_block_of(pairs_, medium_kernels().kc);
    t.rs_c = x.rs_c, t.cs_c = x.cs_c, t.activation = x.activation;
    for (int64_t s = j0; s < j1 && !interrupted(crew); ++s) {
      const int64_t first = s * tile_.columns;
      t.columns = columns(n, s);
      t.b = memory.b + first * pairs_;
      t.bias = x.bias ? memory.bias + first : nullptr;
      for (int64_t i = i0; i < i1; ++i) {
        const int64_t place = row(i) * x.rs_c + (j + first) * x.cs_c;
        t.rows = static_cast<int>(row(i + 1) - row(i));
        if (in_place)
          t.a = reinterpret_cast<const float*>(x.a + row(i) * x.rs_a), t.rs_a = x.rs_a / 2, t.cs_a = 1;
        else
          t.a = packed + (row(i) - row(i0)) * pairs_, t.rs_a = 1, t.cs_a = t.rows;
        if (x.wide)
          t.wide = x.wide + place;
        else
          t.c = x.c + place;
        tile_.run(t);
      }
    }
  }

  static const uint16_t* bits(const BFloat16* p) { return reinterpret_cast<const uint16_t*>(p); }

  int64_t m_, n_, k_, pairs_;
  const StoredPairs& tile_;
  int64_t panels_, run_;    // of rows; so many are packed at once
  int64_t block_, groups_;  // columns that are packed at once; parts of their strips that threads take
};

}  // namespace ranvier
