// StoredProduct: products of matrices that are stored as bfloat16, on processors that multiply pairs of
// bfloat16 (pairs.h). Packing moves pairs of numbers as they are, and a finished tile is rounded as it is
// stored, so a, b and c are never in memory as float32. Included by halves.cpp only.
//
// The loops and words are those of matmul.cpp and plan.h, with pairs in place of products along k: a block is
// nc columns of b by kc pairs along k, whose packed b the team shares. Tasks of a block are computed by one
// thread each: mc rows of a by some panels of b. If k has several blocks, the sums of c are kept as float32
// from block to block. After the last block come the bias, the activation and rounding.
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

  // threads: the size of the team that computes one product.
  StoredProduct(const Call& call, int threads)
      : call_(call),
        kernels_(stored_kernels()),
        m_(call.a.shape[1]),
        n_(call.b.shape[2]),
        k_(call.a.shape[2]),
        mr_(kernels_.rows),
        nr_(kernels_.columns) {
    const int64_t pairs = ceil_div(k_, 2);
    kc_ = std::min(even_chain_length(pairs, kMostPairs), pairs);
    panels_a_ = ceil_div(m_, mr_);

    const int64_t panel_b_bytes = kc_ * nr_ * kPairBytes;
    nc_ = std::min(n_, std::max<int64_t>(kPackedBytes / panel_b_bytes, 1) * nr_);

    const int64_t panel_a_bytes = kc_ * mr_ * kPairBytes;
    const int64_t panels_in_l2 = caches.l2 / 2 / panel_a_bytes;
    // The panels of a for each of a thread's tasks; all of them, where one thread computes the product.
    const int64_t even_panels = threads > 1 ? ceil_div(panels_a_, kTasksPerThread * threads) : panels_a_;
    mc_panels_ = std::max<int64_t>(std::min(panels_in_l2, even_panels), 1);
    if (threads == 1) return;

    const int64_t ic_blocks = ceil_div(panels_a_, mc_panels_);
    const int64_t wanted = ceil_div(kTasksPerThread * threads, ic_blocks);
    const int64_t most = ceil_div(ceil_div(nc_, nr_), kLeastPanelsB);
    jr_ways_ = std::clamp<int64_t>(wanted, 1, most);
  }

  // The bytes of workspace of one product, for a team of this size.
  size_t bytes(int threads) const {
    Carver counts(nullptr);  // only counts bytes
    const Buffers buffers(*this, counts, threads);
    return counts.used();
  }

  void run(const OpenTeam& team, int64_t batch, char* workspace) const {
    const Matrices x(call_, batch);
    Carver carver(workspace);
    const Buffers buffers(*this, carver, team.size());
    const int64_t step = has_several_blocks() ? kSummedPanels : panels_a_;
    for (int64_t i = 0; i < panels_a_; i += step)
      for (int64_t jc = 0; jc < n_; jc += nc_)
        for (int64_t pc = 0; pc < k_; pc += 2 * kc_) {
          const Block block{jc, std::min(nc_, n_ - jc), pc, std::min(2 * kc_, k_ - pc)};
          run_block(team, x, buffers, block, i, std::min(i + step, panels_a_));
        }
  }

 private:
  static constexpr int64_t kPairBytes = sizeof(float);
  static constexpr int64_t kMostPairs = 2048;       // the largest kc: a panel of a and one of b stay in L2
  static constexpr int64_t kSummedPanels = 128;     // the most panels of a whose sums are kept between blocks
  static constexpr int64_t kPackedBytes = 4 << 20;  // the most bytes of b that are packed at once
  static constexpr int64_t kTasksPerThread = 4;     // at least; each task packs its panels of a
  static constexpr int64_t kLeastPanelsB = 4;       // the fewest panels of b of a task
  // How many numbers along k are packed for each panel in turn, where panels share cache lines: fewer where
  // the rows of the matrix are so large that they are on separate pages.
  static constexpr int64_t kTogether = 16;
  static constexpr int64_t kManyTogether = 128;

  // The operands of one product of the batch.
  struct Matrices {
    const BFloat16 *a, *b;
    BFloat16* c = nullptr;    // either c or
    float* floats = nullptr;  // c as float32 (HalfMatmul::wide)
    // Elements from one row (rs) or column (cs) to the next.
    int64_t rs_a, cs_a, rs_b, cs_b, rs_c, cs_c;

    Matrices(const Call& x, int64_t batch) {
      a = x.a.data + batch * x.a.strides[0];
      rs_a = x.a.strides[1];
      cs_a = x.a.strides[2];
      b = x.b.data + batch * x.b.strides[0];
      rs_b = x.b.strides[1];
      cs_b = x.b.strides[2];
      if (x.wide.data) {
        floats = x.wide.data + batch * x.wide.strides[0];
        rs_c = x.wide.strides[1];
        cs_c = x.wide.strides[2];
      } else {
        c = x.c.data + batch * x.c.strides[0];
        rs_c = x.c.strides[1];
        cs_c = x.c.strides[2];
      }
    }
  };

  // The columns [jc, jc + n) of b and c, and the products [pc, pc + k).
  struct Block {
    int64_t jc, n, pc, k;
    int64_t pairs() const { return ceil_div(k, 2); }
  };
  bool has_several_blocks() const { return 2 * kc_ < k_; }  // along k

  struct Buffers {
    float* b;     // the packed panels of b of a block
    float* bias;  // its columns of the bias, as float32
    int64_t size_a;
    float* a;  // the packed panels of a of each thread, size_a elements each
    // The sums of kSummedPanels panels of a from block to block, in rows of rs_sums elements, whole panels of
    // b; null if there is one block.
    int64_t rs_sums;
    float* sums;

    Buffers(const StoredProduct& x, Carver& carver, int threads) {
      const int64_t columns = round_up(x.nc_, x.nr_);
      b = carver.take<float>(x.kc_ * columns);
      bias = carver.take<float>(columns);
      size_a = round_up(x.kc_ * x.mc_panels_ * x.mr_, 64);
      a = carver.take<float>(size_a * threads);
      rs_sums = columns;
      const int64_t summed_rows = std::min(x.m_, kSummedPanels * x.mr_);
      sums = nullptr;
      if (x.has_several_blocks()) sums = carver.take<float>(summed_rows * rs_sums);
    }
  };

  // What one thread computes of a block: the panels [i, i_end) of a by the panels [j, j_end) of b.
  struct Task {
    int64_t i, i_end, j, j_end;
  };

  int64_t first_row(int64_t panel_a) const { return m_ * panel_a / panels_a_; }
  // The columns of panel j of b, where n columns are divided into panels.
  int columns(int64_t n, int64_t j) const { return static_cast<int>(std::min<int64_t>(nr_, n - j * nr_)); }
  // The columns to which a packed panel is filled up: whole vectors of a tile.
  int padded(int columns) const { return columns > nr_ / 2 ? nr_ : nr_ / 2; }

  // Packs b of a block, and runs its tasks for the panels [begin, end) of a, shared out among the team.
  void run_block(const OpenTeam& team, const Matrices& x, const Buffers& buffers, const Block& block,
                 int64_t begin, int64_t end) const {
    const int64_t panels_b = ceil_div(block.n, nr_);
    const int64_t tasks = ceil_div(end - begin, mc_panels_) * jr_ways_;
    convert_bias(team, buffers, block);
    pack_b(team, x, buffers, block);
    team.barrier();
    for (Chunks mine(team, tasks, 1); mine.next() && !interrupted(team);)
      for (int64_t index = mine.begin; index < mine.end; ++index) {
        const int64_t ic = index / jr_ways_;
        const int64_t jr = index % jr_ways_;
        Task task;
        task.i = begin + ic * mc_panels_;
        task.i_end = std::min(task.i + mc_panels_, end);
        task.j = panels_b * jr / jr_ways_;
        task.j_end = panels_b * (jr + 1) / jr_ways_;
        run_task(team, x, buffers, block, begin, task);
      }
    team.barrier();
  }

  // Converts the block's columns of the bias to float32, with zeros up to whole panels.
  void convert_bias(const OpenTeam& team, const Buffers& buffers, const Block& block) const {
    const TensorView<const BFloat16>& bias = call_.bias;
    if (team.index() != 0 || !bias.data) return;
    for (int64_t j = 0; j < block.n; ++j) {
      const int64_t column = block.jc + j;
      buffers.bias[j] = float(bias.data[column * bias.strides[0]]);
    }
    for (int64_t j = block.n; j < round_up(block.n, nr_); ++j) buffers.bias[j] = 0;
  }

  // Packs this thread's share of b of a block: some panels, or, where rows of b are contiguous, some rows of
  // all panels.
  void pack_b(const OpenTeam& team, const Matrices& x, const Buffers& buffers, const Block& block) const {
    const int64_t panels_b = ceil_div(block.n, nr_);
    if (x.cs_b != 1) {
      const int64_t end = team.share_end(panels_b);
      for (int64_t j = team.share_begin(panels_b); j < end && !interrupted(team); ++j)
        pack_panel_b(x, buffers, block, j, 0, block.k);
      return;
    }
    const int64_t bytes = block.k * std::abs(x.rs_b) * int64_t{sizeof(BFloat16)};
    const int64_t rows = bytes > caches.l2 ? kTogether : kManyTogether;
    const int64_t pieces = ceil_div(block.k, rows);
    const int64_t end = team.share_end(pieces);
    for (int64_t piece = team.share_begin(pieces); piece < end && !interrupted(team); ++piece)
      for (int64_t j = 0; j < panels_b; ++j)
        pack_panel_b(x, buffers, block, j, piece * rows, std::min(rows, block.k - piece * rows));
  }

  // Packs the rows [p, p + k) of panel j of b of a block.
  void pack_panel_b(const Matrices& x, const Buffers& buffers, const Block& block, int64_t j, int64_t p,
                    int64_t k) const {
    const int64_t column = j * nr_;
    const int count = columns(block.n, j);
    const int width = padded(count);
    const BFloat16* from = x.b + (block.pc + p) * x.rs_b + (block.jc + column) * x.cs_b;
    float* to = buffers.b + column * block.pairs() + p / 2 * width;
    kernels_.pack({k, count, width, bits(from), x.rs_b, x.cs_b, to});
  }

  // True if a need not be packed: numbers of a row that are neighbours in memory are pairs as they are. The
  // rows of a panel must not all be in the same sets of L1.
  bool reads_a_in_place(const Matrices& x) const {
    constexpr int64_t kInTheSameSets = 2048;  // bytes
    const int64_t row_bytes = x.rs_a * int64_t{sizeof(BFloat16)};
    return x.cs_a == 1 && k_ % 2 == 0 && x.rs_a % 2 == 0 && row_bytes % kInTheSameSets != 0;
  }

  // Where row `row` of the packed panels of a begins, in a buffer whose first row is first_row(task.i).
  float* packed_row(float* packed, const Task& task, const Block& block, int64_t row) const {
    return packed + (row - first_row(task.i)) * block.pairs();
  }

  // Packs the task's panels of a.
  void pack_a(const Matrices& x, const Block& block, const Task& task, float* packed) const {
    const bool columns_are_lines = x.rs_a == 1 && x.cs_a != 1;
    const int64_t step = columns_are_lines ? kTogether : block.k;
    for (int64_t p = 0; p < block.k; p += step)
      for (int64_t i = task.i; i < task.i_end; ++i) {
        const int64_t row = first_row(i);
        const int rows = static_cast<int>(first_row(i + 1) - row);
        const BFloat16* from = x.a + row * x.rs_a + (block.pc + p) * x.cs_a;
        float* to = packed_row(packed, task, block, row) + p / 2 * rows;
        kernels_.pack({std::min(step, block.k - p), rows, rows, bits(from), x.cs_a, x.rs_a, to});
      }
  }

  // Runs the tiles of a task. The sums of panel `begin` of a are at buffers.sums.
  void run_task(const OpenTeam& team, const Matrices& x, const Buffers& buffers, const Block& block,
                int64_t begin, const Task& task) const {
    float* const packed = buffers.a + team.index() * buffers.size_a;
    const bool in_place = reads_a_in_place(x);
    if (!in_place) pack_a(x, block, task, packed);
    StoredTile t{};
    t.k = block.pairs();
    t.chain_length = even_chain_length(t.k, medium_kernels().max_chain);
    t.rs_c = x.rs_c;
    t.cs_c = x.cs_c;
    t.activation = call_.activation;
    t.is_first_block = block.pc == 0;
    t.is_last_block = block.pc + block.k == k_;
    t.rs_sums = buffers.rs_sums;
    for (int64_t j = task.j; j < task.j_end && !interrupted(team); ++j) {
      const int64_t column = j * nr_;
      t.columns = columns(block.n, j);
      t.b = buffers.b + column * block.pairs();
      t.bias = call_.bias.data ? buffers.bias + column : nullptr;
      for (int64_t i = task.i; i < task.i_end; ++i) {
        const int64_t row = first_row(i);
        t.rows = static_cast<int>(first_row(i + 1) - row);
        if (in_place) {
          t.a = reinterpret_cast<const float*>(x.a + row * x.rs_a + block.pc);
          t.rs_a = x.rs_a / 2;
          t.cs_a = 1;
        } else {
          t.a = packed_row(packed, task, block, row);
          t.rs_a = 1;
          t.cs_a = t.rows;
        }
        if (buffers.sums) t.sums = buffers.sums + (row - first_row(begin)) * buffers.rs_sums + column;
        const int64_t place = row * x.rs_c + (block.jc + column) * x.cs_c;
        if (x.floats) {
          t.floats = x.floats + place;
        } else {
          t.c = x.c + place;
        }
        kernels_.run(t);
      }
    }
  }

  static const uint16_t* bits(const BFloat16* p) { return reinterpret_cast<const uint16_t*>(p); }

  const Call& call_;
  const StoredPairs& kernels_;
  int64_t m_, n_, k_;
  int mr_, nr_;          // of a tile
  int64_t kc_;           // pairs along k of a block
  int64_t nc_;           // columns of a block
  int64_t panels_a_;     // all panels of a: m split evenly
  int64_t mc_panels_;    // the panels of a of a task
  int64_t jr_ways_ = 1;  // into how many tasks the panels of b of a block are divided
};

}  // namespace ranvier
