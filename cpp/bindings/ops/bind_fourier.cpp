// Binds Fourier transforms of rows: fft, ifft, rfft and irfft with n points. Complex numbers are pairs of
// floats, in a last dimension of size 2.
#include "bindings/binder/copied.h"
#include "bindings/binder/define.h"
#include "kernels/fourier/fourier.h"

namespace ranvier::bind {
namespace {

// True if n has no prime factor above 7: the lengths that the kernel computes.
bool is_smooth(int64_t n) {
  for (int r : {2, 3, 5, 7})
    while (n % r == 0) n /= r;
  return n == 1;
}

// x (..., m) for rfft, (..., m, 2) for others; rows of fewer points than the transform takes are padded with
// zeros. The result is (..., n / 2 + 1, 2) of rfft, (..., n) of irfft, (..., n, 2) of others. window: n
// factors of x (rfft) or of the result (irfft). scale, edge: see kernels/fourier/fourier.h.
Output fourier(const Floats& x, Name kind, Whole n, Real scale, Real edge, const MaybeFloats& window) {
  const FourierKind which{kind.one_of({"fft", "ifft", "rfft", "irfft"})};
  const bool real = which == FourierKind::rfft;
  const bool back = which == FourierKind::irfft;
  if (n < 1 || n > (int64_t{1} << 31) || !is_smooth(n)) n.fail("1 or more, without a prime factor above 7");
  const int inner = real ? 1 : 2;  // dimensions of one row: the points, and the pair of a complex number
  if (real && x.ndim() < 1) x.fail("(..., m)");
  if (!real && (x.ndim() < 2 || x.shape(x.ndim() - 1) != 2)) x.fail("(..., m, 2)");
  if (window) {
    if (!real && !back) window.fail("None, except of rfft and irfft");
    window.expect_shape({n});
  }
  const int rows_ndim = x.ndim() - inner;
  const int inner_of_result = back ? 1 : 2;
  if (rows_ndim + inner_of_result > kMaxDims) x.fail("at most ", kMaxDims, " axes of the result");
  const int64_t half =
      n / 2 + 1;  // points of the transform of n real numbers: the others are their conjugates
  Shape shape = x.shape().part(0, rows_ndim);
  const int64_t points = real ? half : n.number;
  shape.append(points);
  if (!back) shape.append(2);
  const TensorView<const char> v = x.view<char>();
  const bool in_pairs = real || v.strides[v.ndim - 1] == 1;
  const int64_t most = back ? half : n.number;
  if (x.shape(rows_ndim) > most) x.fail("at most ", most, " points");
  Input rows = x;
  if (!in_pairs) rows = copied(x, Output::contiguous(x.dtype(), x.shape()));
  Output y = Output::contiguous(x.dtype(), shape);
  run<Fourier>(x.dtype(), which, n.number, scale.number, edge.number, rows, contiguous(window), y);
  return y;
}

}  // namespace

void register_fourier(Module m) { def(m, "fourier(x, kind, n, scale=1.0, edge=1.0, window=None)", fourier); }

}  // namespace ranvier::bind
