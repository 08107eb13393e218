// optimizer: each segment's rule, and the walk over the segments.
#include "kernels/optimizer/optimizer.h"

#include <cmath>

#include "kernels/optimizer/numbers.h"
#include "kernels/optimizer/segments.h"

namespace ranvier {
namespace {

constexpr double kNsPerElement = 0.5;

// The numbers of the step before: most often all parameters are at the same step, and two powers take as long
// as the update of some hundred elements.
template <class T>
struct LastNumbers {
  double step = -1;
  AdamNumbers<T> numbers;
};

template <class T>
void run_rule(const OptimizerStep<T>& call, const OptimizerSegment<T>& segment, const OptimizerRun<T>& run,
              LastNumbers<T>& last) {
  const OptimizerKernels<T>& kernels = optimizer_kernels<T>();
  const double step = *segment.step.data;
  switch (call.rule) {
    case OptimizerRule::sgd:
      return kernels.sgd(run, sgd_numbers(call, step));
    case OptimizerRule::rmsprop:
      return kernels.rmsprop(run, rmsprop_numbers(call));
    case OptimizerRule::adam:
      if (step != last.step) last = {step, adam_numbers(call, step)};
      return kernels.adam(run, last.numbers);
    case OptimizerRule::adagrad:
      return kernels.adagrad(run, adagrad_numbers(call, step));
    case OptimizerRule::adadelta:
      return kernels.adadelta(run, adadelta_numbers(call));
    case OptimizerRule::adamax:
      return kernels.adamax(run, adam_numbers(call, step));
    case OptimizerRule::nadam:
      return kernels.nadam(run, nadam_numbers(call, step, *segment.product.data));
    case OptimizerRule::radam:
      return kernels.radam(run, radam_numbers(call, step));
    case OptimizerRule::rprop:
      return kernels.rprop(run, rprop_numbers(call, step));
    case OptimizerRule::asgd:
      return kernels.asgd(run, asgd_numbers(call, step, *segment.product.data));
  }
}

// Elements [begin, end) of one segment; strided ones are brought into a dense copy, chunk by chunk.
template <class T>
void update_segment(const OptimizerStep<T>& call, const OptimizerSegment<T>& s, int64_t begin, int64_t end,
                    LastNumbers<T>& last) {
  const int64_t piece = is_contiguous(s.gradient) && is_contiguous(s.parameter) ? end - begin : kChunk;
  for_each_piece(s.gradient, begin, end, piece, [&](const T* gradient, int64_t i, int64_t n) {
    OptimizerRun<T> run;
    run.n = n, run.g = gradient;
    for (int k = 0; k < kMaxStates; ++k) run.states[k] = s.states[k].data ? s.states[k].data + i : nullptr;
    update_elements(s.parameter, i, i + n, [&](T* p, int64_t) {
      run.p = p;
      run_rule(call, s, run, last);
    });
  });
}

template <class T>
void count_step(const OptimizerStep<T>& call, const OptimizerSegment<T>& s) {
  *s.step.data += 1;
  if (call.rule == OptimizerRule::nadam) *s.product.data *= nadam_momentum(call.settings.data, *s.step.data);
  if (call.rule == OptimizerRule::asgd) *s.product.data = asgd_rate(call.settings.data, *s.step.data);
}

}  // namespace

template <class T>
void OptimizerStep<T>::run(const Team& team, void*) const {
  if ((loss.data && !std::isfinite(*loss.data)) || (loss_double.data && !std::isfinite(*loss_double.data)))
    return;
  const auto size = [&](int i) { return numel(segments[i].parameter); };
  const auto update = [this, last = LastNumbers<T>{}](int i, int64_t begin, int64_t end) mutable {
    update_segment(*this, segments[i], begin, end, last);
  };
  for_each_share(team, count, kNsPerElement, size, update, [&] {
    for (int i = 0; i < count; ++i) count_step(*this, segments[i]);
  });
}

RANVIER_INSTANTIATE(OptimizerStep);

}  // namespace ranvier
