// Solves systems of triangular matrices (triangle.h) recursively: one part of the rows is solved, its product
// with the other columns of a is subtracted from the rest of y, and then the rest is solved.
#include "kernels/factor/triangle.h"

#include <algorithm>

#include "base/integers.h"
#include "base/parallel.h"
#include "kernels/factor/kernels.h"

namespace ranvier {
namespace {

constexpr int64_t kColumns = 64;        // columns that a thread solves at a time
constexpr int64_t kLeastRows = 256;     // the most rows that are solved without a matrix product
constexpr double kNsPerProduct = 0.05;  // the time of one multiplication on one thread, roughly

// The product c (m, n) = a (m, k) b (k, n); c is C-contiguous, and rows of b are contiguous, rs_b apart.
template <class T>
Matmul<T> product(const T* a, int64_t rs_a, int64_t cs_a, const T* b, int64_t rs_b, T* c, int64_t m,
                  int64_t n, int64_t k) {
  Matmul<T> p{};
  p.a = as_matrix(a, m, k, rs_a, cs_a);
  p.b = as_matrix(b, k, n, rs_b, 1);
  p.c = as_matrix(c, m, n, n, 1);
  return p;
}

// y -= factor x, for n elements.
template <class T, class U>
__attribute__((noinline)) void subtract(int64_t n, U factor, const T* __restrict__ x, U* __restrict__ y) {
  for (int64_t c = 0; c < n; ++c) y[c] -= factor * U(x[c]);
}

// The system of one matrix a and some columns of y.
template <class T>
struct Triangle {
  const T* a;
  int64_t rs_a, cs_a;
  T* y;
  int64_t rs_y, columns;
  bool upper, unit;
  T* shares;        // memory for the result of a product, or for a strip of columns
  void* workspace;  // memory for the work of a product

  // Solves the rows [begin, end) of some columns without a matrix product. An upper triangle is solved from
  // the last row on.
  void substitute(int64_t begin, int64_t end, int64_t count, T* x, int64_t rs_x) const {
    const int64_t first = upper ? end - 1 : begin;
    const int64_t step = upper ? -1 : 1;
    factor_kernels<T>().substitute({end - begin, count, a + first * (rs_a + cs_a), step * rs_a, step * cs_a,
                                    x + (first - begin) * rs_x, step * rs_x, unit});
  }

  // The same for all columns: a strip of them at a time, whose rows are copied next to each other, since rows
  // that are a power of two apart would share the few lines of a set of L1.
  void solve_few(int64_t begin, int64_t end) const {
    const int64_t strip = factor_kernels<T>().strip;
    T* rows = y + begin * rs_y;
    if (rs_y <= strip) return substitute(begin, end, columns, rows, rs_y);
    for (int64_t column = 0; column < columns; column += strip) {
      const int64_t count = std::min(strip, columns - column);
      T* own = rows + column;
      for (int64_t i = 0; i < end - begin; ++i) std::copy_n(own + i * rs_y, count, shares + i * count);
      substitute(begin, end, count, shares, count);
      for (int64_t i = 0; i < end - begin; ++i) std::copy_n(shares + i * count, count, own + i * rs_y);
    }
  }

  // Solves the rows [begin, end), if the rows solved before have been subtracted from them.
  void solve(const OpenTeam& team, int64_t begin, int64_t end) const {
    int64_t half = kLeastRows;
    if (end - begin <= half) return solve_few(begin, end);
    while (2 * half < end - begin) half *= 2;
    const int64_t middle = begin + half;
    if (upper) {
      solve(team, middle, end);
    } else {
      solve(team, begin, middle);
    }
    if (interrupted(team)) return;
    // Rows [from, from + k) are solved; their product with columns [from, from + k) of a is subtracted from
    // the rows [to, to + m).
    const int64_t to = upper ? begin : middle;
    const int64_t from = upper ? middle : begin;
    const int64_t m = upper ? half : end - middle;
    const int64_t k = upper ? end - middle : half;
    const T* block_of_a = a + to * rs_a + from * cs_a;
    const T* solved = y + from * rs_y;
    product(block_of_a, rs_a, cs_a, solved, rs_y, shares, m, columns, k).run(team, workspace);
    for (int64_t i = 0; i < m; ++i) subtract(columns, T(1), shares + i * columns, y + (to + i) * rs_y);
    if (upper) {
      solve(team, begin, middle);
    } else {
      solve(team, middle, end);
    }
  }
};

// The largest workspace of the products that solve() runs for this many columns.
template <class T>
size_t bytes_of_products(const SolveTriangle<T>& s, int64_t columns) {
  const int64_t n = s.rows();
  const int64_t* strides = s.a.strides + s.a.ndim - 2;
  size_t most = 0;
  const auto add = [&](int64_t m, int64_t k) {
    if (s.upper) std::swap(m, k);
    if (m <= 0 || k <= 0) return;
    const Matmul<T> p =
        product<T>(s.a.data, strides[0], strides[1], s.y.data, s.columns(), s.y.data, m, columns, k);
    most = std::max(most, p.plan_bytes(1));
  };
  for (int64_t half = kLeastRows; half < n; half *= 2) {
    if (2 * half <= n) add(half, half);
    add(n % (2 * half) - half, half);
  }
  return most;
}

// The bytes of Triangle::shares.
template <class T>
int64_t bytes_of_shares(const SolveTriangle<T>& s) {
  return round_up(s.rows() * std::min(s.columns(), kColumns) * int64_t(sizeof(T)), 64);
}

}  // namespace

template <class T>
size_t SolveTriangle<T>::bytes_of_thread() const {
  if (numel(y) == 0) return 0;
  const int64_t last = columns() % kColumns;
  size_t most = columns() >= kColumns ? bytes_of_products(*this, kColumns) : 0;
  if (last) most = std::max(most, bytes_of_products(*this, last));
  return size_t(bytes_of_shares(*this)) + size_t(round_up(int64_t(most), 64));
}

template <class T>
void SolveTriangle<T>::run(const Team& team, void* workspace) const {
  if (numel(y) == 0) return;
  const int64_t n = rows();
  const int64_t k = columns();
  const int64_t parts = ceil_div(k, kColumns);
  const int64_t outer = y.ndim - 2;
  const size_t bytes = bytes_of_thread();
  const int64_t items = numel(y) / (n * k) * parts;
  const double cost = kNsPerProduct * double(numel(y)) * double(n);
  team.parallel_for(items, cost, [&](const OpenTeam& team, int64_t begin, int64_t end) {
    char* memory = nullptr;  // of this thread
    if (bytes) memory = static_cast<char*>(workspace) + size_t(team.index()) * bytes;
    for (int64_t i = begin; i < end && !interrupted(team); ++i) {
      const int64_t matrix = i / parts;
      const int64_t column = i % parts * kColumns;
      int64_t rest = matrix;
      int64_t offset = 0;
      for (int64_t d = outer - 1; d >= 0; --d) {
        offset += rest % y.shape[d] * a.strides[d];
        rest /= y.shape[d];
      }
      Triangle<T> triangle;
      triangle.a = a.data + offset;
      triangle.rs_a = a.strides[outer];
      triangle.cs_a = a.strides[outer + 1];
      triangle.y = y.data + matrix * n * k + column;
      triangle.rs_y = k;
      triangle.columns = std::min(kColumns, k - column);
      triangle.upper = upper;
      triangle.unit = unit;
      triangle.shares = reinterpret_cast<T*>(memory);
      triangle.workspace = memory ? memory + bytes_of_shares(*this) : nullptr;
      triangle.solve(team.single(), 0, n);
    }
  });
}

RANVIER_INSTANTIATE(SolveTriangle);

}  // namespace ranvier
