#include "bindings/rank_update.h"

#include <algorithm>

#include "base/fp_environment.h"

namespace ranvier::bind {

constexpr int64_t kPays = 1 << 15;  // elements

// Whether all are steps of an optimizer, and does(segment) is true for each parameter.
bool RankUpdate::each(const std::vector<Instruction>& steps, Do does, int64_t rank) {
  for (const Instruction& i : steps) {
    auto* step = i.as<OptimizerStep<float>>();
    if (!step) return false;
    for (int k = 0; k < step->count; ++k)
      if (!(this->*does)(step->segments[k], rank)) return false;
  }
  return true;
}

RankUpdate::RankUpdate(const Program& update, RankSum& ranks)
    : ranks_(ranks), all_(update.instructions()), own_(all_), head_(ranks.count()) {
  pays_ = ranks.ranks() > 1 && ranks.count() >= kPays && ranks.type() == DType::float32 &&
          each(all_, &RankUpdate::fits, 0) && head_ <= ranks.bound(1);
  if (pays_) each(own_, &RankUpdate::keep_own, 0);
}

bool RankUpdate::fits(Segment& s, int64_t) {
  const int64_t at = place(s);
  if (at < 0 || at + numel(s.parameter) > ranks_.count()) return false;
  for (int i = 0; i < kMaxStates; ++i) states_ |= (s.states[i].data != nullptr) << i;
  head_ = std::min(head_, at);
  return is_contiguous(as_const(s.parameter)) && is_contiguous(s.gradient);
}

bool RankUpdate::keep_own(Segment& s, int64_t) {
  const int64_t at = place(s), size = numel(s.parameter);
  const int64_t begin = std::clamp<int64_t>(ranks_.begin_own(head_) - at, 0, size);
  const int64_t n = std::clamp(ranks_.end_own() - at, begin, size) - begin;
  const auto cut = [&](auto& v) { v.data += begin, v.ndim = 1, v.shape[0] = n, v.strides[0] = 1; };
  cut(s.parameter), cut(s.gradient);
  for (TensorView<float>& state : s.states)
    if (state.data) cut(state);
  return true;
}

bool RankUpdate::run(const Team& team, bool last) {
  {
    const FpEnvironment environment;
    for (const Instruction& i : own_) i.type->run(i.call.data(), team, nullptr);
  }
  return exchange(0, false) && (!last || gather_state());
}

bool RankUpdate::move(Segment& s, int64_t rank) {
  float* const data = which_ ? s.states[which_ - 1].data : s.parameter.data;
  if (data) ranks_.move(rank, place(s), numel(s.parameter), reinterpret_cast<char*>(data));
  return true;
}

// which: 0: the parameters, i: state i of each.
bool RankUpdate::exchange(int which, bool begins) {
  which_ = which;
  const auto copy = [](void* of, int64_t rank) {
    auto& self = *static_cast<RankUpdate*>(of);
    self.each(self.all_, &RankUpdate::move, rank);
  };
  return ranks_.exchange(copy, this, begins);
}

bool RankUpdate::gather_state() {
  for (int i = 0; i < kMaxStates; ++i)
    if (states_ & 1 << i && !exchange(1 + i, true)) return false;
  return true;
}

bool RankUpdate::complete() {
  const auto copy = [](void* of, int64_t rank) {
    const auto& self = *static_cast<RankUpdate*>(of);
    const RankSum& ranks = self.ranks_;
    ranks.move(rank, self.head_, ranks.count() - self.head_, ranks.values() + self.head_ * sizeof(float));
  };
  return ranks_.exchange(copy, this, false) && gather_state();
}

}  // namespace ranvier::bind
