// Matmul::run, and the loops around the micro-kernel, independent of the ISA: those of Goto and van de Geijn,
// "Anatomy of High-Performance Matrix Multiplication" (2008), in BLIS's words (plan.h), where jc and pc are
// the first column and the first product of a block. MatmulPlan (plan.h) decides what is packed and how the
// threads share the work.
#include "kernels/matmul/matmul.h"

#include <algorithm>

#include "base/parallel.h"
#include "kernels/matmul/plan.h"
#include "kernels/matmul/unfit.h"
#include "kernels/matmul/ways.h"

namespace ranvier {
namespace {

// Columns [jc, jc + n) of b, divided into `panels_b` panels, and the products [pc, pc + k) along k.
struct Block {
  int64_t jc, n, pc, k, panels_b;
};

template <class T>
struct Product {
  const MatmulPlan<T>& plan;
  const MatmulKernels<T>& kernels;
  const Operands<T>& o;
  const OpenTeam& team;  // the threads that work on this product
  T* packed_b;           // packed panels of b, shared by the team or of this thread: see Sharing in plan.h
  T* packed_a;           // packed panels of this thread
  bool added;            // true if the product is added to what is in c
  uint8_t* unfit;        // this thread's flag for each row of c, see unfit.h; or null

  // The team packs all panels of b of a block: a thread takes pieces of them, so that the shares are even
  // when there are few. Of elements that are pairs (pairs.h), a thread takes some rows of all panels of b.
  void pack_together(const Block& x) {
    if (kernels.pairs && o.cs_b == 1) {
      const int64_t rows = rows_of_pairs();
      const int64_t groups = ceil_div(x.k, rows);
      const int64_t end = std::min(team.share_end(groups) * rows, x.k);
      return pack_b(x, 0, x.panels_b, -1, team.share_begin(groups) * rows, end);
    }
    const int64_t pieces = x.panels_b * kPieces;
    for (int64_t u = team.share_begin(pieces); u < team.share_end(pieces); ++u)
      if (packs(x, u / kPieces))
        pack_piece_of_b(x, u / kPieces, u % kPieces, packed_panel_b(x, u / kPieces, 0));
  }

  // Runs the tiles of the first panel of a; tiles of full width also pack b while they read it.
  void run_first_panel_a(const Block& x) {
    pack_a(x, 0, 1);
    for (int64_t j = team.share_begin(x.panels_b); j < team.share_end(x.panels_b); ++j) {
      if (!fuses(x, j, 0)) pack_rows(x, j, 0, x.k, packed_panel_b(x, j, 0));
      macro_kernel(x, j, j + 1, 0, 0, 1);
    }
  }

  // Runs the tiles [begin, end), numbered by panel of a. Whole panels of a are taken plan.panels_a_in_l2 at a
  // time, which stay in L2, against plan.panels_b_in_l2 panels of b at a time.
  void run_tiles(const Block& x, int64_t begin, int64_t end) {
    for (int64_t u = begin; u < end;) {
      const int64_t i = u / x.panels_b;
      const int64_t j = u - i * x.panels_b;
      if (j > 0 || end - u < x.panels_b) {  // a part of a panel of a
        const int64_t last = std::min(x.panels_b, j + end - u);
        pack_a(x, i, i + 1);
        macro_kernel(x, j, last, 0, i, i + 1);
        u += last - j;
        continue;
      }
      const int64_t count = std::min((end - u) / x.panels_b, plan.panels_a_in_l2);
      pack_a(x, i, i + count);
      for (int64_t g = 0; g < x.panels_b; g += plan.panels_b_in_l2)
        macro_kernel(x, g, std::min(g + plan.panels_b_in_l2, x.panels_b), 0, i, i + count);
      u += count * x.panels_b;
    }
  }

  // How many tiles a thread takes at a time: a third of panels_a_in_l2, where each thread has at least four
  // times as many panels, otherwise its even share. It is also the even share where there are several blocks
  // and the threads do not wait between them, since a thread must then add to the same tiles in each block.
  int64_t tiles_at_once(const Block& x, int64_t all) const {
    const int64_t panels = std::min(plan.panels_a_in_l2, plan.panels_a);
    const int64_t third = ceil_div(panels, 3) * x.panels_b;
    const bool one_block = x.k == o.k && x.n == o.n;
    if (all < 4 * team.size() * panels * x.panels_b || (plan.sharing != Sharing::one && !one_block))
      return std::max<int64_t>(all, 1);
    return ceil_div(Chunks::size(team, all), third) * third;
  }

  // Runs all tiles of a block. Either the team packs b and then waits, or each thread packs it for itself.
  void tiles(const Block& x) {
    const bool packs_b = plan.pack_b || plan.ragged_b;
    const bool together = plan.sharing == Sharing::one;
    if (plan.fused)
      run_first_panel_a(x);
    else if (packs_b && together)
      pack_together(x);
    else if (packs_b)
      for (int64_t j = 0; j < x.panels_b; ++j)
        if (packs(x, j)) pack_rows(x, j, 0, x.k, packed_panel_b(x, j, 0));
    if (together) team.barrier();
    const int64_t done = plan.fused ? x.panels_b : 0;
    const int64_t all = plan.panels_a * x.panels_b - done;
    for (Chunks c(team, all, tiles_at_once(x, all)); c.next() && !interrupted(team);)
      run_tiles(x, done + c.begin, done + c.end);
    const bool again = x.pc + x.k < o.k || x.jc + x.n < o.n;
    if (together && again) team.barrier();  // the next block overwrites the panels of b
  }

  // Sharing::columns: runs this thread's columns of a block, whole vectors, and packs some panels of b just
  // before they are used. Where there are few columns, several threads take the same ones and divide the
  // panels of a. Each share has at least two vectors, and as many threads (`sharers`) as any other; with one
  // panel of a there is nothing to divide, and each thread has columns of its own.
  void own_columns(const Block& all) {
    const int64_t vectors = ceil_div(all.n, kernels.lanes);
    int shares = team.size();
    while (plan.panels_a > 1 && shares > 1 && (team.size() % shares != 0 || 2 * shares > vectors)) --shares;
    const int sharers = team.size() / shares;
    const int index = team.index() / sharers;
    const int sharer = team.index() % sharers;
    const auto share_begin = [&](int64_t i) {
      const int64_t column = vectors * i / shares * kernels.lanes;
      const bool within = 0 < i && i < shares;
      // Where a last panel overlaps the one before it, a share has at least a vector of columns.
      const int64_t most = plan.overlaps && within ? all.n - kernels.lanes : all.n;
      return std::min(column, most);
    };
    const int64_t first = share_begin(index);
    const int64_t last = share_begin(index + 1);
    const int64_t begin = plan.panels_a * sharer / sharers;
    const int64_t end = plan.panels_a * (sharer + 1) / sharers;
    if (first >= last || begin == end) return;
    const Block x{all.jc + first, last - first, all.pc, all.k, plan.panels_b_of(last - first)};
    pack_a(x, begin, end);
    for (int64_t g = 0; g < x.panels_b; g += plan.panels_b_in_l2) {
      const int64_t h = std::min(g + plan.panels_b_in_l2, x.panels_b);
      pack_b(x, g, h, begin, 0, x.k);
      if (plan.one_by_one) {
        pass(x, g, begin, end);
      } else {
        macro_kernel(x, g, h, g, begin, end);
      }
    }
  }

  // The first column of panel j of b. With plan.overlaps, a last panel of b of fewer than plan.least columns
  // takes the missing ones from the one before.
  int64_t column(const Block& x, int64_t j) const {
    if (j == x.panels_b) return x.n;
    const int64_t first = j * plan.nr;
    return plan.overlaps && j > 0 ? std::min(first, x.n - plan.least) : first;
  }

  int columns(const Block& x, int64_t j) const { return static_cast<int>(column(x, j + 1) - column(x, j)); }

  bool packs(const Block& x, int64_t j) const {
    return plan.pack_b ||
           (plan.ragged_b && j == x.panels_b - 1 && columns(x, j) != plan.width(columns(x, j)));
  }

  // True if panel j of b is packed by its tile of panel i of a.
  bool fuses(const Block& x, int64_t j, int64_t i) const {
    return plan.fused && i == 0 && columns(x, j) == plan.nr;
  }

  // Where panel j of b is packed, in a buffer that begins with panel `first`.
  T* packed_panel_b(const Block& x, int64_t j, int64_t first) const {
    return plan.pack_b ? packed_b + (j - first) * plan.nr * x.k : packed_b;
  }

  // Packs one of kPieces parts of panel j of b: a multiple of 16 rows, the side of the widest transposition.
  void pack_piece_of_b(const Block& x, int64_t j, int64_t piece, T* to) {
    const int64_t length = round_up(ceil_div(x.k, kPieces), std::max(kernels.step, 16));
    const int64_t p = piece * length;
    if (p < x.k) pack_rows(x, j, p, std::min(length, x.k - p), to);
  }

  // Packs the rows [p, p + k) of panel j of b; `to` is where its row 0 is packed.
  void pack_rows(const Block& x, int64_t j, int64_t p, int64_t k, T* to) {
    if (interrupted(team)) return;
    const int n = columns(x, j);
    const int width = plan.width(n);
    const T* from = o.b + (x.pc + p) * o.rs_b + (x.jc + column(x, j)) * o.cs_b;
    kernels.pack(k, n, width, from, o.rs_b, o.cs_b, to + p * width, missing(x.pc + p + k));
  }

  // The factors that the last element before row `end` of b (or column of a) lacks: see MatmulKernels.
  int missing(int64_t end) const { return end == o.k ? o.missing : 0; }
  int64_t rows_of_pairs() const { return std::max<int64_t>(kRowsOfPairs, kernels.step); }

  // Packs the rows [begin, end) of the panels of b [j0, j1), except those that the tiles of `panel_a` pack.
  // If b is of pairs and larger than L2, it packs a few rows of all panels of b at a time, since each is on
  // another page.
  void pack_b(const Block& x, int64_t j0, int64_t j1, int64_t panel_a, int64_t begin, int64_t end) {
    const bool far = o.cs_b == 1 && o.k * std::abs(o.rs_b) * int64_t{sizeof(T)} > caches.l2;
    const int64_t rows = kernels.pairs && far ? rows_of_pairs() : std::max<int64_t>(end - begin, 1);
    for (int64_t p = begin; p < end; p += rows)
      for (int64_t j = j0; j < j1; ++j)
        if (packs(x, j) && !fuses(x, j, panel_a))
          pack_rows(x, j, p, std::min(rows, end - p), packed_panel_b(x, j, j0));
  }

  // Where panel i of a is packed, in a buffer that begins with panel `first`.
  T* packed_panel_a(const Block& x, int64_t i, int64_t first) const {
    return packed_a + (plan.row(i) - plan.row(first)) * x.k;
  }

  void pack_a(const Block& x, int64_t i0, int64_t i1) {
    if (!plan.pack_a || interrupted(team)) return;
    const bool across = o.rs_a == 1 && o.cs_a != 1;
    const int64_t step = across ? std::max<int64_t>(kTogether, kernels.step) : std::max<int64_t>(x.k, 1);
    for (int64_t p = 0; p < x.k; p += step)
      for (int64_t i = i0; i < i1; ++i) {
        const int64_t row = plan.row(i);
        const int rows = static_cast<int>(plan.row(i + 1) - row);
        const int64_t k = std::min(step, x.k - p);
        const T* from = o.a + row * o.rs_a + (x.pc + p) * o.cs_a;
        T* to = packed_panel_a(x, i, i0) + p * rows;
        // Panels of a are packed as those of its transpose, [k][row].
        kernels.pack_rows(k, rows, rows, from, o.cs_a, o.rs_a, to, missing(x.pc + p + k));
      }
  }

  // True if the epilogue follows the sums of this block, which is then the last one along k.
  bool finishes(const Block& x) const { return x.pc + x.k == o.k && !o.after.is_empty(); }

  // A tile with the values that are the same for all tiles of a block.
  MatmulTile<T> any_tile(const Block& x) const {
    MatmulTile<T> t{};
    t.k = x.k;
    t.tree = plan.part > 0;
    t.chain_length = t.tree ? plan.part : plan.chain_length;
    t.rs_c = o.rs_c;
    t.cs_c = o.cs_c;
    t.accumulate = added || x.pc > 0;
    t.fetch.c = plan.fetch_c;
    t.swapped = kernels.tiles && plan.transposed;
    return t;
  }

  // Sets where t reads panel i of a; the packed panels of a begin with panel `first`.
  void place_a(const Block& x, int64_t i, int64_t first, MatmulTile<T>& t) const {
    const int64_t row = plan.row(i);
    t.rows = static_cast<int>(plan.row(i + 1) - row);
    if (plan.pack_a) {
      t.a = packed_panel_a(x, i, first);
      t.rs_a = 1;
      t.cs_a = t.rows;
    } else {
      t.a = o.a + row * o.rs_a + x.pc * o.cs_a;
      t.rs_a = o.rs_a;
      t.cs_a = o.cs_a;
    }
  }

  // Sets where t reads panel j of b and stores c, for the tile of panel i of a.
  void place_b(const Block& x, int64_t i, int64_t j, int64_t first_packed, MatmulTile<T>& t) const {
    const int64_t row = plan.row(i);
    const int64_t column = x.jc + this->column(x, j);
    const bool packing = fuses(x, j, i);
    t.columns = columns(x, j);
    t.pack_to = packing ? packed_panel_b(x, j, first_packed) : nullptr;
    if (packs(x, j) && !packing) {
      t.b = packed_panel_b(x, j, first_packed);
      t.rs_b = plan.width(t.columns);
    } else if (plan.prepacked) {
      t.rs_b = plan.width(t.columns);
      t.b = o.packed + column * o.k + x.pc * t.rs_b;
    } else {
      t.b = o.b + x.pc * o.rs_b + column;
      t.rs_b = o.rs_b;
    }
    t.c = o.c + row * o.rs_c + column * o.cs_c;
    if (finishes(x)) {
      t.after = o.after;
      t.after.move(row, column);
    }
    const int64_t row_of_c = plan.transposed ? column : row;
    if (unfit) t.unfit = unfit + row_of_c;
  }

  // Runs the tiles of the panels of b [j0, j1) and the panels of a [i0, i1); one call of the kernel runs
  // several tiles if `plain` (MatmulTile). first_packed: the panel of b at the start of the packed ones.
  void macro_kernel(const Block& x, int64_t j0, int64_t j1, int64_t first_packed, int64_t i0, int64_t i1) {
    MatmulTile<T> t = any_tile(x);
    const bool plain = o.cs_c == 1 && !finishes(x);
    // Few panels of b: one call runs a panel of b with `near` panels of a, as many as stay in L1 (`bytes`: of
    // one). Not where a is prefetched panel by panel: for several panels of b with k above kNearProducts.
    const int64_t bytes = std::max<int64_t>(x.k, 1) * plan.mr * static_cast<int64_t>(sizeof(T));
    const int64_t near = x.panels_b == 1 ? i1 - i0 : caches.l1 / 2 / bytes;
    if (x.panels_b <= kFewPanelsB && near >= x.panels_b && plain && !t.accumulate && !fuses(x, j0, i0) &&
        (!plan.fetch_a || x.panels_b == 1 || x.k <= kNearProducts)) {
      const int64_t ahead = x.panels_b == 1 ? 1 : near;
      for (int64_t i = i0; i < i1; i += near)
        for (int64_t j = j0; j < j1; ++j) {
          if (plan.fetch_a) fetch_rows(x, j, ahead, t);
          run_panels_a(x, j, first_packed, i0, i, std::min(i + near, i1), t);
        }
      return;
    }
    // whole: the first panels of b, all of nr columns. If the last has fewer, the one before it may, too, as
    // plan.overlaps gives some of its columns to the last.
    const bool even = columns(x, x.panels_b - 1) == plan.nr;
    const int64_t whole = even ? x.panels_b : column(x, x.panels_b - 1) / plan.nr;
    int64_t column_step = plan.pack_b ? x.k : 1;  // elements of b from column to column, across panels
    if (plan.prepacked) column_step = o.k;
    t.step_b = plan.nr * column_step;
    t.step_c = plan.nr;
    for (int64_t i = i0; i < i1 && !interrupted(team); ++i) {
      place_a(x, i, i0, t);
      for (int64_t j = j0; j < j1; j += 1 + t.more) {
        place_b(x, i, j, first_packed, t);
        t.fetch.a = 0;
        if (plan.fetch_a) fetch_rows(x, j, 1, t);
        if (plan.fetch_b) fetch_panel(x, j + j1 - j0, i - i0 - 1, i1 - i0 - 1, t);
        const bool more = plain && !t.fetch.a && !t.pack_to && j < whole;
        t.more = more ? static_cast<int>(std::min(j1, whole) - j - 1) : 0;
        kernels.micro_kernel(t);
      }
    }
  }

  // Runs panel j of b with the panels of a [i0, i1). The first panel of a may pack it. The first two panels
  // that do not pack it prefetch the next panel of b, half of the rows each.
  void pass(const Block& x, int64_t j, int64_t i0, int64_t i1) {
    MatmulTile<T> t = any_tile(x);
    const bool in_one = o.cs_c == 1 && !finishes(x) && !t.accumulate;
    const T* next = j + 1 < x.panels_b ? o.b + x.pc * o.rs_b + x.jc + column(x, j + 1) : nullptr;
    const int64_t first = i0 + fuses(x, j, i0);
    const int64_t end = std::min(first + 2, i1);
    for (int64_t i = i0; i < i1 && !interrupted(team); ++i) {
      const bool fetches = next && first <= i && i < end;
      t.fetch.b = fetches ? next + (i - first) * (x.k / 2) * o.rs_b : nullptr;
      t.fetch.rs_b = o.rs_b;
      if (in_one && i >= first) {
        run_panels_a(x, j, j, i0, i, end, t);
        t.fetch.b = nullptr;
        return run_panels_a(x, j, j, i0, end, i1, t);
      }
      place_a(x, i, i0, t);
      place_b(x, i, j, j, t);
      kernels.micro_kernel(t);
    }
  }

  // Runs panel j of b with the panels of a [i, i1), where nothing follows the sums: panels of the same number
  // of rows are one call of the kernel. Panel i0 is the first that is packed.
  __attribute__((noinline)) void run_panels_a(const Block& x, int64_t j, int64_t first_packed, int64_t i0,
                                              int64_t i, int64_t i1, MatmulTile<T> t) {
    // most: panels of a between two checks for an interrupt.
    const int64_t most = std::max(kDotProducts / (std::max<int64_t>(x.k, 1) * plan.mr * plan.nr), int64_t{1});
    for (; i < i1 && !interrupted(team); i += 1 + t.more) {
      place_a(x, i, i0, t);
      place_b(x, i, j, first_packed, t);
      t.more = static_cast<int>(plan.end_alike(i, std::min(i1, i + most)) - i - 1);
      const int64_t row_step = plan.pack_a ? x.k : o.rs_a;  // elements of a from row to row, across panels
      t.step_a = t.rows * row_step;
      t.step_c = t.rows * t.rs_c;
      kernels.micro_kernel(t);
    }
  }

  // Sets that a tile of a later panel of a prefetches part `part` of `parts` of a packed panel j of b. The
  // first panel of a reads what the tiles before it have prefetched.
  void fetch_panel(const Block& x, int64_t j, int64_t part, int64_t parts, MatmulTile<T>& t) const {
    t.fetch.b = nullptr;
    if (part < 0 || j >= x.panels_b) return;
    const int64_t columns = plan.width(this->columns(x, j));
    const T* const panel = o.packed + (x.jc + column(x, j)) * o.k + x.pc * columns;
    t.fetch.b = panel + x.k * part / parts * columns;
    t.fetch.a = static_cast<int>(ceil_div(columns, parts));
    t.fetch.gap_a = 0;
  }

  // Sets that tiles of the first panel of b prefetch the panel of a that is `ahead` panels further.
  void fetch_rows(const Block& x, int64_t j, int64_t ahead, MatmulTile<T>& t) const {
    t.fetch.panels = static_cast<int16_t>(ahead);
    t.fetch.a = 0;
    t.fetch.gap_a = 0;
    if (j == 0 && x.k > 0) plan.fetch_rows(o.rs_a, x.k, t.fetch);
  }

  void run() {
    for (int64_t jc = 0; jc < o.n; jc += plan.nc) {
      const int64_t n = std::min(plan.nc, o.n - jc);
      int64_t pc = 0;
      do {  // once also for k = 0, where c is f(bias)
        const Block x{jc, n, pc, std::min(plan.kc, o.k - pc), plan.panels_b_of(n)};
        if (plan.sharing == Sharing::columns) {
          own_columns(x);
        } else {
          tiles(x);
        }
        pc += plan.kc;
      } while (pc < o.k);
    }
  }
};

}  // namespace

template <class T>
void Matmul<T>::run(const Team& team, void* workspace) const {
  const int64_t batch = c.shape[0];
  const int64_t m = c.shape[1];
  const int64_t n = c.shape[2];
  const int64_t k = a.shape[2];
  if (batch == 0 || m == 0 || n == 0) return;
  const MatmulKernels<T>& kernels = this->kernels();
  const MatmulWay way = way_without_plan(*this, kernels);
  switch (way) {
    case MatmulWay::small:
      return team.region(m > kSmallSide ? serial_ns(kernels, m, n, k) : 0, [&](const OpenTeam& team) {
        MatmulRows<T> t = rows_of(*this);
        run_small(team, kernels, t);
      });
    case MatmulWay::packed_rows:
      return team.parallel_for(1, 0, [&](int64_t) { run_packed_rows(kernels, *this); });
    case MatmulWay::dots:
    case MatmulWay::few_rows:
      return team.region(serial_ns(kernels, m, n, k), [&](const OpenTeam& team) {
        const bool few_rows = way == MatmulWay::few_rows;
        const bool transposed = !few_rows && n < m;
        MatmulRows<T> t = rows_of(*this, transposed);
        run_along_k(team, kernels, t, transposed ? m : n, few_rows);
      });
    default:
      break;
  }
  team.region(serial_ns(kernels, batch * m, n, std::max<int64_t>(k, 1)), [&](const OpenTeam& team) {
    const int index = team.index();
    const int size = team.size();
    const bool alone = batch >= size;  // each thread takes its own products
    const TileScope scope;
    const MatmulPlan<T> plan(*this, alone ? 1 : size);
    if (plan.way == MatmulWay::stack)
      return run_stack(team, kernels, plan, *this, batch * index / size, batch * (index + 1) / size);
    if (plan.way == MatmulWay::small_batch) return run_small_batch(team, kernels, *this);
    void* const planned = static_cast<char*>(workspace) + UnfitRows<T>::bytes(*this, size);
    const MatmulBuffers<T> buffers = plan.buffers(planned, index, alone, size);
    const T* dense_bias = plan.dense_bias(*this, planned, index);
    const UnfitRows<T> unfit(*this, alone ? team.alone() : team, alone ? index : 0, workspace);
    each_product(team, batch, [&](const OpenTeam& team, int64_t i) {
      const Operands<T> o = plan.operands(*this, i, dense_bias);
      uint8_t* const flags = unfit.clear();
      switch (plan.way) {
        case MatmulWay::dots:
        case MatmulWay::few_rows: {
          MatmulRows<T> t = rows_of(o);
          return run_along_k(team, kernels, t, o.n, plan.way == MatmulWay::few_rows);
        }
        case MatmulWay::gemv:
          run_gemv(team, kernels, o, plan.chain_length, added, flags);
          break;
        default:
          Product<T>{plan, kernels, o, team, buffers.b, buffers.a, added, flags}.run();
      }
      unfit.compute(i);
    });
  });
}

template <class T>
size_t Matmul<T>::workspace_bytes(int threads) const {
  return way_without_plan(*this, kernels()) == MatmulWay::tiles ? plan_bytes(threads) : 0;
}

template <class T>
size_t Matmul<T>::plan_bytes(int threads) const {
  if (numel(c) == 0) return 0;  // a plan divides by the sizes of c
  return UnfitRows<T>::bytes(*this, threads) + MatmulPlan<T>(*this, threads).workspace_bytes(threads);
}

RANVIER_INSTANTIATE(Matmul);

}  // namespace ranvier
