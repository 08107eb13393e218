// matmul's loops, blind to the ISA: the five loops of Goto and van de Geijn, "Anatomy of High-Performance
// Matrix Multiplication" (2008), in the notation of BLIS: jc, pc, ic over blocks, jr, ir over tiles.
#include "kernels/matmul/matmul.h"

#include <algorithm>

#include "base/parallel.h"
#include "kernels/matmul/plan.h"

namespace ranvier {
namespace {

// The threads that work on one product: all of the team, or each alone on products of its own.
struct Crew {
  int index, size;
  void barrier() const {
    if (size > 1) team_barrier();
  }
};

template <class T>
struct Product {
  const MatmulPlan<T>& plan;
  const MatmulKernels<T>& kernels;
  const Operands<T>& o;
  Crew crew;
  T* packed_b;  // kc x (nc rounded up to nr), shared by the crew; or kc x nr, this thread's
  T* packed_a;  // mc x kc, this thread's

  // One block of k by one panel of n, where b is packed once for the whole crew.
  void shared_block(int64_t jc, int64_t n, int64_t pc, int64_t k) {
    const int64_t panels = ceil_div(n, plan.nr);
    if (plan.pack_b) {
      for (int64_t j = crew.index; j < panels; j += crew.size)
        pack_strip_b(jc, n, pc, k, j, packed_b + j * plan.nr * k);
      crew.barrier();
    }
    const int64_t rows = ceil_div(o.m, plan.rows), groups = plan.groups(rows, panels, crew.size);
    int64_t unit = groups * rows * crew.index / crew.size;
    const int64_t end = groups * rows * (crew.index + 1) / crew.size;
    while (unit < end) {  // a group of strips of b, and a run of a's panels that fits the packed block
      const int64_t g = unit / rows, i = unit % rows;
      const int64_t count = std::min({rows - i, end - unit, std::max<int64_t>(kernels.mc / plan.rows, 1)});
      pack_panels_a(pc, k, i, i + count);
      for (int64_t j = panels * g / groups; j < panels * (g + 1) / groups; ++j)
        strip(jc, n, pc, k, j, plan.pack_b ? packed_b + j * plan.nr * k : nullptr, i, i + count);
      unit += count;
    }
    if (plan.pack_b) crew.barrier();  // before the next block overwrites the strips
  }

  // The same where a has few panels: each thread packs a strip of b, uses it at once and forgets it.
  void private_block(int64_t jc, int64_t n, int64_t pc, int64_t k) {
    const int64_t strips = ceil_div(n, plan.nr), rows = ceil_div(o.m, plan.rows);
    pack_panels_a(pc, k, 0, rows);
    for (int64_t j = strips * crew.index / crew.size; j < strips * (crew.index + 1) / crew.size; ++j) {
      const bool ragged = (n - j * plan.nr) < plan.nr && plan.ragged_b;
      if (plan.pack_b || ragged) pack_strip_b(jc, n, pc, k, j, packed_b);
      strip(jc, n, pc, k, j, plan.pack_b || ragged ? packed_b : nullptr, 0, rows);
    }
  }

  void pack_strip_b(int64_t jc, int64_t n, int64_t pc, int64_t k, int64_t j, T* to) {
    const int64_t column = j * plan.nr;
    kernels.pack(k, static_cast<int>(std::min<int64_t>(plan.nr, n - column)), plan.nr,
                 o.b + pc * o.rs_b + (jc + column) * o.cs_b, o.rs_b, o.cs_b, to);
  }

  void pack_panels_a(int64_t pc, int64_t k, int64_t i0, int64_t i1) {
    if (!plan.pack_a) return;
    for (int64_t i = i0; i < i1; ++i)
      kernels.pack(k, rows_of(i), plan.rows, o.a + i * plan.rows * o.rs_a + pc * o.cs_a, o.cs_a, o.rs_a,
                   packed_a + (i - i0) * plan.rows * k);
  }

  // Strip j of b, packed or (null) in place, against panels [i0, i1) of a.
  void strip(int64_t jc, int64_t n, int64_t pc, int64_t k, int64_t j, const T* packed, int64_t i0,
             int64_t i1) {
    MatmulTile<T> t;
    t.k = k;
    t.columns = static_cast<int>(std::min<int64_t>(plan.nr, n - j * plan.nr));
    const int64_t column = jc + j * plan.nr;
    t.b = packed ? packed : o.b + pc * o.rs_b + column;
    t.rs_b = packed ? plan.nr : o.rs_b;
    t.rs_c = o.rs_c, t.cs_c = o.cs_c;
    t.accumulate = pc > 0;
    t.last = pc + k == o.k;
    t.bias_row = o.bias_row ? o.bias_row + column : nullptr;
    t.activate = o.activate, t.alpha = o.alpha, t.beta = o.beta;
    for (int64_t i = i0; i < i1; ++i) {
      const int64_t row = i * plan.rows;
      t.rows = rows_of(i);
      if (plan.pack_a)
        t.a = packed_a + (i - i0) * plan.rows * k, t.rs_a = 1, t.cs_a = plan.rows;
      else
        t.a = o.a + row * o.rs_a + pc * o.cs_a, t.rs_a = t.rows == 1 ? 1 : o.rs_a, t.cs_a = o.cs_a;
      t.c = o.c + row * o.rs_c + column * o.cs_c;
      t.bias_column = o.bias_column ? o.bias_column + row : nullptr;
      kernels.tile(t);
    }
  }

  int rows_of(int64_t i) const { return static_cast<int>(std::min<int64_t>(plan.rows, o.m - i * plan.rows)); }

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
    kernels.dots(t);
  }

  void run() {
    if (plan.dots) return run_dots();
    for (int64_t jc = 0; jc < o.n; jc += kernels.nc) {
      int64_t pc = 0;
      do {  // once also for k = 0, which leaves the bias
        const int64_t n = std::min(kernels.nc, o.n - jc), k = std::min(kernels.kc, o.k - pc);
        plan.private_b ? private_block(jc, n, pc, k) : shared_block(jc, n, pc, k);
        pc += kernels.kc;
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
  const T* dense_bias = plan.dense_bias(*this, workspace);
  parallel_region(kMatmulNsPerProduct * batch * m * n * std::max<int64_t>(k, 1), [&] {
    const int index = team_index(), size = team_size();
    const bool alone = batch >= size;  // each thread takes products of its own
    const MatmulBuffers<T> buffers = plan.buffers(workspace, index, alone, size);
    const Crew crew = alone ? Crew{0, 1} : Crew{index, size};
    const int64_t first = alone ? batch * index / size : 0, last = alone ? batch * (index + 1) / size : batch;
    for (int64_t i = first; i < last; ++i) {
      const Operands<T> operands = plan.operands(*this, i, dense_bias);
      Product<T>{plan, kernels, operands, crew, buffers.b, buffers.a}.run();
    }
  });
}

template struct Matmul<float>;
template struct Matmul<double>;

}  // namespace ranvier
