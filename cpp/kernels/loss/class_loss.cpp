// The losses of classes (class_loss.h): gives lines of scores to the loops of class_loss.isa.cpp, in the
// order of memory, and sums their losses.
#include "kernels/loss/class_loss.h"

#include "base/loop_nest.h"
#include "base/parallel.h"
#include "base/without_axis.h"

namespace ranvier {
namespace {

#define RANVIER_X(name, cost) cost,
constexpr double kNsPerLogit[] = {RANVIER_FOR_EACH_CLASS_LOSS(RANVIER_X)};
#undef RANVIER_X
constexpr double kNsPerLine = 5;  // on one thread, roughly
constexpr int64_t kLines = 256;   // lines of one kernel call, whose losses are added while they are in cache

double cost_ns(ClassLoss kind, int64_t lines, int64_t n) {
  return static_cast<double>(lines) *
         (kNsPerLine + kNsPerLogit[static_cast<int>(kind)] * static_cast<double>(n));
}

// The strides from line to line: those of v without `axis`. All are 0 if v has no data.
template <class E>
WithoutAxis line_strides(const TensorView<E>& v, int axis = 1) {
  const int64_t* strides = v.data ? v.strides : kZeros;
  const int ndim = v.data ? v.ndim : kMaxDims;
  return WithoutAxis(strides, ndim, axis);
}

// The lines of v, which is tensor number `tensor` of the nest, at the offsets of a walk. step: from class to
// class. The last tensor of a LoopNest (base/loop_nest.h) decides in which order the lines are visited: the
// order of its memory. So x is the last one in the forward, and dx, which is written, in the backward.
template <class E, int kTensors>
OverLines<E> lines_at(const TensorView<E>& v, const LoopNest<kTensors>& nest, int tensor,
                      const int64_t* offsets, int64_t step = 0) {
  return {v.data ? v.data + offsets[tensor] : nullptr, nest.strides[tensor][nest.ndim - 1], step};
}

// The values that all lines of a call share.
template <class T, class Call>
ClassLines<T> common_lines(const Call& call) {
  ClassLines<T> lines{};
  lines.n = call.x.shape[1];
  lines.weight = call.weight.data;
  lines.settings = call.settings;
  if (call.settings.smoothing > 0) {
    double sum = 0;
    for (int64_t c = 0; c < lines.n; ++c)
      sum += call.weight.data ? static_cast<double>(call.weight.data[c]) : 1;
    lines.weights = static_cast<T>(sum);
  }
  return lines;
}

// Computes at most kLines lines at a time. Adds their losses to sums[0], and their shares of the divisor to
// sums[1].
template <class T>
void add_up(ClassLines<T> lines, typename ClassLossKernels<T>::Function function, double* sums) {
  alignas(64) T losses[kLines], shares[kLines];
  lines.loss = {losses, 1, 0};
  lines.share = {shares, 1, 0};
  for (int64_t left = lines.count; left > 0; left -= kLines) {
    lines.count = std::min(left, kLines);
    function(lines);
    sums[0] += class_loss_kernels<T>().sum(lines.count, losses);
    sums[1] += class_loss_kernels<T>().sum(lines.count, shares);
    lines.x.data += kLines * lines.x.line;
    if (lines.index.data) lines.index.data += kLines * lines.index.line;
    if (lines.probabilities.data) lines.probabilities.data += kLines * lines.probabilities.line;
    if (lines.tops_and_sums.data) lines.tops_and_sums.data += kLines * lines.tops_and_sums.line;
  }
}

// True if the functions of small_cross_entropy.h can compute the call, with the same bits: they add all
// losses in one part, so the general functions must do so, too. They read the lower 32 bits of an index, so
// ignore_index must fit in these.
template <class T, class Call>
bool is_small(const Call& call) {
  const int64_t ignored = call.settings.ignore_index;
  return class_loss_kernels<T>().small.forward && call.kind == ClassLoss::cross_entropy && call.x.ndim == 2 &&
         call.x.shape[0] <= kSmallLines && call.x.shape[1] <= kSmallClasses && call.x.shape[0] > 0 &&
         call.x.shape[1] > 0 && call.x.strides[1] == 1 && call.index.data && call.index.strides[0] == 1 &&
         !call.weight.data && call.settings.smoothing == 0 && call.reduction != Reduction::none &&
         loss_parts(cost_ns(call.kind, call.x.shape[0], call.x.shape[1])) == 1 &&
         call.tops_and_sums.strides[1] == 1 && ignored == static_cast<int32_t>(ignored);
}

// The lines of such a call, for the functions of small_cross_entropy.h.
template <class T, class Call>
ClassLines<T> small_lines(const Call& call) {
  ClassLines<T> lines{};
  lines.count = call.x.shape[0];
  lines.n = call.x.shape[1];
  lines.x = {call.x.data, call.x.strides[0], 1};
  lines.index = {call.index.data, 1, 0};
  lines.settings = call.settings;
  return lines;
}

// Writes the loss and the divisor from the sums of losses and of shares of the divisor.
template <class T>
void finish(const ClassLossForward<T>& call, double (&sums)[2]) {
  const bool mean = call.reduction == Reduction::mean;
  call.divisor.data[0] = mean ? static_cast<T>(sums[1]) : T(1);
  const double result = mean ? sums[0] / sums[1] : sums[0];
  call.loss.data[0] = static_cast<T>(result);
}

template <class T>
void run_small(const ClassLossForward<T>& call) {
  ClassLines<T> lines = small_lines<T>(call);
  lines.tops_and_sums = {call.tops_and_sums.data, 1, call.tops_and_sums.strides[0]};
  double sums[2];
  class_loss_kernels<T>().small.forward(lines, sums);
  finish(call, sums);
}

template <class T>
void run_small(const ClassLossBackward<T>& call) {
  ClassLines<T> lines = small_lines<T>(call);
  lines.dy = {call.dy.data, 0, 0};
  lines.scale = T(1) / call.divisor.data[0];
  lines.saved = {call.tops_and_sums.data, 1, call.tops_and_sums.strides[0]};
  lines.dx = {call.dx.data, call.dx.strides[0], 1};
  class_loss_kernels<T>().small.backward(lines);
}

}  // namespace

template <class T>
void ClassLossForward<T>::run(const Team& team, void* workspace) const {
  if (is_small<T>(*this)) return team.parallel_for(1, 0, [&](int64_t) { run_small(*this); });
  const bool each = reduction == Reduction::none;
  const WithoutAxis shape(x.shape, x.ndim, 1);
  const WithoutAxis strides_x = line_strides(x);
  // The tensors by number: 0 index, 1 probabilities, 2 loss, 3 tops_and_sums, 4 x.
  const LoopNest<5> nest(x.ndim - 1, shape,
                         {strides_or_zeros(index), line_strides(probabilities), each ? loss.strides : kZeros,
                          line_strides(tops_and_sums, 0), strides_x});
  const ClassLines<T> common = common_lines<T>(*this);
  const auto function = class_loss_kernels<T>().forward[static_cast<int>(kind)];
  const auto walk = [&](int64_t begin, int64_t end, const auto& f) {
    nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[5]) {
      ClassLines<T> lines = common;
      lines.count = count;
      lines.x = lines_at(x, nest, 4, offsets, x.strides[1]);
      lines.index = lines_at(index, nest, 0, offsets);
      lines.probabilities = lines_at(probabilities, nest, 1, offsets, probabilities.strides[1]);
      lines.tops_and_sums = lines_at(tops_and_sums, nest, 3, offsets, tops_and_sums.strides[0]);
      if (each) lines.loss = lines_at(loss, nest, 2, offsets);
      f(lines);
    });
  };
  const int64_t classes_read = kind == ClassLoss::nll ? 1 : x.shape[1];
  const double cost = cost_ns(kind, nest.size, classes_read);
  // Depends on the sizes alone, so the sums have the same bits for any team.
  const int parts = loss_parts(cost);
  double(*partial)[2] = static_cast<double(*)[2]>(workspace);
  team.region(cost, [&](const OpenTeam& team) {
    // parallel_for() calls a function of (begin, end) for shares of the numbers below its first argument, and
    // a function of one number for each number.
    if (each) {
      team.parallel_for(nest.size, cost, [&](int64_t begin, int64_t end) { walk(begin, end, function); });
    } else {
      team.parallel_for(parts, cost, [&](int64_t part) {
        partial[part][0] = partial[part][1] = 0;
        walk(nest.size * part / parts, nest.size * (part + 1) / parts,
             [&](const ClassLines<T>& lines) { add_up<T>(lines, function, partial[part]); });
      });
    }
    team.parallel_for(1, 0, [&](int64_t, int64_t) {  // on one thread, after all parts are done
      divisor.data[0] = T(1);
      if (each) return;
      double sums[2] = {};
      for (int part = 0; part < parts; ++part) {
        sums[0] += partial[part][0];
        sums[1] += partial[part][1];
      }
      finish(*this, sums);
    });
  });
}

template <class T>
void ClassLossBackward<T>::run(const Team& team, void*) const {
  if (!of_target && is_small<T>(*this) && dx.strides[1] == 1)
    return team.parallel_for(1, 0, [&](int64_t) { run_small(*this); });
  const bool each = reduction == Reduction::none;
  const WithoutAxis shape(x.shape, x.ndim, 1);
  const WithoutAxis strides_x = line_strides(x);
  const WithoutAxis strides_dx = line_strides(dx);
  // The tensors by number: 0 x, 1 index, 2 probabilities, 3 dy, 4 tops_and_sums, 5 dx.
  const LoopNest<6> nest(x.ndim - 1, shape,
                         {strides_x, strides_or_zeros(index), line_strides(probabilities),
                          each ? dy.strides : kZeros, line_strides(tops_and_sums, 0), strides_dx});
  const ClassLines<T> common = common_lines<T>(*this);
  const auto& kernels = class_loss_kernels<T>();
  const auto function = of_target ? kernels.target_backward : kernels.backward[static_cast<int>(kind)];
  team.walk(nest, cost_ns(kind, nest.size, x.shape[1]), [&](int64_t count, const int64_t(&offsets)[6]) {
    ClassLines<T> lines = common;
    lines.count = count;
    lines.scale = T(1) / divisor.data[0];
    lines.x = lines_at(x, nest, 0, offsets, x.strides[1]);
    lines.index = lines_at(index, nest, 1, offsets);
    lines.probabilities = lines_at(probabilities, nest, 2, offsets, probabilities.strides[1]);
    lines.dy = lines_at(dy, nest, 3, offsets);
    lines.saved = lines_at(tops_and_sums, nest, 4, offsets, tops_and_sums.strides[0]);
    lines.dx = lines_at(dx, nest, 5, offsets, dx.strides[1]);
    function(lines);
  });
}

RANVIER_INSTANTIATE(ClassLossForward);
RANVIER_INSTANTIATE(ClassLossBackward);

}  // namespace ranvier
