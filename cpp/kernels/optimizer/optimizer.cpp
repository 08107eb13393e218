// optimizer: the numbers of each rule, and the walk over the segments.
#include "kernels/optimizer/optimizer.h"

#include <cmath>

#include "kernels/optimizer/segments.h"

namespace ranvier {
namespace {

constexpr double kNsPerElement = 0.5;

// In double before they are rounded: 1 - 0.999 in float is wrong in its fourth digit.
template <class T>
SgdNumbers<T> sgd_numbers(const OptimizerStep<T>& call, double step) {
  const double* s = call.settings.data;
  return {T(s[0]), T(s[1]), T(1 - s[2]), T(s[3]), step == 0, call.nesterov, call.maximize};
}

template <class T>
RmspropNumbers<T> rmsprop_numbers(const OptimizerStep<T>& call) {
  const double* s = call.settings.data;
  return {T(s[0]), T(s[1]), T(1 - s[1]), T(s[2]), T(s[3]), T(s[4]), call.maximize};
}

template <class T>
AdamNumbers<T> adam_numbers(const OptimizerStep<T>& call, double step) {
  const double* s = call.settings.data;
  const double lr = s[0], beta1 = s[1], beta2 = s[2], weight_decay = s[4], t = step + 1;
  const bool decoupled = call.decoupled_decay;
  return {T(beta2),
          T(1 - beta1),
          T(1 - beta2),
          T(s[3]),
          T(lr / (1 - std::pow(beta1, t))),
          T(1 / std::sqrt(1 - std::pow(beta2, t))),
          T(decoupled ? 0 : weight_decay),
          T(decoupled ? 1 - lr * weight_decay : 1),
          call.maximize};
}

template <class T>
void run_rule(const OptimizerStep<T>& call, double step, const OptimizerRun<T>& run) {
  const OptimizerKernels<T>& kernels = optimizer_kernels<T>();
  switch (call.rule) {
    case OptimizerRule::sgd:
      return kernels.sgd(run, sgd_numbers(call, step));
    case OptimizerRule::rmsprop:
      return kernels.rmsprop(run, rmsprop_numbers(call));
    case OptimizerRule::adam:
      return kernels.adam(run, adam_numbers(call, step));
  }
}

// Elements [begin, end) of one segment; strided ones are brought into a dense copy, chunk by chunk.
template <class T>
void update_segment(const OptimizerStep<T>& call, const OptimizerSegment<T>& s, int64_t begin, int64_t end) {
  const bool dense_gradient = is_contiguous(s.gradient);
  const int64_t piece = dense_gradient && is_contiguous(s.parameter) ? end - begin : kChunk;
  T gradient[kChunk];
  for (int64_t i = begin; i < end; i += piece) {
    const int64_t n = std::min(piece, end - i);
    OptimizerRun<T> run;
    run.n = n;
    run.g = s.gradient.data + i;
    if (!dense_gradient) gather(s.gradient, i, i + n, gradient), run.g = gradient;
    for (int k = 0; k < kMaxStates; ++k) run.states[k] = s.states[k].data ? s.states[k].data + i : nullptr;
    update_elements(s.parameter, i, i + n, [&](T* p, int64_t) {
      run.p = p;
      run_rule(call, *s.step.data, run);
    });
  }
}

}  // namespace

template <class T>
void OptimizerStep<T>::run(void*) const {
  const auto size = [&](int i) { return numel(segments[i].parameter); };
  int64_t total = 0;
  for (int i = 0; i < count; ++i) total += size(i);
  parallel_region(kNsPerElement * total, [&] {
    for_each_share(count, size, [&](int i, int64_t begin, int64_t end) {
      update_segment(*this, segments[i], begin, end);
    });
    team_barrier();  // all have read the step counts
    if (team_index() == 0)
      for (int i = 0; i < count; ++i) *segments[i].step.data += 1;
    team_barrier();
  });
}

template struct OptimizerStep<float>;
template struct OptimizerStep<double>;

}  // namespace ranvier
