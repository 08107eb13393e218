// Binds factors, solutions and determinants of stacks of matrices of at most 32 rows and columns
// (kernels/small_matrices). A bool among the results is True if info is 0 for all matrices; where it becomes
// False in a replay, the replay ends.
#include "kernels/small_matrices/small_matrices.h"

#include "bindings/binder/define.h"
#include "bindings/ops/index_range.h"

namespace ranvier::bind {
namespace {

Shape leading(const Input& a) { return a.shape().part(0, a.ndim() - 2); }
int64_t rows_of(const Input& a) { return a.shape(a.ndim() - 2); }
int64_t columns_of(const Input& a) { return a.shape(a.ndim() - 1); }

Shape small_shape(Shape shape, int64_t rows, int64_t columns) {
  shape.append(rows);
  shape.append(columns);
  return shape;
}

Shape line_shape(Shape shape, int64_t size) {
  shape.append(size);
  return shape;
}

void expect_small(const Input& a) {
  if (a.ndim() < 2 || rows_of(a) > kSmallMatrix || columns_of(a) > kSmallMatrix)
    a.fail("(..., m, n) with m and n up to ", kSmallMatrix);
}

void expect_square(const Input& a) {
  expect_small(a);
  if (rows_of(a) != columns_of(a)) a.fail("(..., n, n)");
}

// A call on the matrices a. The caller sets the results.
template <class T>
SmallMatrices<T> small_call(MatrixOp op, const Input& a) {
  SmallMatrices<T> call{};
  call.op = op;
  call.a = a.view<T>();
  return call;
}

// L and info. The bool is True without `check`, too.
std::tuple<Output, Output, bool> small_cholesky(const Floats& a, Truth check) {
  expect_square(a);
  Output y = Output::contiguous(a.dtype(), a.shape());
  Output info = Output::contiguous(DType::int64, leading(a));
  with_float(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    auto call = small_call<T>(MatrixOp::cholesky, a);
    call.y = y;
    call.info = info;
    invoke_sized(call, a.elements());
  });
  const bool definite = !check || are_zero(info);
  return {std::move(y), std::move(info), definite};
}

std::tuple<Output, bool> small_solve(const Floats& a, const Floats& b) {
  expect_square(a);
  Shape batch = leading(a);
  const bool fits = b.ndim() >= 2 && rows_of(b) == rows_of(a) && batch.broadcast_with(leading(b));
  if (!fits)
    fail_value(a.op(), "got a of shape ", a.shape(), " and b of shape ", b.shape(),
               "; expected (..., n, n) and (..., n, k)");
  const Shape right = small_shape(batch, rows_of(b), columns_of(b));
  Output y = Output::contiguous(a.dtype(), right);
  Output info = Output::contiguous(DType::int64, batch);
  with_float(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    auto call = small_call<T>(MatrixOp::solve, a);
    repeat(a.view<T>(), small_shape(batch, rows_of(a), columns_of(a)), call.a);
    repeat(b.view<T>(), right, call.b);
    call.y = y;
    call.info = info;
    invoke_sized(call, numel(call.a) + numel(call.b));
  });
  const bool regular = are_zero(info);
  return {std::move(y), regular};
}

Output small_det(const Floats& a) {
  expect_square(a);
  Output y = Output::contiguous(a.dtype(), leading(a));
  with_float(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    auto call = small_call<T>(MatrixOp::determinant, a);
    call.y = y;
    invoke_sized(call, a.elements());
  });
  return y;
}

// The sign, log |det a| and info.
std::tuple<Output, Output, Output> small_slogdet(const Floats& a) {
  expect_square(a);
  Output sign = Output::contiguous(a.dtype(), leading(a));
  Output logarithm = Output::contiguous(a.dtype(), leading(a));
  Output info = Output::contiguous(DType::int64, leading(a));
  with_float(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    auto call = small_call<T>(MatrixOp::logarithm, a);
    call.y = sign;
    call.z = logarithm;
    call.info = info;
    invoke_sized(call, a.elements());
  });
  return {std::move(sign), std::move(logarithm), std::move(info)};
}

// L and U in one matrix, and the exchanged rows, from 1.
std::tuple<Output, Output> small_lu(const Floats& a) {
  expect_small(a);
  const int64_t steps = std::min(rows_of(a), columns_of(a));
  Output y = Output::contiguous(a.dtype(), a.shape());
  Output pivots = Output::contiguous(DType::int64, line_shape(leading(a), steps));
  with_float(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    auto call = small_call<T>(MatrixOp::lu, a);
    call.y = y;
    call.info = pivots;
    invoke_sized(call, a.elements());
  });
  return {std::move(y), std::move(pivots)};
}

// Q, which is None for mode "r", and R.
std::tuple<MaybeOutput, Output> small_qr(const Floats& a, Name mode) {
  enum Mode { reduced, complete, r };
  const int which = mode.one_of({"reduced", "complete", "r"});
  expect_small(a);
  const int64_t rows = rows_of(a);
  const int64_t columns = columns_of(a);
  const int64_t size = which == complete ? rows : std::min(rows, columns);
  MaybeOutput q;
  if (which != r) q = Output::contiguous(a.dtype(), small_shape(leading(a), rows, size));
  Output upper = Output::contiguous(a.dtype(), small_shape(leading(a), size, columns));
  with_float(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    auto call = small_call<T>(MatrixOp::qr, a);
    call.y = q;
    call.z = upper;
    invoke_sized(call, a.elements() * 4);
  });
  return {std::move(q), std::move(upper)};
}

// The eigenvalues in rising order, and the eigenvectors as columns, or None.
std::tuple<Output, MaybeOutput> small_eigh(const Floats& a, Truth upper, Truth vectors) {
  expect_square(a);
  Output values = Output::contiguous(a.dtype(), line_shape(leading(a), rows_of(a)));
  MaybeOutput found;
  if (vectors) found = Output::contiguous(a.dtype(), a.shape());
  with_float(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    auto call = small_call<T>(MatrixOp::eigh, a);
    call.upper = upper;
    call.y = values;
    call.z = found;
    invoke_sized(call, a.elements() * 16);
  });
  return {std::move(values), std::move(found)};
}

}  // namespace

void register_small_matrices(Module m) {
  def(m, "small_cholesky(a, check=True)", small_cholesky, "cholesky");
  def(m, "small_det(a)", small_det, "det");
  def(m, "small_eigh(a, upper=False, vectors=True)", small_eigh, "eigh");
  def(m, "small_lu(a)", small_lu, "lu");
  def(m, "small_qr(a, mode='reduced')", small_qr, "qr");
  def(m, "small_slogdet(a)", small_slogdet, "slogdet");
  def(m, "small_solve(a, b)", small_solve, "solve");
}

}  // namespace ranvier::bind
