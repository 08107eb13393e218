// RankUpdate (rank_update.h): cuts this rank's elements out of each parameter of an optimizer's step, and
// updates them.
#include "bindings/ranks/rank_update.h"

#include <algorithm>

#include "base/fp_environment.h"

namespace ranvier::bind {

constexpr int kParameters = -1;       // take(): the parameters, not one of their states
constexpr int64_t kPays = 1 << 15;    // elements of the sum from which a divided update saves time
constexpr int64_t kAtOnce = 1 << 13;  // elements of a thread that are summed and updated at once, in L2

namespace {

// The part of a parameter that lies in the elements [begin, end) of the sum, as a segment of vectors. at: the
// index of the parameter's first element. An update of a segment also counts the parameter's steps, but other
// parts of the parameter need the old counts. So the segment gets copies of them in `cells` (two numbers);
// null: it counts in the parameter's own numbers.
OptimizerSegment<float> cut(OptimizerSegment<float> s, int64_t at, int64_t begin, int64_t end,
                            double* cells) {
  const int64_t size = numel(s.parameter);
  const int64_t first = std::clamp<int64_t>(begin - at, 0, size);
  const int64_t n = std::clamp(end - at, first, size) - first;
  const auto part = [&](auto& v) {
    v.data += first;
    v.ndim = 1;
    v.shape[0] = n;
    v.strides[0] = 1;
  };
  part(s.parameter);
  part(s.gradient);
  for (TensorView<float>& state : s.states)
    if (state.data) part(state);
  if (!cells) return s;
  for (TensorView<double>* number : {&s.step, &s.number}) {
    if (!number->data) continue;
    *cells = *number->data;
    number->data = cells;
    ++cells;
  }
  if (s.single.data) {  // the number as a float, from which the copy is made
    *cells = *s.single.data;
    s.number.data = cells;
    s.single.data = nullptr;
  }
  return s;
}

}  // namespace

template <class Does>
bool RankUpdate::each(Does does) const {
  for (const Instruction& i : all_) {
    const Step* step = i.as<Step>();
    if (!step) return false;
    for (int k = 0; k < step->count; ++k)
      if (!does(*step, step->segments[k])) return false;
  }
  return true;
}

RankUpdate::RankUpdate(const Program& update, RankSum& ranks)
    : ranks_(ranks), all_(update.instructions()), head_(ranks.count()) {
  pays_ = false;
  if (ranks.ranks() <= 1 || ranks.count() < kPays || ranks.type() != DType::float32) return;
  const bool all_fit =
      each([&](const Step&, const Segment& s) { return fits(s); });  // sets head_ and states_
  pays_ = all_fit && head_ <= ranks.bound(1);
}

// True if the segment's parameter lies in the sum as a whole, in one piece. Notes which states it has, and
// where the first parameter begins.
bool RankUpdate::fits(const Segment& s) {
  const int64_t at = place(s);
  if (at < 0 || at + numel(s.parameter) > ranks_.count()) return false;
  for (int i = 0; i < kMaxStates; ++i)
    if (s.states[i].data) states_ |= 1 << i;
  head_ = std::min(head_, at);
  return is_contiguous(as_const(s.parameter)) && is_contiguous(s.gradient);
}

void RankUpdate::run(const Step& step, const Segment& segment, const Team& team) {
  one_.rule = step.rule;
  one_.settings = step.settings;
  one_.count = 1;
  one_.segments[0] = segment;
  one_.run(team, /*workspace=*/nullptr);
}

// Sums, updates and publishes the elements [begin, end). The parameters' counts of steps do not change.
void RankUpdate::update(int64_t begin, int64_t end, const Team& team) {
  ranks_.sum(begin, end);
  each([&](const Step& step, const Segment& s) {
    double cells[2];
    const int64_t at = place(s);
    const int64_t first = std::max(begin, at);
    if (at >= end || at + numel(s.parameter) <= begin) return true;
    const Segment part = cut(s, at, begin, end, cells);
    run(step, part, team);
    ranks_.give(first, numel(part.parameter), part.parameter.data);
    return true;
  });
}

// Counts one step of each parameter: runs the update on no elements, with the parameter's own counts.
void RankUpdate::count(const Team& team) {
  each([&](const Step& step, const Segment& s) {
    const Segment empty = cut(s, /*at=*/0, /*begin=*/0, /*end=*/0, /*cells=*/nullptr);
    run(step, empty, team);
    return true;
  });
}

bool RankUpdate::run(const Team& team, bool last) {
  {
    const FpEnvironment environment;
    const int64_t end = ranks_.end_own();
    const int64_t step = kAtOnce * team.threads();
    for (int64_t i = ranks_.begin_own(head_); i < end; i += step) update(i, std::min(i + step, end), team);
    count(team);
  }
  const bool taken = ranks_.take([&](int64_t rank) { take(kParameters, rank); });
  if (!taken) return false;
  return !last || gather_state();
}

// Copies a rank's elements of all parameters (which = kParameters) or of their state `which`: see
// RankSum::move().
void RankUpdate::take(int which, int64_t rank) const {
  each([&](const Step&, const Segment& s) {
    float* const data = which == kParameters ? s.parameter.data : s.states[which].data;
    if (data) ranks_.move(rank, place(s), numel(s.parameter), reinterpret_cast<char*>(data));
    return true;
  });
}

bool RankUpdate::gather_state() {
  for (int i = 0; i < kMaxStates; ++i) {
    const bool has_state = (states_ & 1 << i) != 0;
    if (!has_state) continue;
    const bool done = ranks_.exchange([&](int64_t rank) { take(i, rank); }, /*begins=*/true);
    if (!done) return false;
  }
  return true;
}

bool RankUpdate::complete() {
  ranks_.sum(ranks_.begin_own(head_), ranks_.end_own());
  const int64_t size = ranks_.count() - head_;
  char* const values = ranks_.values() + head_ * sizeof(float);
  const bool done =
      ranks_.exchange([&](int64_t rank) { ranks_.move(rank, head_, size, values); }, /*begins=*/false);
  return done && gather_state();
}

}  // namespace ranvier::bind
