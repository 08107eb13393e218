// Binds factorizations of matrices, determinants, and the solution of systems of equations.
#include "base/loop_nest.h"
#include "bindings/binder/define.h"
#include "kernels/copy/copy.h"
#include "kernels/factor/factor.h"
#include "kernels/factor/triangle.h"
#include "kernels/small_matrices/small_matrices.h"

namespace ranvier::bind {
namespace {

// So many multiply-adds take as long as an element of an element-wise op, by which invoke_sized() measures.
constexpr int64_t kProductsOfFactors = 8;

// The leading dimensions of matrices.
Shape batch_of(const Input& a) { return a.shape().part(0, a.ndim() - 2); }

Shape with(Shape shape, std::initializer_list<int64_t> more) {
  for (const int64_t size : more) shape.append(size);
  return shape;
}

// Matrices (..., m, n) of one call.
struct Matrices {
  Shape batch;
  int64_t m, n;
  explicit Matrices(const Input& a) {
    if (a.ndim() < 2) a.fail("(..., m, n)");
    batch = batch_of(a);
    m = a.shape(a.ndim() - 2);
    n = a.shape(a.ndim() - 1);
  }
  int64_t least() const { return std::min(m, n); }
  // The work of a factorization, by which a call decides whether to keep the GIL.
  int64_t work(const Input& a) const {
    return a.elements() * std::max<int64_t>(least() / kProductsOfFactors, 1);
  }
};

Matrices squares(const Input& a) {
  const Matrices s(a);
  if (s.m != s.n) a.fail("(..., n, n)");
  return s;
}

// l l^T = a, and the places, from 1, of the first rows without a factor.
std::tuple<Output, Output> cholesky(const Floats& a) {
  const Matrices s = squares(a);
  Output l = Output::contiguous(a.dtype(), a.shape());
  Output info = Output::contiguous(DType::int32, s.batch);
  run_sized<Cholesky>(s.work(a), a.dtype(), a, l, info);
  return {std::move(l), std::move(info)};
}

struct FactoredMatrices {
  Output lu, pivots, info;
};
FactoredMatrices factors(const Input& a, const Matrices& s) {
  FactoredMatrices f{Output::contiguous(a.dtype(), a.shape()),
                     Output::contiguous(DType::int32, with(s.batch, {s.least()})),
                     Output::contiguous(DType::int32, s.batch)};
  run_sized<Lu>(s.work(a), a.dtype(), a, f.lu, f.pivots, f.info);
  return f;
}

// L and U of P L U = a in one matrix, the exchanged rows, and the places of the first pivots that are 0.
std::tuple<Output, Output, Output> lu(const Floats& a) {
  FactoredMatrices f = factors(a, Matrices(a));
  return {std::move(f.lu), std::move(f.pivots), std::move(f.info)};
}

// The number of columns of q, and of rows of r, for a mode of QR.
std::tuple<Output, Output> qr(const Floats& a, Truth complete) {
  const Matrices s(a);
  const int64_t size = complete ? s.m : s.least();
  Output q = Output::contiguous(a.dtype(), with(s.batch, {s.m, size}));
  Output r = Output::contiguous(a.dtype(), with(s.batch, {size, s.n}));
  run_sized<Qr>(2 * s.work(a), a.dtype(), s.least(), a, q, r);
  return {std::move(q), std::move(r)};
}

// The first min(m, n) rows of what reflections of the first `columns` columns (default: all) leave of a.
Output qr_r(const Floats& a, MaybeWhole columns) {
  const Matrices s(a);
  const int64_t reflections = columns.value_or(s.least());
  if (reflections < 0 || reflections > s.least())
    fail_value(a.op(), "got columns ", reflections, "; expected 0 to ", s.least());
  Output r = Output::contiguous(a.dtype(), with(s.batch, {s.least(), s.n}));
  with_float(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_sized(Qr<T>{reflections, a, {}, r}, s.work(a));
  });
  return r;
}

// The determinants.
Output det(const Floats& a) {
  const Matrices s = squares(a);
  const FactoredMatrices f = factors(a, s);
  Output y = Output::contiguous(a.dtype(), s.batch);
  with_float(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const Determinant<T> call{as_const(f.lu.view<T>()), as_const(f.pivots.view<int32_t>()), y, {}, {}};
    invoke_sized(call, a.elements());
  });
  return y;
}

// The signs of determinants, and the logarithms of their sizes.
std::tuple<Output, Output> slogdet(const Floats& a) {
  const Matrices s = squares(a);
  const FactoredMatrices f = factors(a, s);
  Output sign = Output::contiguous(a.dtype(), s.batch);
  Output log = Output::contiguous(a.dtype(), s.batch);
  with_float(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const Determinant<T> call{as_const(f.lu.view<T>()), as_const(f.pivots.view<int32_t>()), {}, sign, log};
    invoke_sized(call, a.elements());
  });
  return {std::move(sign), std::move(log)};
}

// The shapes of a system a y = b: a (..., n, n), b (..., n, k), whose leading dimensions broadcast.
struct System {
  Shape batch, square, out;
  int64_t n, k;
  System(const Input& a, const Input& b) {
    if (a.ndim() < 2 || b.ndim() < 2) fail_with(a, b, "matrices");
    n = a.shape(a.ndim() - 1);
    k = b.shape(b.ndim() - 1);
    if (a.shape(a.ndim() - 2) != n) fail_with(a, b, "square matrices a");
    if (b.shape(b.ndim() - 2) != n) fail_with(a, b, "the last dimension of a to equal the last but one of b");
    batch = batch_of(a);
    if (!batch.broadcast_with(batch_of(b))) fail_with(a, b, "batch dimensions that broadcast");
    square = with(batch, {n, n});
    out = with(batch, {n, k});
  }
  int64_t work(int64_t elements) const { return elements * std::max<int64_t>(n / kProductsOfFactors, 1); }
  // True if the kernels with a matrix in each lane solve the systems. That does not depend on how many
  // matrices a stack has, so that the bits of a matrix do not, either.
  bool is_small_stack() const { return batch.ndim > 0 && n <= kSmallMatrix && k <= kSmallMatrix; }
  [[noreturn]] static void fail_with(const Input& a, const Input& b, const char* expected) {
    fail_value(a.op(), "got a of shape ", a.shape(), " and b of shape ", b.shape(), "; expected ", expected);
  }
};

// True if an element of the diagonal of matrices (.., n, n) is 0.
template <class T>
bool has_zero(const TensorView<const T>& a) {
  TensorView<const T> diagonal = a;
  diagonal.ndim = a.ndim - 1;
  diagonal.strides[a.ndim - 2] += a.strides[a.ndim - 1];
  const LoopNest<1> nest(diagonal.ndim, diagonal.shape, {diagonal.strides});
  const int64_t step = nest.strides[0][nest.ndim - 1];
  bool found = false;
  nest.walk(0, nest.size, [&](int64_t count, const int64_t(&offsets)[1]) {
    for (int64_t i = 0; i < count; ++i) found |= diagonal.data[offsets[0] + i * step] == 0;
  });
  return found;
}

// a^-1 b for triangular matrices a (..., n, n) and b (..., n, k), whose batches broadcast. unit: the diagonal
// counts as 1.
Output solve_triangular(const Floats& a, const Floats& b, Truth upper, Truth unit) {
  const System s(a, b);
  Output y = Output::contiguous(a.dtype(), s.out);
  with_float(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    if (!unit && has_zero(a.view<T>()))
      fail_value(a.op(), "got a triangle with 0 in its diagonal; expected one with an inverse");
    if (s.is_small_stack()) {
      SmallMatrices<T> call{};
      call.op = MatrixOp::triangle;
      call.upper = upper;
      call.unit = unit;
      call.y = y;
      repeat(a.view<T>(), s.square, call.a);
      repeat(b.view<T>(), s.out, call.b);
      invoke_sized(call, numel(call.a) + numel(call.b));
      return;
    }
    SolveTriangle<T> call{upper, unit, {}, y};
    Copy<T> copy{{}, y};
    repeat(a.view<T>(), s.square, call.a);
    repeat(b.view<T>(), s.out, copy.x);
    invoke_sized(copy, numel(call.y));
    invoke_sized(call, s.work(numel(call.y)));
  });
  return y;
}

// a^-1 b for matrices a, by their factors L and U, and for each a the place, from 1, of its first pivot that
// is 0, or 0; such systems have infinities or NaN as solutions.
std::tuple<Output, Output> solve(const Floats& a, const Floats& b) {
  const System s(a, b);
  FactoredMatrices f = factors(a, Matrices(a));
  Output y = Output::contiguous(a.dtype(), s.out);
  with_float(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    SolveTriangle<T> lower{false, true, {}, y};
    SolveTriangle<T> upper{true, false, {}, y};
    Copy<T> copy{{}, y};
    ExchangeRows<T> exchange{{}, y};
    repeat(as_const(f.lu.view<T>()), s.square, lower.a);
    repeat(as_const(f.lu.view<T>()), s.square, upper.a);
    repeat(as_const(f.pivots.view<int32_t>()), with(s.batch, {s.n}), exchange.pivots);
    repeat(b.view<T>(), s.out, copy.x);
    const int64_t elements = numel(lower.y);
    invoke_sized(copy, elements);
    invoke_sized(exchange, elements);
    invoke_sized(lower, s.work(elements));
    invoke_sized(upper, s.work(elements));
  });
  return {std::move(y), std::move(f.info)};
}

// A copy of y (..., n, k) with rows exchanged as the pivots (..., count) of lu say: each from 1 to n.
Output exchange_rows(const Exactly<DType::int32>& pivots, const Floats& y) {
  const Matrices s(y);
  const int64_t count = pivots.ndim() > 0 ? pivots.shape(pivots.ndim() - 1) : 0;
  pivots.expect_shape(with(s.batch, {count}));
  if (count > s.m) pivots.fail("at most ", s.m, " in the last dimension");
  Output exchanged = Output::contiguous(y.dtype(), y.shape());
  with_float(y.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const Copy<T> copy{y, exchanged};
    const ExchangeRows<T> call{pivots.view<int32_t>(), exchanged};
    const TensorView<const int32_t>& places = call.pivots;
    const LoopNest<1> nest(places.ndim, places.shape, {places.strides});
    bool valid = true;
    nest.walk(0, nest.size, [&](int64_t length, const int64_t(&offsets)[1]) {
      const int64_t step = nest.strides[0][nest.ndim - 1];
      for (int64_t i = 0; i < length; ++i) {
        const int32_t place = places.data[offsets[0] + i * step];
        valid &= place >= 1 && place <= s.m;
      }
    });
    if (!valid) fail_value(y.op(), "got pivots outside of the rows; expected 1 to ", s.m);
    invoke_sized(copy, y.elements());
    invoke_sized(call, y.elements());
  });
  return exchanged;
}

}  // namespace

void register_factor(Module m) {
  def(m, "solve_triangular(a, b, upper=False, unit=False)", solve_triangular);
  def(m, "_solve(a, b)", solve);
  def(m, "_cholesky(a)", cholesky);
  def(m, "_lu(a)", lu);
  def(m, "_qr(a, complete=False)", qr);
  def(m, "_qr_r(a, columns=None)", qr_r);
  def(m, "_exchange_rows(pivots, y)", exchange_rows);
  def(m, "_det(a)", det);
  def(m, "_slogdet(a)", slogdet);
}

}  // namespace ranvier::bind
