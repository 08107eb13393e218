// StoredProduct: products of matrices that are stored as bfloat16, on processors that multiply pairs of
// bfloat16 (pairs.h). Packing moves pairs of numbers as they are, and a finished tile is rounded as it is
// stored, so a, b and c are never in memory as float32. Included by halves.cpp only.
//
// The loops are those of matmul.cpp: k is divided into even parts of at most kMostPairs pairs, whose packed b
// the team shares; a part is divided into even chains of at most kc pairs. The sums of a tile that has
// several parts are kept as float32 from part to part. After the last part come the bias, the activation and
// rounding.
#pragma once
#include <algorithm>

#include "base/caches.h"
#include "base/carve.h"
#include "base/integers.h"
#include "base/parallel.h"
#include "kernels/matmul/halves.h"
#include "kernels/matmul/pairs.h"
#include "kernels/matmul/plan.h"

namespace ranvier {

class StoredProduct {
 public:
  typedef HalfMatmul<BFloat16> Call;
  // True if this takes less time than other ways. By n and k alone (see pays_in_pairs()).
  static bool pays(const Call& x) {
    return bfloat16() == Bfloat16::pairs && pays_in_pairs(x.b.shape[2], x.a.shape[2]);
  }

  StoredProduct(const Call& call, int threads)
      : call_(call), m_(call.a.shape[1]), n_(call.b.shape[2]), k_(call.a.shape[2]), tile_(stored_kernels()) {
    chunk_ = std::min(k_block_of(ceil_div(k_, 2), kMostPairs), ceil_div(k_, 2));
    panels_ = ceil_div(m_, tile_.rows);
    const int64_t near = caches.l2 / 2 / (chunk_ * tile_.rows * kSize);
    const int64_t even = threads > 1 ? ceil_div(panels_, kUnits * threads) : panels_;
    run_ = std::max<int64_t>(std::min(near, even), 1);
    block_ = std::min(n_, std::max<int64_t>(kBlock / (chunk_ * kSize * tile_.columns), 1) * tile_.columns);
    const int64_t strips = ceil_div(block_, tile_.columns), runs = ceil_div(panels_, run_);
    groups_ = threads > 1
                  ? std::clamp<int64_t>(ceil_div(kUnits * threads, runs), 1, ceil_div(strips, kLeastStrips))
                  : 1;
  }

  // The bytes of workspace for a crew, the threads that compute one product together.
  size_t bytes(int threads) const {
    Carver carver(nullptr);
    const Memory memory(*this, carver, threads);
    return carver.used();
  }

  void run(const OpenTeam& crew, int64_t batch, char* workspace) const {
    const Sides x(call_, batch);
    Carver carver(workspace);
    const Memory memory(*this, carver, crew.size());
    const int64_t together = has_parts() ? kPanels : panels_;
    for (int64_t i = 0; i < panels_; i += together)
      for (int64_t j = 0; j < n_; j += block_)
        for (int64_t p = 0; p < k_; p += 2 * chunk_)
          run_part(crew, x, memory, i, std::min(i + together, panels_),
                   {j, std::min(block_, n_ - j), p, std::min(2 * chunk_, k_ - p)});
  }

 private:
  struct Sides {  // the operands of one product of the batch
    const BFloat16 *a, *b;
    BFloat16* c = nullptr;
    float* floats = nullptr;  // or c as float32 (HalfMatmul::wide)
    int64_t rs_a, cs_a, rs_b, cs_b, rs_c, cs_c;

    Sides(const Call& x, int64_t batch) {
      const auto place = [&](const auto& v, auto& data, int64_t& rs, int64_t& cs) {
        data = v.data + batch * v.strides[0], rs = v.strides[1], cs = v.strides[2];
      };
      place(x.a, a, rs_a, cs_a), place(x.b, b, rs_b, cs_b);
      x.wide.data ? place(x.wide, floats, rs_c, cs_c) : place(x.c, c, rs_c, cs_c);
    }
  };

  static constexpr int64_t kSize = sizeof(float);  // bytes of a pair
  static constexpr int64_t kMostPairs = 2048;      // the most pairs of a part: a panel and a strip stay in L2
  static constexpr int64_t kPanels = 128;          // the most panels whose sums are kept from part to part
  static constexpr int64_t kBlock = 4 << 20;       // the most bytes of b that are packed at once
  // A unit is a run of panels by a group of strips, which one thread computes. Each unit packs its panels of
  // a.
  static constexpr int64_t kUnits = 4;        // the units that each thread should have, at least
  static constexpr int64_t kLeastStrips = 4;  // the fewest strips in a group
  // How many numbers along k are packed for each strip or panel in turn, where those share cache lines: fewer
  // where the rows of the matrix are so large that they are on separate pages.
  static constexpr int64_t kTogether = 16, kManyTogether = 128;

  struct Part {  // n columns of b from j on, and k products from p on
    int64_t j, n, p, k;
    int64_t pairs() const { return ceil_div(k, 2); }
  };
  bool has_parts() const { return 2 * chunk_ < k_; }

  struct Memory {
    Memory(const StoredProduct& x, Carver& carver, int threads)
        : b(carver.take<float>(x.chunk_ * round_up(x.block_, x.tile_.columns))),
          bias(carver.take<float>(round_up(x.block_, x.tile_.columns))),
          size_a(round_up(x.chunk_ * x.run_ * x.tile_.rows, 64)),
          a(carver.take<float>(size_a * threads)),
          line(round_up(x.block_, x.tile_.columns)),
          sums(x.has_parts() ? carver.take<float>(std::min(x.m_, kPanels * x.tile_.rows) * line) : nullptr) {}
    float *b, *bias;
    int64_t size_a;
    float* a;      // the packed panels of each thread, size_a elements each
    int64_t line;  // the columns of a row of `sums`, whole strips
    float* sums;   // the sums of kPanels panels from part to part, in rows of `line`; null for one part
  };

  int64_t row(int64_t panel) const { return m_ * panel / panels_; }  // the first row of a panel
  int width(int64_t columns) const { return columns > tile_.columns / 2 ? tile_.columns : tile_.columns / 2; }
  // The columns of a strip, where n columns are divided into strips.
  int columns(int64_t n, int64_t strip) const {
    return static_cast<int>(std::min<int64_t>(tile_.columns, n - strip * tile_.columns));
  }

  // Packs b of a part, and runs its units for the panels [begin, end), shared out among the crew.
  void run_part(const OpenTeam& crew, const Sides& x, const Memory& memory, int64_t begin, int64_t end,
                const Part& part) const {
    const int64_t strips = ceil_div(part.n, tile_.columns), units = ceil_div(end - begin, run_) * groups_;
    pack_b(crew, x, memory, part);
    crew.barrier();
    for (Chunks some(crew, units, 1); some.next() && !interrupted(crew);)
      for (int64_t u = some.begin; u < some.end; ++u) {
        const int64_t i = begin + u / groups_ * run_, group = u % groups_;
        sweep(crew, x, memory, part, begin, i, std::min(i + run_, end), strips * group / groups_,
              strips * (group + 1) / groups_);
      }
    crew.barrier();
  }

  // Packs this thread's share of b of a part: some strips, or, where rows of b are contiguous, some rows of
  // all strips. Converts the bias to float32.
  void pack_b(const OpenTeam& crew, const Sides& x, const Memory& memory, const Part& part) const {
    const int64_t strips = ceil_div(part.n, tile_.columns);
    const TensorView<const BFloat16>& bias = call_.bias;
    if (crew.index() == 0 && bias.data)
      for (int64_t l = 0; l < round_up(part.n, tile_.columns); ++l)
        memory.bias[l] = l < part.n ? float(bias.data[(part.j + l) * bias.strides[0]]) : 0;
    const int64_t some =
        part.k * std::abs(x.rs_b) * int64_t{sizeof(BFloat16)} > caches.l2 ? kTogether : kManyTogether;
    const auto pack = [&](int64_t strip, int64_t p, int64_t k) {
      const int64_t first = strip * tile_.columns;
      const int own = columns(part.n, strip), width = this->width(own);
      tile_.pack({k, own, width, bits(x.b + (part.p + p) * x.rs_b + (part.j + first) * x.cs_b), x.rs_b,
                  x.cs_b, memory.b + first * part.pairs() + p / 2 * width});
    };
    if (x.cs_b != 1) {
      for (int64_t s = crew.share_begin(strips); s < crew.share_end(strips) && !interrupted(crew); ++s)
        pack(s, 0, part.k);
      return;
    }
    const int64_t groups = ceil_div(part.k, some);
    for (int64_t g = crew.share_begin(groups); g < crew.share_end(groups) && !interrupted(crew); ++g)
      for (int64_t s = 0; s < strips; ++s) pack(s, g * some, std::min(some, part.k - g * some));
  }

  // True if a need not be packed: numbers of a row that are neighbours in memory are pairs as they are. The
  // rows of a panel must not all be in the same sets of L1.
  bool reads_a_in_place(const Sides& x) const {
    constexpr int64_t kInTheSameSets = 2048;  // bytes
    const int64_t step = x.rs_a * int64_t{sizeof(BFloat16)};
    return x.cs_a == 1 && k_ % 2 == 0 && x.rs_a % 2 == 0 && step % kInTheSameSets != 0;
  }

  // Packs the panels [i0, i1) of a for a part.
  void pack_a(const Sides& x, const Part& part, float* to, int64_t i0, int64_t i1) const {
    const int64_t some = x.rs_a == 1 && x.cs_a != 1 ? kTogether : part.k;
    for (int64_t p = 0; p < part.k; p += some)
      for (int64_t i = i0; i < i1; ++i) {
        const int rows = static_cast<int>(row(i + 1) - row(i));
        tile_.pack({std::min(some, part.k - p), rows, rows,
                    bits(x.a + row(i) * x.rs_a + (part.p + p) * x.cs_a), x.cs_a, x.rs_a,
                    to + (row(i) - row(i0)) * part.pairs() + p / 2 * rows});
      }
  }

  // Runs the tiles of the strips [j0, j1) and the panels [i0, i1). The sums of panel `begin` are at
  // memory.sums.
  void sweep(const OpenTeam& crew, const Sides& x, const Memory& memory, const Part& part, int64_t begin,
             int64_t i0, int64_t i1, int64_t j0, int64_t j1) const {
    float* const packed = memory.a + crew.index() * memory.size_a;
    const bool in_place = reads_a_in_place(x);
    if (!in_place) pack_a(x, part, packed, i0, i1);
    StoredTile t{};
    t.k = part.pairs(), t.k_block = k_block_of(t.k, medium_kernels().kc);
    t.rs_c = x.rs_c, t.cs_c = x.cs_c, t.activation = call_.activation;
    t.is_first_part = part.p == 0, t.is_last_part = part.p + part.k == k_;
    t.width_of_parts = memory.line;
    for (int64_t s = j0; s < j1 && !interrupted(crew); ++s) {
      const int64_t first = s * tile_.columns;
      t.columns = columns(part.n, s);
      t.b = memory.b + first * part.pairs();
      t.bias = call_.bias.data ? memory.bias + first : nullptr;
      for (int64_t i = i0; i < i1; ++i) {
        const int64_t place = row(i) * x.rs_c + (part.j + first) * x.cs_c;
        t.rows = static_cast<int>(row(i + 1) - row(i));
        if (in_place)
          t.a = reinterpret_cast<const float*>(x.a + row(i) * x.rs_a + part.p), t.rs_a = x.rs_a / 2,
          t.cs_a = 1;
        else
          t.a = packed + (row(i) - row(i0)) * part.pairs(), t.rs_a = 1, t.cs_a = t.rows;
        if (memory.sums) t.of_parts = memory.sums + (row(i) - row(begin)) * memory.line + first;
        if (x.floats)
          t.floats = x.floats + place;
        else
          t.c = x.c + place;
        tile_.run(t);
      }
    }
  }

  static const uint16_t* bits(const BFloat16* p) { return reinterpret_cast<const uint16_t*>(p); }

  const Call& call_;
  int64_t m_, n_, k_, chunk_;  // chunk_: the most pairs of a part
  const StoredPairs& tile_;
  int64_t panels_, run_;    // the number of panels; how many of them a unit has
  int64_t block_, groups_;  // the columns that are packed at once; the groups of their strips
};

}  // namespace ranvier
