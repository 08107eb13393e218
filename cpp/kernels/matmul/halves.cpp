// Products of floats of 16 bits: HalfMatmul::run chooses one of the three ways that halves.h lists. FewRows
// runs products of few rows, StoredProduct (stored_pairs.h) those of bfloat16, and Blocks converts blocks of
// the operands to float32 and multiplies them by Matmul.
#include "kernels/matmul/halves.h"

#include <algorithm>
#include <type_traits>

#include "base/caches.h"
#include "base/carve.h"
#include "base/integers.h"
#include "base/parallel.h"
#include "kernels/matmul/plan.h"
#include "kernels/matmul/stored_pairs.h"

namespace ranvier {
namespace {

constexpr int64_t kSums = 4096;        // FewRows: sums that are computed at a time; they stay in L1
constexpr int64_t kChain = 512;        // products in one chain of HalfKernels::rows
constexpr int64_t kUnit = 64;          // FewRows: threads take whole units of this many columns
constexpr double kNsPerNumber = 0.04;  // FewRows: the time for each number of b, in nanoseconds
// The largest block: rows of a, columns of b, and products along k.
constexpr int64_t kBlockRows = 256, kBlockColumns = 256, kBlockProducts = 1024;
// The same where rows of b are contiguous: longer pieces of rows, fewer of them.
constexpr int64_t kLongColumns = 1024, kLongProducts = 256;

template <class Half>
const HalfKernels& kernels_of() {
  return half_matmul_kernels().of[std::is_same_v<Half, BFloat16>];
}

// The operands of one product of the batch, or of its transpose c' = b' a'.
template <class Half>
struct Sides {
  int64_t m, n, k;
  const Half *a, *b;
  Half* c;
  float* wide;
  int64_t rs_a, cs_a, rs_b, cs_b, rs_c, cs_c;
  bool transposed;

  Sides(const HalfMatmul<Half>& x, int64_t batch, bool transposed) : transposed(transposed) {
    m = x.a.shape[1];
    n = x.b.shape[2];
    k = x.a.shape[2];
    a = x.a.data + batch * x.a.strides[0];
    rs_a = x.a.strides[1];
    cs_a = x.a.strides[2];
    b = x.b.data + batch * x.b.strides[0];
    rs_b = x.b.strides[1];
    cs_b = x.b.strides[2];
    const auto place = [&](const auto& v, auto*& data) {
      data = v.data ? v.data + batch * v.strides[0] : nullptr;
      if (data) {
        rs_c = v.strides[1];
        cs_c = v.strides[2];
      }
    };
    place(x.c, c);
    place(x.wide, wide);
    if (!transposed) return;
    std::swap(m, n);
    std::swap(a, b);
    std::swap(rs_c, cs_c);
    std::swap(rs_a, cs_b);
    std::swap(cs_a, rs_b);
  }
  bool is_few() const { return m <= kHalfRows && k > 0 && (rs_b == 1 || cs_b == 1); }
  // Of few rows: whether lines of b are its columns.
  bool by_columns() const { return rs_b == 1 && (cs_b != 1 || k >= n); }
};

// True if the product has few rows (FewRows); transposed: if these are the columns of b.
template <class Half>
bool is_few(const HalfMatmul<Half>& call, bool& transposed) {
  const bool plain = Sides<Half>(call, /*batch=*/0, /*transposed=*/false).is_few();
  const bool turned = Sides<Half>(call, /*batch=*/0, /*transposed=*/true).is_few();
  transposed = turned && (!plain || call.b.shape[2] < call.a.shape[1]);
  return plain || turned;
}

template <class Half>
void widen(int64_t n, const Half* x, int64_t stride, float* y) {
  if (stride == 1) return kernels_of<Half>().widen(n, x, y);
  for (int64_t i = 0; i < n; ++i) y[i] = x[i * stride];
}

template <class Half>
void round(int64_t n, const float* x, Half* y, int64_t stride) {
  if (stride == 1) return kernels_of<Half>().round(n, x, y);
  for (int64_t i = 0; i < n; ++i) y[i * stride] = Half(x[i]);
}

// Adds the bias to n sums of a row, applies the activation, and stores them as the elements of c from row i
// and column j on, rounded; or to o.wide as they are.
template <class Half>
void finish(const MatmulActivation& f, int64_t n, float* sums, const float* bias, const Sides<Half>& o,
            int64_t i, int64_t j) {
  if (bias) half_matmul_kernels().add(n, bias, sums);
  if (f.kind != Activation::none)
    activation_kernels<float>().forward[static_cast<int>(f.kind)](
        {n, sums, nullptr, sums, 1, 0, 1, static_cast<float>(f.alpha), static_cast<float>(f.beta)});
  const int64_t place = i * o.rs_c + j * o.cs_c;
  if (!o.wide) return round(n, sums, o.c + place, o.cs_c);
  for (int64_t l = 0; l < n; ++l) o.wide[place + l * o.cs_c] = sums[l];
}

// --- few rows

// A thread's part of products with few rows. `a`: memory of the thread for the few rows as float32, in rows
// of line(k) elements.
template <class Half>
struct FewRows {
  const HalfMatmul<Half>& call;
  const bool transposed;
  float* const a;
  int64_t widened = -1;  // the product of the batch whose rows are in `a`; -1: none

  static int64_t line(int64_t k) { return round_up(k, 16); }

  // Computes the columns [j, end) of a product whose rows are in `a`.
  void run(const Sides<Half>& o, int64_t j, int64_t end) const {
    alignas(64) float sums[kSums], more[kSums], bias[kSums];
    const HalfKernels& kernels = kernels_of<Half>();
    const bool dots = o.by_columns();
    int64_t most = kSums / round_up(o.m, 2) / kUnit * kUnit;
    const bool is_far = o.n * o.k * int64_t(sizeof(Half)) > caches.l2;
    const int64_t bytes_of_column = dots && o.m == 1 && is_far ? o.k * int64_t(sizeof(Half)) : 0;
    FetchComparison comparison(FetchComparison::halves, bytes_of_column, end - j);
    if (comparison.is_open()) most = std::min(most, comparison.columns_of_part());
    for (; j < end; j += most) {
      const int64_t n = std::min(most, end - j);
      const int64_t width = round_up(n, 16);
      const int64_t chain = dots ? o.k : kChain;  // dots() divides k among the lanes, so chains are short
      for (int64_t p = 0; p < o.k; p += chain) {
        LineProduct lines;
        lines.rows = static_cast<int>(o.m);
        lines.k = std::min(chain, o.k - p);
        lines.columns = n;
        lines.a = a + p;
        lines.rs_a = line(o.k);
        lines.b = o.b + p * o.rs_b + j * o.cs_b;
        lines.step_b = dots ? o.cs_b : o.rs_b;
        lines.sums = p == 0 ? sums : more;
        lines.width = width;
        if (dots) {
          lines.fetch_order = comparison.begin_part(n);
          kernels.dots(lines);
          comparison.end_part();
        } else {
          kernels.rows(lines);
        }
        if (p > 0) half_matmul_kernels().add(o.m * width, more, sums);
      }
      const TensorView<const Half>& given = call.bias;
      if (given.data && !transposed) widen(n, given.data + j * given.strides[0], given.strides[0], bias);
      for (int64_t i = 0; i < o.m; ++i) {
        // A bias is one number for each column of c: of c' = b' a' for each row.
        if (given.data && transposed) std::fill_n(bias, n, float(given.data[i * given.strides[0]]));
        const float* bias_of_row = given.data ? bias : nullptr;
        finish(call.activation, n, sums + i * width, bias_of_row, o, i, j);
      }
    }
    comparison.close();
  }

  // Computes the units [begin, end) of kUnit columns, numbered product by product.
  void run_units(int64_t begin, int64_t end) {
    const int64_t n = Sides<Half>(call, 0, transposed).n;
    const int64_t units = ceil_div(n, kUnit);
    while (begin < end) {
      const int64_t batch = begin / units;
      const int64_t first = begin - batch * units;
      const int64_t last = std::min(units, first + end - begin);
      const Sides<Half> o(call, batch, transposed);
      for (int64_t i = 0; i < o.m && batch != widened; ++i)
        widen(o.k, o.a + i * o.rs_a, o.cs_a, a + i * line(o.k));
      widened = batch;
      run(o, first * kUnit, std::min(last * kUnit, n));
      begin += last - first;
    }
  }
};

// --- blocks

// The size of a part, if n is divided into even parts of at most `most`; several are multiples of 16.
int64_t even(int64_t n, int64_t most) {
  if (n <= most) return std::max<int64_t>(n, 1);
  const int64_t parts = ceil_div(n, most);
  return round_up(ceil_div(n, parts), 16);
}

// A block of an operand as float32. Its lines are rows or columns, whichever are contiguous in the operand.
template <class Half>
struct Widened {
  static constexpr int64_t kOdd = 16;  // added, since lines a power of two apart share few sets of L1

  bool rows;
  int64_t line;    // elements from one line to the next
  int64_t i = -1;  // the first row of the block that `data` holds; -1: it holds none
  int64_t j = -1;  // the first column of the block
  float* data;

  Widened(int64_t m, int64_t n, int64_t rs, int64_t cs, Carver& carver)
      : rows(rs != 1 || (cs == 1 && n >= m)) {
    const int64_t length = rows ? n : m;
    const int64_t lines = rows ? m : n;
    line = round_up(length, 16) + kOdd;
    data = carver.take<float>(line * lines);
  }

  // Converts this thread's share of the m x n block from row i and column j on, unless it is there already.
  void fill(const OpenTeam& team, const Half* x, int64_t rs, int64_t cs, int64_t i, int64_t j, int64_t m,
            int64_t n) {
    if (this->i == i && this->j == j) return;
    this->i = i;
    this->j = j;
    const int64_t lines = rows ? m : n;
    const int64_t length = rows ? n : m;
    const int64_t line_step = rows ? rs : cs;     // in x: from line to line
    const int64_t element_step = rows ? cs : rs;  // and within a line
    x += i * rs + j * cs;
    for (int64_t l = team.share_begin(lines); l < team.share_end(lines) && !interrupted(team); ++l)
      widen(length, x + l * line_step, element_step, data + l * line);
  }
  TensorView<const float> view(int64_t m, int64_t n) const {
    const int64_t rs = rows ? line : 1;
    const int64_t cs = rows ? 1 : line;
    return as_const(as_matrix(data, m, n, rs, cs));
  }
};

// Products by blocks that are converted to float32.
template <class Half>
class Blocks {
 public:
  Blocks(const HalfMatmul<Half>& call, int) : call_(call) {
    m_ = call.a.shape[1];
    n_ = call.b.shape[2];
    k_ = call.a.shape[2];
    const bool lines = call.b.strides[2] == 1;
    rows_ = even(m_, kBlockRows);
    const int64_t most_columns = lines ? kLongColumns : kBlockColumns;
    const int64_t most_products = lines ? kLongProducts : kBlockProducts;
    columns_ = even(n_, most_columns);
    products_ = even(k_, most_products);
  }

  // The bytes of workspace for a team, the threads that compute one product together.
  size_t bytes(int threads) const {
    Carver carver(nullptr);
    const Memory memory(*this, carver);
    const auto last = [](int64_t n, int64_t size) { return n - (ceil_div(n, size) - 1) * size; };
    const int64_t whole[] = {rows_, columns_, std::min(products_, k_)};
    const int64_t rest[] = {last(m_, rows_), last(n_, columns_), k_ == 0 ? 0 : last(k_, products_)};
    // The largest workspace of Matmul for the 8 kinds of blocks, whole or last in each of the three
    // dimensions: a last block may need more than a whole one.
    size_t most = 0;
    for (int which = 0; which < 8; ++which) {
      int64_t size[3];
      bool again = false;  // a last block is as large as a whole one: this kind has been counted
      for (int d = 0; d < 3; ++d) {
        const bool is_rest = which >> d & 1;
        size[d] = is_rest ? rest[d] : whole[d];
        again |= is_rest && rest[d] == whole[d];
      }
      if (!again)
        most = std::max(most, product(memory, size[0], size[1], size[2], nullptr).plan_bytes(threads));
    }
    return carver.used() + round_up(static_cast<int64_t>(most), 64);
  }

  void run(const OpenTeam& team, int64_t batch, char* workspace) const {
    Carver carver(workspace);
    Memory x(*this, carver);
    void* const scratch = workspace + carver.used();
    const Sides<Half> o(call_, batch, /*transposed=*/false);
    for (int64_t i = 0; i < m_; i += rows_)
      for (int64_t j = 0; j < n_; j += columns_) {
        const int64_t m = std::min(rows_, m_ - i);
        const int64_t n = std::min(columns_, n_ - j);
        int64_t p = 0;
        do {  // once also for k = 0, where c is f(bias)
          const int64_t k = std::min(products_, k_ - p);
          x.a.fill(team, o.a, o.rs_a, o.cs_a, i, p, m, k);
          x.b.fill(team, o.b, o.rs_b, o.cs_b, p, j, k, n);
          team.barrier();
          Matmul<float> some = product(x, m, n, k, x.sums);
          some.added = p > 0 && some.can_add();
          if (p > 0 && !some.added) some.c.data = x.more;
          some.run(team, scratch);
          team.barrier();
          if (p > 0 && !some.added)
            for (int64_t r = team.share_begin(m); r < team.share_end(m); ++r)
              half_matmul_kernels().add(n, x.more + r * columns_, x.sums + r * columns_);
          p += k;
        } while (p < k_);
        finish_block(team, x.sums, o, i, j, m, n);
      }
  }

 private:
  struct Memory {
    Memory(const Blocks& x, Carver& carver)
        : a(x.rows_, x.products_, x.call_.a.strides[1], x.call_.a.strides[2], carver),
          b(x.products_, x.columns_, x.call_.b.strides[1], x.call_.b.strides[2], carver),
          sums(carver.take<float>(x.rows_ * x.columns_)),
          more(x.products_ < x.k_ ? carver.take<float>(x.rows_ * x.columns_) : nullptr) {}
    Widened<Half> a, b;
    float *sums, *more;
  };

  Matmul<float> product(const Memory& x, int64_t m, int64_t n, int64_t k, float* c) const {
    Matmul<float> y{};
    y.a = x.a.view(m, k);
    y.b = x.b.view(k, n);
    y.c = as_matrix(c, m, n, columns_, 1);
    if (std::is_same_v<Half, BFloat16>) y.precision = Precision::medium;
    return y;
  }

  void finish_block(const OpenTeam& team, float* sums, const Sides<Half>& o, int64_t i, int64_t j, int64_t m,
                    int64_t n) const {
    alignas(64) float bias[kLongColumns];
    const TensorView<const Half>& given = call_.bias;
    if (given.data) widen(n, given.data + j * given.strides[0], given.strides[0], bias);
    const float* bias_of_rows = given.data ? bias : nullptr;
    for (int64_t r = team.share_begin(m); r < team.share_end(m) && !interrupted(team); ++r)
      finish(call_.activation, n, sums + r * columns_, bias_of_rows, o, i + r, j);
  }

  const HalfMatmul<Half>& call_;
  int64_t m_, n_, k_, rows_, columns_, products_;
};

// --- all products of a batch, by StoredProduct or Blocks (`Way`)

template <class Way, class Half>
size_t bytes_of(const HalfMatmul<Half>& call, int threads) {
  const size_t alone = call.a.shape[0] > 1 ? threads * Way(call, 1).bytes(1) : 0;
  return std::max(alone, Way(call, threads).bytes(threads));
}

// If there are at least as many products as threads, each is computed by one thread. Otherwise the whole team
// computes one after another.
template <class Way, class Half>
void run_all(const HalfMatmul<Half>& call, const Team& team, void* workspace) {
  const int64_t batch = call.a.shape[0];
  const int64_t m = call.a.shape[1];
  const int64_t n = call.b.shape[2];
  const int64_t k = call.a.shape[2];
  const Way way(call, team.threads());
  const Way one(call, 1);
  const double ns = serial_ns(matmul_kernels<float>(), batch * m, n, std::max<int64_t>(k, 1));
  team.region(ns, [&](const OpenTeam& team) {
    char* const base = static_cast<char*>(workspace);
    if (batch > 1 && batch >= team.size()) {
      const size_t bytes = team.size() > 1 ? one.bytes(1) : 0;
      char* const own = base + team.index() * bytes;
      for (Chunks some(team, batch, Chunks::size(team, batch)); some.next() && !interrupted(team);)
        for (int64_t i = some.begin; i < some.end; ++i) one.run(team.single(), i, own);
    } else {
      for (int64_t i = 0; i < batch; ++i) way.run(team, i, base);
    }
  });
}

}  // namespace

template <class Half>
size_t HalfMatmul<Half>::workspace_bytes(int threads) const {
  bool transposed;
  if (numel(c) == 0 || numel(wide) == 0) return 0;
  if (is_few(*this, transposed)) {
    const Sides<Half> o(*this, 0, transposed);
    return sizeof(float) * threads * o.m * FewRows<Half>::line(o.k);
  }
  if constexpr (std::is_same_v<Half, BFloat16>)
    if (StoredProduct::pays(*this)) return bytes_of<StoredProduct>(*this, threads);
  return bytes_of<Blocks<Half>>(*this, threads);
}

template <class Half>
void HalfMatmul<Half>::run(const Team& team, void* workspace) const {
  const int64_t batch = a.shape[0];
  const int64_t k = a.shape[2];
  bool transposed;
  if (numel(c) == 0 || numel(wide) == 0) return;
  if (!is_few(*this, transposed)) {
    if constexpr (std::is_same_v<Half, BFloat16>)
      if (StoredProduct::pays(*this)) return run_all<StoredProduct>(*this, team, workspace);
    return run_all<Blocks<Half>>(*this, team, workspace);
  }
  const Sides<Half> o(*this, 0, transposed);
  const int64_t own = o.m * FewRows<Half>::line(k);
  const int64_t units = batch * ceil_div(o.n, kUnit);
  team.region(kNsPerNumber * batch * o.n * k, [&](const OpenTeam& team) {
    FewRows<Half> few{*this, transposed, static_cast<float*>(workspace) + team.index() * own};
    // Rows of b are read in pieces as long as possible.
    const int64_t even_share = ceil_div(units, int64_t{team.size()});
    const int64_t size = o.by_columns() ? Chunks::size(team, units) : even_share;
    for (Chunks some(team, units, size); some.next() && !interrupted(team);)
      few.run_units(some.begin, some.end);
  });
}

template struct HalfMatmul<Float16>;
template struct HalfMatmul<BFloat16>;

}  // namespace ranvier
