// The element-wise losses (loss.h): divides elements among threads, brings them into the strips that the
// loops take, and sums the losses.
#include "kernels/loss/loss.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/integers.h"
#include "base/long_total.h"
#include "base/loop_nest.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

#define RANVIER_X(name, op, cost) cost,
constexpr double kNsPerElement[] = {RANVIER_FOR_EACH_LOSS(RANVIER_X)};
#undef RANVIER_X

template <class T>
double cost_ns(Loss kind, int64_t n) {
  return kNsPerElement[static_cast<int>(kind)] * static_cast<double>(n) * static_cast<double>(sizeof(T) / 4);
}

// The elements of an operand along the innermost loop; data is null if there is no such operand.
template <class E>
struct Line {
  E* data;
  int64_t stride;
};

// Elements [i, i + n) of a line as whole vectors: in place, or in `copy` with zeros behind them.
template <class T>
const T* whole(const Line<const T>& line, int64_t i, int64_t n, T* copy) {
  const T* p = line.data + i * line.stride;
  if (line.stride == 1 && n % kLossWhole == 0) return p;
  if (line.stride == 1)
    std::copy_n(p, n, copy);
  else
    for (int64_t j = 0; j < n; ++j) copy[j] = p[j * line.stride];
  for (; n % kLossWhole; ++n) copy[n] = T(0);
  return copy;
}

// The line of v, which is tensor number `tensor` of the nest, at the offsets of a walk.
template <class E, int kTensors>
Line<E> line_at(const TensorView<E>& v, const LoopNest<kTensors>& nest, int tensor, const int64_t* offsets) {
  E* const data = v.data ? v.data + offsets[tensor] : nullptr;
  return {data, nest.strides[tensor][nest.ndim - 1]};
}

// The operands of a line of losses. factors: weight, and in the backward dy, by which results are multiplied.
template <class T>
struct LossOperands {
  Line<const T> x, target, other, factors[2];
};

// Computes one line of `count` elements, strip by strip: function(x, target, other) * common.scale, times
// each factor that has data. Writes the values to `to`, if it has data, and calls done(n, values) after each
// strip.
template <class T, class Done>
void for_each_strip(int64_t count, LossStrip<T> common, typename LossKernels<T>::Function function,
                    const LossOperands<T>& in, const Line<T>& to, const Done& done) {
  alignas(64) T copies[3][kLossStrip], out[kLossStrip];
  for (int64_t i = 0; i < count; i += kLossStrip) {
    const int64_t n = std::min(kLossStrip, count - i);
    const bool direct = to.data && to.stride == 1 && n % kLossWhole == 0;
    common.n = round_up(n, kLossWhole);
    common.x = whole(in.x, i, n, copies[0]);
    common.target = whole(in.target, i, n, copies[1]);
    common.other = in.other.data ? whole(in.other, i, n, copies[2]) : common.x;
    common.out = direct ? to.data + i : out;
    function(common);
    for (const Line<const T>& factor : in.factors)  // copies[0] is free again
      if (factor.data) loss_kernels<T>().multiply(common.n, common.out, whole(factor, i, n, copies[0]));
    if (to.data && !direct)
      for (int64_t j = 0; j < n; ++j) to.data[(i + j) * to.stride] = out[j];
    done(n, common.out);
  }
}

// What all strips of a call share.
template <class T>
LossStrip<T> strip_of(double setting, double scale) {
  LossStrip<T> strip{};
  strip.scale = static_cast<T>(scale);
  constexpr T tiny = std::numeric_limits<T>::min();
  strip.least = std::max(2 * tiny, tiny / std::abs(strip.scale));
  strip.setting = static_cast<T>(setting);
  return strip;
}

// By what a sum of losses is divided.
template <class T>
double divisor(Reduction reduction, const TensorView<const T>& x) {
  if (reduction == Reduction::mean) return static_cast<double>(numel(x));
  if (reduction == Reduction::batch_mean) return static_cast<double>(x.shape[0]);
  return 1;
}

}  // namespace

template <class T>
void LossForward<T>::run(const Team& team, void* workspace) const {
  const bool each = reduction == Reduction::none;
  const int64_t* const loss_strides = each ? loss.strides : x.strides;  // a sum is no tensor of this shape
  const LoopNest<5> nest(
      x.ndim, x.shape,
      {target.strides, strides_or_zeros(other), strides_or_zeros(weight), loss_strides, x.strides});
  const auto function = loss_kernels<T>().value[static_cast<int>(kind)];
  const auto strips = [&](int64_t begin, int64_t end, const auto& done) {
    nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[5]) {
      const auto line = [&](const auto& v, int t) { return line_at(v, nest, t, offsets); };
      const LossOperands<T> in = {line(x, 4), line(target, 0), line(other, 1), {line(weight, 2), {}}};
      Line<T> to{};
      if (each) to = line(loss, 3);
      for_each_strip(count, strip_of<T>(setting, /*scale=*/1), function, in, to, done);
    });
  };
  const double cost = cost_ns<T>(kind, nest.size);
  if (each) {
    team.parallel_for(nest.size, cost,
                      [&](int64_t begin, int64_t end) { strips(begin, end, [](int64_t, const T*) {}); });
    return;
  }
  double* partial = static_cast<double*>(workspace);
  const int parts = loss_parts(cost);
  team.region(cost, [&](const OpenTeam& team) {
    team.parallel_for(parts, cost, [&](int64_t part) {
      LongTotal sum;
      const int64_t begin = nest.size * part / parts;
      const int64_t end = nest.size * (part + 1) / parts;
      strips(begin, end, [&](int64_t n, const T* values) { sum.add(loss_kernels<T>().sum(n, values)); });
      partial[part] = sum.value();
    });
    team.parallel_for(1, 0, [&](int64_t, int64_t) {
      LongTotal sum;
      for (int part = 0; part < parts; ++part) sum.add(partial[part]);
      loss.data[0] = static_cast<T>(sum.value() / divisor(reduction, x));
    });
  });
}

template <class T>
void LossBackward<T>::run(const Team& team, void*) const {
  const bool each = reduction == Reduction::none;
  const int64_t* const dy_strides = each ? dy.strides : kZeros;
  const LoopNest<6> nest(
      x.ndim, x.shape,
      {x.strides, target.strides, strides_or_zeros(other), strides_or_zeros(weight), dy_strides, dx.strides});
  const double cost = cost_ns<T>(kind, nest.size);
  const auto function = loss_kernels<T>().gradient[of_target][static_cast<int>(kind)];
  team.parallel_for(nest.size, cost, [&](int64_t begin, int64_t end) {
    const double scale = each ? 1 : static_cast<double>(dy.data[0]) / divisor(reduction, x);
    nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[6]) {
      const auto line = [&](const auto& v, int t) { return line_at(v, nest, t, offsets); };
      Line<const T> dys{};
      if (each) dys = line(dy, 4);
      const LossOperands<T> in = {line(x, 0), line(target, 1), line(other, 2), {line(weight, 3), dys}};
      for_each_strip(count, strip_of<T>(setting, scale), function, in, line(dx, 5), [](int64_t, const T*) {});
    });
  });
}

RANVIER_INSTANTIATE(LossForward);
RANVIER_INSTANTIATE(LossBackward);

}  // namespace ranvier
