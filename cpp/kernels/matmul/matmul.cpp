// matmul's loops, blind to the ISA: the five loops of Goto and van de Geijn, "Anatomy of High-Performance
// Matrix Multiplication" (2008), in the notation of BLIS: jc, pc, ic over blocks, jr, ir over tiles.
#include "kernels/matmul/matmul.h"

#include <algorithm>

#include "base/parallel.h"
#include "kernels/matmul/plan.h"

namespace ranvier {
namespace {

constexpr int64_t kPieces = 4;  // in which a strip of b is packed

// The threads that work on one product: all of the team, or each alone on products of its own.
struct Crew {
  int index, size;
  void barrier() const {
    if (size > 1) team_barrier();
  }
};

// Columns [jc, jc + n) and products [pc, pc + k): n in strips of b.
struct Block {
  int64_t jc, n, pc, k, strips;
};

template <class T>
struct Product {
  const MatmulPlan<T>& plan;
  const MatmulKernels<T>& kernels;
  const Operands<T>& o;
  Crew crew;
  T* packed_b;  // all strips of a block, shared by the crew; or a group of them, this thread's
  T* packed_a;  // a run of panels, this thread's

  Block block(int64_t jc, int64_t pc) const {
    const int64_t n = std::min(kernels.nc, o.n - jc);
    return {jc, n, pc, std::min(plan.k_block, o.k - pc), ceil_div(n, plan.nr)};
  }

  // In pieces of a strip, so that the team's shares are even when there are few strips.
  void pack_shared(int64_t jc, int64_t pc, int64_t blocks, int64_t strips) {
    const int64_t pieces = blocks * strips * kPieces;
    for (int64_t u = pieces * crew.index / crew.size; u < pieces * (crew.index + 1) / crew.size; ++u) {
      const int64_t l = u / (strips * kPieces), j = u / kPieces % strips;
      const Block x = block(jc, pc + l * plan.k_block);
      if (packs(x, j)) pack_piece(x, j, u % kPieces, packed_strip(x, j, 0, l));
    }
  }

  // The tiles of a's first panel, which pack b. A thread takes whole strips: it adds up all blocks of a tile.
  void first_panel(int64_t jc, int64_t pc, int64_t blocks, int64_t strips) {
    for (int64_t l = 0; l < blocks; ++l) {
      const Block x = block(jc, pc + l * plan.k_block);
      pack_panels(x, 0, 1);
      for (int64_t j = strips * crew.index / crew.size; j < strips * (crew.index + 1) / crew.size; ++j) {
        if (!fuses(x, j, 0)) pack_strip(x, j, packed_strip(x, j, 0, l));
        sweep(x, j, j + 1, 0, l, 0, 1);
      }
    }
  }

  // Some blocks of k, as many as the packed b has room for. b is packed once for the whole crew, whose
  // threads then take groups of strips times runs of a's panels, and wait for nobody.
  void shared_blocks(int64_t jc, int64_t pc, int64_t blocks) {
    const bool packs_b = plan.pack_b || plan.ragged_b;
    const int64_t strips = block(jc, pc).strips, done = plan.fused ? 1 : 0;
    if (packs_b) {
      plan.fused ? first_panel(jc, pc, blocks, strips) : pack_shared(jc, pc, blocks, strips);
      crew.barrier();
    }
    const int64_t panels = plan.panels - done, groups = plan.groups(strips, crew.size);
    int64_t unit = groups * panels * crew.index / crew.size;
    const int64_t end = groups * panels * (crew.index + 1) / crew.size;
    while (unit < end) {
      const int64_t g = unit / panels, i = unit % panels + done;
      const int64_t count =
          std::min({plan.panels - i, end - unit, std::max<int64_t>(kernels.mc / plan.rows, 1)});
      const int64_t first = strips * g / groups, last = strips * (g + 1) / groups;
      for (int64_t l = 0; l < blocks; ++l) {
        const Block x = block(jc, pc + l * plan.k_block);
        pack_panels(x, i, i + count);
        for (int64_t j = first; j < last; j += kernels.strips)
          sweep(x, j, std::min(j + kernels.strips, last), 0, l, i, i + count);
      }
      unit += count;
    }
    const bool again = pc + blocks * plan.k_block < o.k || jc + kernels.nc < o.n;
    if (packs_b && again) crew.barrier();  // before the strips are overwritten
  }

  // The same where a has few panels: each thread packs a group of strips, uses it at once and forgets it.
  void private_block(const Block& x) {
    pack_panels(x, 0, plan.panels);
    const int64_t first = x.strips * crew.index / crew.size, last = x.strips * (crew.index + 1) / crew.size;
    for (int64_t g = first; g < last; g += plan.group) {
      const int64_t end = std::min(g + plan.group, last);
      for (int64_t j = g; j < end; ++j)
        if (packs(x, j) && !fuses(x, j, 0)) pack_strip(x, j, packed_strip(x, j, g, 0));
      sweep(x, g, end, g, 0, 0, plan.panels);
    }
  }

  bool packs(const Block& x, int64_t j) const { return plan.pack_b || (plan.ragged_b && j == x.strips - 1); }

  // Is strip j packed by its tile of panel i?
  bool fuses(const Block& x, int64_t j, int64_t i) const {
    return plan.fused && i == 0 && x.n - j * plan.nr >= plan.nr;
  }

  // Strip j of the l-th block, where `first` is the first that is packed.
  T* packed_strip(const Block& x, int64_t j, int64_t first, int64_t l) const {
    T* block = packed_b + l * plan.size_block;
    return plan.pack_b ? block + (j - first) * plan.nr * x.k : block;
  }

  // One of kPieces parts of strip j, in whole squares of the widest transposition.
  void pack_piece(const Block& x, int64_t j, int64_t piece, T* to) {
    const int64_t length = round_up(ceil_div(x.k, kPieces), 16), p = piece * length;
    if (p >= x.k) return;
    const int64_t column = j * plan.nr;
    const int columns = static_cast<int>(std::min<int64_t>(plan.nr, x.n - column)),
              width = plan.width(columns);
    kernels.pack(std::min(length, x.k - p), columns, width,
                 o.b + (x.pc + p) * o.rs_b + (x.jc + column) * o.cs_b, o.rs_b, o.cs_b, to + p * width);
  }

  void pack_strip(const Block& x, int64_t j, T* to) {
    for (int64_t piece = 0; piece < kPieces; ++piece) pack_piece(x, j, piece, to);
  }

  void pack_panels(const Block& x, int64_t i0, int64_t i1) {
    if (!plan.pack_a) return;
    for (int64_t i = i0; i < i1; ++i) {
      const int64_t row = plan.row(i);
      const int rows = static_cast<int>(plan.row(i + 1) - row);
      kernels.pack(x.k, rows, rows, o.a + row * o.rs_a + x.pc * o.cs_a, o.cs_a, o.rs_a,
                   packed_a + (i - i0) * plan.rows * x.k);
    }
  }

  // The strips [j0, j1) of b against the panels [i0, i1) of a: each panel stays in L1 while the strips pass.
  void sweep(const Block& x, int64_t j0, int64_t j1, int64_t first_packed, int64_t l, int64_t i0,
             int64_t i1) {
    MatmulTile<T> t;
    t.k = x.k;
    t.rs_c = o.rs_c, t.cs_c = o.cs_c;
    t.accumulate = x.pc > 0;
    t.last = x.pc + x.k == o.k;
    t.activate = o.activate, t.alpha = o.alpha, t.beta = o.beta;
    t.rs_s = o.rs_s, t.cs_s = o.cs_s;
    for (int64_t i = i0; i < i1; ++i) {
      const int64_t row = plan.row(i);
      t.rows = static_cast<int>(plan.row(i + 1) - row);
      if (plan.pack_a)
        t.a = packed_a + (i - i0) * plan.rows * x.k, t.rs_a = 1, t.cs_a = t.rows;
      else
        t.a = o.a + row * o.rs_a + x.pc * o.cs_a, t.rs_a = o.rs_a, t.cs_a = o.cs_a;
      t.bias_column = o.bias_column ? o.bias_column + row : nullptr;
      for (int64_t j = j0; j < j1; ++j) {
        const int64_t column = x.jc + j * plan.nr;
        t.columns = static_cast<int>(std::min<int64_t>(plan.nr, x.n - j * plan.nr));
        const bool packing = fuses(x, j, i);
        t.packed = packing ? packed_strip(x, j, first_packed, l) : nullptr;
        if (packs(x, j) && !packing)
          t.b = packed_strip(x, j, first_packed, l), t.rs_b = plan.width(t.columns);
        else
          t.b = o.b + x.pc * o.rs_b + column, t.rs_b = o.rs_b;
        t.bias_row = o.bias_row ? o.bias_row + column : nullptr;
        t.c = o.c + row * o.rs_c + column * o.cs_c;
        t.saved = o.saved ? o.saved + row * o.rs_s + column * o.cs_s : nullptr;
        kernels.tile(t);
      }
    }
  }

  // The crew splits the columns.
  void run_dots() {
    const int64_t first = o.n * crew.index / crew.size, last = o.n * (crew.index + 1) / crew.size;
    MatmulTile<T> t{};
    t.k = o.k, t.rows = static_cast<int>(o.m), t.columns = static_cast<int>(last - first);
    t.a = o.a, t.rs_a = o.rs_a;
    t.b = o.b + first * o.cs_b, t.rs_b = o.cs_b;
    t.c = o.c + first * o.cs_c, t.rs_c = o.rs_c, t.cs_c = o.cs_c;
    t.bias_row = o.bias_row ? o.bias_row + first : nullptr;
    t.bias_column = o.bias_column;
    t.activate = o.activate, t.alpha = o.alpha, t.beta = o.beta;
    t.saved = o.saved ? o.saved + first * o.cs_s : nullptr, t.rs_s = o.rs_s, t.cs_s = o.cs_s;
    kernels.dots(t);
  }

  // The crew splits the columns, by whole vectors.
  void run_stream() {
    const int64_t vectors = ceil_div(o.n, kernels.lanes);
    const int64_t first = vectors * crew.index / crew.size * kernels.lanes;
    const int64_t last = std::min(vectors * (crew.index + 1) / crew.size * kernels.lanes, o.n);
    MatmulTile<T> t{};
    t.rows = static_cast<int>(o.m);
    t.rs_a = o.rs_a, t.cs_a = o.cs_a, t.rs_b = o.rs_b, t.rs_c = o.rs_c, t.cs_c = o.cs_c;
    t.bias_column = o.bias_column;
    t.activate = o.activate, t.alpha = o.alpha, t.beta = o.beta;
    t.rs_s = o.rs_s, t.cs_s = o.cs_s;
    const int64_t most = kernels.stream_columns(t.rows);
    for (int64_t pc = 0; pc < o.k; pc += plan.k_block) {
      t.k = std::min(plan.k_block, o.k - pc);
      t.a = o.a + pc * o.cs_a;
      t.accumulate = pc > 0, t.last = pc + t.k == o.k;
      for (int64_t j = first; j < last; j += most) {
        t.columns = static_cast<int>(std::min(most, last - j));
        t.b = o.b + pc * o.rs_b + j;
        t.c = o.c + j * o.cs_c;
        t.bias_row = o.bias_row ? o.bias_row + j : nullptr;
        t.saved = o.saved ? o.saved + j * o.cs_s : nullptr;
        kernels.stream(t);
      }
    }
  }

  void run() {
    if (plan.dots) return run_dots();
    if (plan.stream) return run_stream();
    for (int64_t jc = 0; jc < o.n; jc += kernels.nc) {
      int64_t pc = 0;
      do {  // once also for k = 0, which leaves the bias
        const int64_t left = std::max<int64_t>(ceil_div(o.k - pc, plan.k_block), 1);
        const int64_t blocks = std::min(plan.blocks, left);
        plan.private_b ? private_block(block(jc, pc)) : shared_blocks(jc, pc, blocks);
        pc += blocks * plan.k_block;
      } while (pc < o.k);
    }
  }
};

}  // namespace

template <class T>
size_t Matmul<T>::workspace_bytes(int team) const {
  return MatmulPlan<T>(*this).workspace_bytes(team);
}

template <class T>
void Matmul<T>::run(void* workspace) const {
  const int64_t batch = c.shape[0], m = c.shape[1], n = c.shape[2], k = a.shape[2];
  if (batch == 0 || m == 0 || n == 0) return;
  const MatmulPlan<T> plan(*this);
  const MatmulKernels<T>& kernels = matmul_kernels<T>();
  parallel_region(kMatmulNsPerProduct * batch * m * n * std::max<int64_t>(k, 1), [&] {
    const int index = team_index(), size = team_size();
    const bool alone = batch >= size;  // each thread takes products of its own
    const MatmulBuffers<T> buffers = plan.buffers(workspace, index, alone, size);
    const T* dense_bias = plan.dense_bias(*this, workspace, index);
    const Crew crew = alone ? Crew{0, 1} : Crew{index, size};
    const int64_t first = alone ? batch * index / size : 0, last = alone ? batch * (index + 1) / size : batch;
    for (int64_t i = first; i < last; ++i) {
      if (i > first) crew.barrier();  // before the packed b is overwritten
      const Operands<T> operands = plan.operands(*this, i, dense_bias);
      Product<T>{plan, kernels, operands, crew, buffers.b, buffers.a}.run();
    }
  });
}

template struct Matmul<float>;
template struct Matmul<double>;

}  // namespace ranvier
