// RankUpdate: an optimizer's update that the ranks of a host divide among them. Each rank sums the gradients
// of the elements that it owns in a RankSum, and updates only these weights.
#pragma once
#include <vector>

#include "base/parallel.h"
#include "bindings/ranks/rank_sum.h"
#include "kernels/optimizer/optimizer.h"
#include "program/program.h"

namespace ranvier::bind {

// The ranks exchange the weights after each update, and the optimizer's state after the last update: until
// then a rank has the present state of its own elements only. Each element is computed as in an undivided
// update, with the same bits.
class RankUpdate {
 public:
  // update: the program of the undivided update. Both arguments must outlive this object, and their arrays
  // must stay where they are.
  RankUpdate(const Program& update, RankSum& ranks);

  // True if the update can be divided and a division saves time: it consists of steps of an optimizer on
  // contiguous arrays of float32, whose gradients lie in the values of the sum, and has at least kPays
  // elements.
  bool pays() const { return pays_; }
  // RankSum::add() with a head. run() or complete() has to follow.
  bool add(bool says) { return ranks_.add(says, head_); }
  // Sums and updates this rank's elements, and exchanges the weights. last: the next update is not divided,
  // so the state is exchanged, too. False if Python's error is set.
  bool run(const Team& team, bool last);
  // In place of run(): completes the sums and exchanges the state, so that the caller can make the undivided
  // update.
  bool complete();

 private:
  using Step = OptimizerStep<float>;
  using Segment = OptimizerSegment<float>;
  // Calls does(step, segment) for each parameter until it returns false. Returns false then, and if an
  // instruction is not an optimizer step.
  template <class Does>
  bool each(Does does) const;
  bool fits(const Segment& segment);  // true if it can be divided; also sets head_ and states_
  void run(const Step& step, const Segment& segment, const Team& team);
  void update(int64_t begin, int64_t end, const Team& team);
  void count(const Team& team);
  bool gather_state();
  void take(int which, int64_t rank) const;
  // The index of a parameter's first gradient among the values of the sum.
  int64_t place(const Segment& s) const {
    return s.gradient.data - reinterpret_cast<const float*>(ranks_.values());
  }

  RankSum& ranks_;
  const std::vector<Instruction>& all_;
  Step one_ = {};   // a step with a single segment, which run() fills
  int64_t head_;    // how many values come before the first gradient; every rank needs their sums
  int states_ = 0;  // bit i is set if parameters have an array of state i
  bool pays_;
};

}  // namespace ranvier::bind
