// OptimizerStep (optimizer.h): divides the segments among threads, and applies the rule to each of them. A
// segment is one parameter with its gradient and states; the rules are in rules.h, their loops over
// contiguous elements in optimizer.isa.cpp. An element is updated by itself, so the bits do not depend on the
// threads.
#include "kernels/optimizer/optimizer.h"

#include <cmath>

#include "kernels/copy/copy.h"
#include "kernels/optimizer/kernels.h"
#include "kernels/optimizer/segments.h"

namespace ranvier {
namespace {

constexpr double kNsPerUpdate = 0.5;  // on one thread, roughly

// A rule, and the numbers that it has computed for the latest parameter (OptimizerRule::make). They are kept
// for the next one: most often all parameters are at the same step, and computing two powers takes as long as
// updating some hundred elements.
template <class T>
class StepRule {
 public:
  explicit StepRule(const OptimizerStep<T>& call)
      : rule_(optimizer_kernels<T>().rules[call.rule]), settings_(call.settings.data) {}

  void update(const OptimizerSegment<T>& s, const OptimizerRun<T>& run) {
    const OptimizerPast past = {*s.step.data, number_of(s)};
    if (past.steps != past_.steps || past.number != past_.number) {
      past_ = past;
      rule_.make(made_, settings_, past);
    }
    optimizer_kernels<T>().update(rule_, run, made_);
  }
  // Raises the number of steps of a segment by one, and computes its next `number`.
  void count(const OptimizerSegment<T>& s) const {
    *s.step.data += 1;
    if (!rule_.next) return;
    const double next = rule_.next(settings_, *s.step.data, number_of(s));
    if (s.single.data)
      *s.single.data = static_cast<float>(next);
    else
      *s.number.data = next;
  }

 private:
  // The number that a rule keeps for a parameter; 1 if it keeps none.
  static double number_of(const OptimizerSegment<T>& s) {
    if (s.single.data) return *s.single.data;
    return s.number.data ? *s.number.data : 1;
  }

  const OptimizerRule<T>& rule_;
  const double* settings_;
  OptimizerPast past_ = {NAN, 0};  // none yet
  alignas(double) char made_[kMadeBytes];
};

// Updates elements [begin, end) of one segment. Strided ones are copied, chunk by chunk.
template <class T>
void update_segment(const OptimizerSegment<T>& s, int64_t begin, int64_t end, StepRule<T>& rule) {
  const int64_t piece = is_contiguous(s.gradient) && is_contiguous(s.parameter) ? end - begin : kChunk;
  for_each_piece(s.gradient, begin, end, piece, [&](const T* gradient, int64_t i, int64_t n) {
    OptimizerRun<T> run;
    run.n = n;
    run.g = gradient;
    for (int k = 0; k < kMaxStates; ++k) run.states[k] = s.states[k].data ? s.states[k].data + i : nullptr;
    update_elements(s.parameter, i, i + n, [&](T* p, int64_t) {
      run.p = p;
      rule.update(s, run);
    });
  });
}

// Updates elements [begin, end) of a segment of 16-bit floats, chunk by chunk in copies of float.
void update_halves(const OptimizerSegment<float>& s, int64_t begin, int64_t end, StepRule<float>& rule) {
  constexpr int kMost = 2 + kMaxStates;  // arrays: parameter, gradient, states
  alignas(64) float blocks[kMost][kChunk];
  uint16_t bits[kChunk];
  TensorView<uint16_t> views[kMost];
  const auto add = [&](int k, const auto& v) {
    views[k].data = reinterpret_cast<uint16_t*>(const_cast<float*>(v.data));
    views[k].ndim = v.ndim;
    std::copy_n(v.shape, v.ndim, views[k].shape);
    std::copy_n(v.strides, v.ndim, views[k].strides);
  };
  add(0, s.parameter);
  add(1, s.gradient);
  for (int j = 0; j < kMaxStates; ++j) add(2 + j, s.states[j]);
  bool dense[kMost];
  for (int k = 0; k < kMost; ++k) dense[k] = is_contiguous(views[k]);
  const Stored stored = s.parameter.stored;
  for (int64_t i = begin; i < end; i += kChunk) {
    OptimizerRun<float> run{std::min(kChunk, end - i), blocks[0], blocks[1], {}};
    for (int k = 0; k < kMost; ++k) {
      if (!views[k].data) continue;
      if (k > 1) run.states[k - 2] = blocks[k];
      if (!dense[k]) gather(views[k], i, i + run.n, bits);
      const uint16_t* from = dense[k] ? views[k].data + i : bits;
      widen(stored, from, run.n, blocks[k]);
    }
    rule.update(s, run);
    for (int k = 0; k < kMost; ++k) {
      if (!views[k].data || k == 1) continue;
      uint16_t* to = dense[k] ? views[k].data + i : bits;
      round(blocks[k], run.n, stored, to);
      if (!dense[k]) scatter(bits, views[k], i, i + run.n);
    }
  }
}

}  // namespace

template <class T>
void OptimizerStep<T>::run(const Team& team, void*) const {
  if ((loss.data && !std::isfinite(*loss.data)) || (loss_double.data && !std::isfinite(*loss_double.data)))
    return;
  const auto size = [&](int i) { return numel(segments[i].parameter); };
  const StepRule<T> rule(*this);
  const auto update = [this, own = rule](int i, int64_t begin, int64_t end) mutable {
    if constexpr (sizeof(T) == sizeof(float))
      if (segments[i].parameter.stored != Stored::whole) return update_halves(segments[i], begin, end, own);
    update_segment(segments[i], begin, end, own);
  };
  for_each_share(team, count, kNsPerUpdate, size, update, [&] {
    for (int i = 0; i < count; ++i) rule.count(segments[i]);
  });
}

RANVIER_INSTANTIATE(OptimizerStep);

}  // namespace ranvier
