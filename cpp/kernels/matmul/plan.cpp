#include "kernels/matmul/plan.h"

namespace ranvier {

namespace {

int64_t round_up(int64_t n, int64_t to) { return ceil_div(n, to) * to; }

constexpr int64_t kFewPasses = 3;  // an operand that is read so few times is not worth packing
constexpr int64_t kFewPanels = 6;  // of a: then strips of b are split among the threads, if each gets some

}  // namespace

// m split evenly into panels of at most mr rows.
template <class T>
int MatmulPlan<T>::rows_of_tile(int64_t m) const {
  if (m <= kernels_.mr) return std::max(static_cast<int>(m), 1);
  return static_cast<int>(ceil_div(m, ceil_div(m, kernels_.mr)));
}

template <class T>
bool MatmulPlan<T>::is_dots(const Operands<T>& o) const {
  return o.m <= kDotRows && o.m <= o.n && o.k >= kernels_.lanes && o.cs_a == 1 && o.rs_b == 1;
}

template <class T>
bool MatmulPlan<T>::reads_a_in_place(const Operands<T>& o) const {
  const bool readable = o.rs_a == 1 || o.cs_a == 1 || o.m == 1;
  return readable && ceil_div(o.n, kernels_.nr(rows_of_tile(o.m))) <= kFewPasses;
}

template <class T>
bool MatmulPlan<T>::reads_b_in_place(const Operands<T>& o) const {
  return o.cs_b == 1 && ceil_div(o.m, kernels_.mr) <= kFewPasses;
}

// Cycles of one core, roughly: the tiles, and what is moved to feed them.
template <class T>
double MatmulPlan<T>::cost(const Operands<T>& o) const {
  constexpr double kCopied = 0.15, kTransposed = 0.35, kScattered = 0.7;  // an element packed
  double cycles = static_cast<double>(o.m) * o.k * ceil_div(o.n, kernels_.lanes);
  if (!reads_b_in_place(o)) cycles += (o.cs_b == 1 ? kCopied : kTransposed) * o.k * o.n;
  if (!reads_a_in_place(o)) cycles += (o.rs_a == 1 ? kCopied : kTransposed) * o.k * o.m;
  if (o.cs_c != 1) cycles += kScattered * o.m * o.n * ceil_div(o.k, kernels_.kc);
  return cycles;
}

template <class T>
MatmulPlan<T>::MatmulPlan(const Matmul<T>& call) : kernels_(matmul_kernels<T>()), batch_(call.c.shape[0]) {
  const Operands<T> plain = orient(call, false), turned = orient(call, true);
  const bool plain_dots = is_dots(plain);
  dots = plain_dots || is_dots(turned);
  transposed = dots ? !plain_dots : cost(turned) < cost(plain);
  const Operands<T>& o = transposed ? turned : plain;
  rows = rows_of_tile(o.m);
  nr = kernels_.nr(rows);
  if (o.n < nr) nr = static_cast<int>(std::max<int64_t>(round_up(o.n, kernels_.lanes), kernels_.lanes));
  pack_a = !dots && !reads_a_in_place(o);
  pack_b = !dots && !reads_b_in_place(o);
  const int64_t panels_a = ceil_div(o.m, kernels_.mr), strips_b = ceil_div(o.n, nr);
  private_b = !pack_b || panels_a <= std::min(kFewPanels, strips_b);
  ragged_b = !dots && !pack_b && o.n % kernels_.lanes != 0;
  const int64_t k = std::min(o.k, kernels_.kc);
  // Each buffer is rounded up to whole cache lines, so that no two threads write to the same one.
  size_a_ = pack_a ? round_up(k * std::min(round_up(o.m, rows), kernels_.mc + kernels_.mr), 64) : 0;
  const int64_t columns = private_b ? nr : round_up(std::min(o.n, kernels_.nc), nr);
  size_b_ = pack_b || ragged_b ? round_up(k * columns, 64) : 0;
  size_bias_ = call.bias.data && call.bias.strides[0] != 1 ? round_up(call.bias.shape[0], 64) : 0;
}

template <class T>
size_t MatmulPlan<T>::workspace_bytes(int team) const {
  return sizeof(T) *
         (size_bias_ + size_b_ * (private_b ? team : std::min<int64_t>(batch_, team)) + size_a_ * team);
}

// [bias][a of each thread][b of each thread, or one for all].
template <class T>
MatmulBuffers<T> MatmulPlan<T>::buffers(void* workspace, int thread, bool alone, int team) const {
  T* base = static_cast<T*>(workspace) + size_bias_;
  const int b = private_b || alone ? thread : 0;
  return {base + team * size_a_ + b * size_b_, base + thread * size_a_};
}

template <class T>
const T* MatmulPlan<T>::dense_bias(const Matmul<T>& call, void* workspace) const {
  if (size_bias_ == 0) return call.bias.data;
  T* copy = static_cast<T*>(workspace);
  for (int64_t j = 0; j < call.bias.shape[0]; ++j) copy[j] = call.bias.data[j * call.bias.strides[0]];
  return copy;
}

template <class T>
Operands<T> MatmulPlan<T>::orient(const Matmul<T>& call, bool transpose) const {
  Operands<T> o{};
  o.m = call.c.shape[1], o.n = call.c.shape[2], o.k = call.a.shape[2];
  o.a = call.a.data, o.rs_a = call.a.strides[1], o.cs_a = call.a.strides[2];
  o.b = call.b.data, o.rs_b = call.b.strides[1], o.cs_b = call.b.strides[2];
  o.c = call.c.data, o.rs_c = call.c.strides[1], o.cs_c = call.c.strides[2];
  if (call.activation.kind != Activation::count)
    o.activate = activation_kernels<T>().forward[static_cast<int>(call.activation.kind)];
  o.alpha = static_cast<T>(call.activation.alpha), o.beta = static_cast<T>(call.activation.beta);
  if (!transpose) return o;
  std::swap(o.m, o.n);
  std::swap(o.a, o.b);
  std::swap(o.rs_a, o.cs_b), std::swap(o.cs_a, o.rs_b);
  std::swap(o.rs_c, o.cs_c);
  return o;
}

template <class T>
Operands<T> MatmulPlan<T>::operands(const Matmul<T>& call, int64_t batch, const T* dense_bias) const {
  Operands<T> o = orient(call, transposed);
  (transposed ? o.b : o.a) += batch * call.a.strides[0];
  (transposed ? o.a : o.b) += batch * call.b.strides[0];
  o.c += batch * call.c.strides[0];
  (transposed ? o.bias_column : o.bias_row) = dense_bias;
  return o;
}

template class MatmulPlan<float>;
template class MatmulPlan<double>;

}  // namespace ranvier
