// qr (factor.h): panels of columns are transposed and reflected, and each strip of the columns to the right
// gets the product of a panel's reflections, I - v t^T v^T, by matrix products (the compact form of Schreiber
// and Van Loan, 1989). The strips of q start as those of the identity matrix, and get I - v t v^T from the
// last panel to the first.
#include "base/carve.h"
#include "kernels/factor/factor.h"
#include "kernels/factor/matrices.h"

namespace ranvier {
namespace {

template <class T>
struct QrMemory {
  int64_t rs_copy, rs_q;  // from row to row
  T *copy, *q;
  T* panels;  // kPanel lines of `ld` elements for each panel
  int64_t ld;
  T *triangles, *r;    // t of each panel, and r of one
  T *shares, *turned;  // of one strip, of this thread
  size_t bytes;        // of one thread's share

  QrMemory(int64_t m, int64_t n, int64_t columns_of_q, int64_t reflections, void* base, int thread) {
    const int strip = factor_kernels<T>().strip;
    const int64_t count = ceil_div(reflections, kPanel);
    Carver carver(base);
    rs_copy = padded<T>(n, strip);
    rs_q = padded<T>(columns_of_q, strip);
    ld = round_up(m, kPanelPadding) + 2 * kPanelPadding;
    copy = carver.take<T>(m * rs_copy);
    q = carver.take<T>(m * rs_q);
    panels = carver.take<T>(count * kPanel * ld);
    triangles = carver.take<T>(count * kPanel * kPanel);
    r = carver.take<T>(kPanel * kPanel);
    shares = carver.take<T>(kPanel * kMostStrip);
    turned = carver.take<T>(kPanel * kMostStrip);
    bytes = carver.used();
    if (!base) return;
    const int64_t offset = int64_t(bytes / sizeof(T)) * thread;
    shares += offset;
    turned += offset;
  }
};

template <class T>
struct Reflections {
  const OpenTeam& team;
  const FactorKernels<T>& kernels;
  const QrMemory<T>& memory;
  int64_t m, n, count;

  // Panel `begin` / kPanel, of the rows from `begin` on.
  Panel<T> panel(int64_t begin) const {
    const int64_t columns = std::min(kPanel, count - begin);
    return {memory.panels + begin * memory.ld, memory.ld, m - begin, int(columns)};
  }
  T* triangle(int64_t begin) const { return memory.triangles + begin * kPanel; }

  void reflect_panel(int64_t begin) const {
    const Panel<T> p = panel(begin);
    T* from = memory.copy + begin * memory.rs_copy + begin;
    copy_matrix<T>(p.columns, p.rows, from, 1, memory.rs_copy, p.line, p.ld);
    for (int j = 0; j < p.columns; ++j) std::fill_n(p.column(j) + p.rows, p.ld - p.rows, T(0));
    kernels.qr(p, memory.r, triangle(begin));
    for (int64_t i = 0; i < p.rows; ++i) {
      T* row = from + i * memory.rs_copy;
      if (i < p.columns)
        std::copy_n(memory.r + i * p.columns, p.columns, row);
      else
        std::fill_n(row, p.columns, T(0));
    }
  }

  // y = (I - v t v^T) y for a strip of y, or with `transposed` t^T in place of t. y begins with row `begin`.
  void apply(int64_t begin, bool transposed, int64_t columns, T* y, int64_t rs_y) const {
    const Panel<T> p = panel(begin);
    const int64_t k = p.columns;
    std::fill_n(memory.shares, k * columns, T(0));
    std::fill_n(memory.turned, k * columns, T(0));
    kernels.subtract({k, columns, p.rows, p.line, p.ld, 1, y, rs_y, memory.shares, columns});  // -v^T y
    const int64_t rs_t = transposed ? 1 : k;
    const int64_t cs_t = transposed ? k : 1;
    kernels.subtract(
        {k, columns, k, triangle(begin), rs_t, cs_t, memory.shares, columns, memory.turned, columns});
    kernels.subtract({p.rows, columns, k, p.line, 1, p.ld, memory.turned, columns, y, rs_y});
  }

  void reduce() const {
    for (int64_t begin = 0; begin < count; begin += kPanel) {
      if (team.index() == 0) reflect_panel(begin);
      team.barrier();
      const int64_t first = begin + panel(begin).columns;
      share_strips(team, first, std::max(n, first), kernels.strip, [&](int64_t column, int64_t columns) {
        apply(begin, true, columns, memory.copy + begin * memory.rs_copy + column, memory.rs_copy);
      });
    }
  }

  // The first `columns` columns of q, strip by strip.
  void make_q(int64_t columns) const {
    share_strips(team, 0, columns, kernels.strip, [&](int64_t column, int64_t width) {
      T* strip = memory.q + column;
      for (int64_t i = 0; i < m; ++i) {
        T* row = strip + i * memory.rs_q;
        std::fill_n(row, width, T(0));
        if (column <= i && i < column + width) row[i - column] = 1;
      }
      // Reflections of panels after the strip's last column change only zeros.
      const int64_t last = std::min(column + width, count) - 1;
      for (int64_t begin = last / kPanel * kPanel; last >= 0 && begin >= 0; begin -= kPanel)
        apply(begin, false, width, strip + begin * memory.rs_q, memory.rs_q);
    });
  }
};

template <class T>
QrMemory<T> memory_of(const Qr<T>& call, void* base, int thread) {
  const int64_t columns = call.q.data ? call.q.shape[call.q.ndim - 1] : 0;
  return {
      call.a.shape[call.a.ndim - 2], call.a.shape[call.a.ndim - 1], columns, call.reflections, base, thread};
}

}  // namespace

template <class T>
size_t Qr<T>::workspace_bytes(int threads) const {
  return size_t(threads) * memory_of(*this, nullptr, 0).bytes;
}

template <class T>
void Qr<T>::run(const Team& team, void* workspace) const {
  const int64_t m = a.shape[a.ndim - 2];
  const int64_t n = a.shape[a.ndim - 1];
  const int64_t rows_of_r = r.shape[r.ndim - 2];
  const int64_t columns_of_q = q.data ? q.shape[q.ndim - 1] : 0;
  const double cost = 2 * kNsPerFactorProduct * double(m) * double(n + columns_of_q) * double(reflections);
  const size_t bytes = memory_of(*this, nullptr, 0).bytes;
  for_matrices(team, matrices_of(a), cost, bytes, workspace,
               [&](const OpenTeam& team, void* base, int64_t index) {
                 const QrMemory<T> memory = memory_of(*this, base, team.index());
                 const Reflections<T> reflector{team, factor_kernels<T>(), memory, m, n, reflections};
                 const int64_t rs = a.strides[a.ndim - 2];
                 const int64_t begin = team.share_begin(m);
                 const int64_t end = team.share_end(m);
                 T* copy = memory.copy + begin * memory.rs_copy;
                 const T* from = matrix_at(a, index, 2) + begin * rs;
                 copy_matrix(end - begin, n, from, rs, a.strides[a.ndim - 1], copy, memory.rs_copy);
                 for (int64_t i = 0; i < end - begin; ++i)
                   std::fill_n(copy + i * memory.rs_copy + n, memory.rs_copy - n, T(0));
                 team.barrier();
                 reflector.reduce();
                 T* to = matrix_at(r, index, 2);
                 for (int64_t i = team.share_begin(rows_of_r); i < team.share_end(rows_of_r); ++i)
                   std::copy_n(memory.copy + i * memory.rs_copy, n, to + i * n);
                 if (!q.data) return;
                 reflector.make_q(columns_of_q);
                 T* to_q = matrix_at(q, index, 2) + begin * columns_of_q;
                 copy_matrix(end - begin, columns_of_q, memory.q + begin * memory.rs_q, memory.rs_q, 1, to_q,
                             columns_of_q);
               });
}

RANVIER_INSTANTIATE(Qr);

}  // namespace ranvier
