// An update that the ranks of a host divide: each updates the elements whose gradients it sums.
#pragma once
#include <vector>

#include "base/parallel.h"
#include "bindings/ranks/rank_sum.h"
#include "kernels/optimizer/optimizer.h"
#include "program/program.h"

namespace ranvier::bind {

// The weights are exchanged after each update, the optimizer's state after the last one: until then a rank
// has the state of its own elements only. An element is updated as in the whole update, so the bits stay.
class RankUpdate {
 public:
  // Both must outlive it, and their arrays stay where they are.
  RankUpdate(const Program& update, RankSum& ranks);

  // True if the update consists of steps of an optimizer on contiguous arrays of float32, whose gradients are
  // the values of the sum, and there are enough of them for a gain.
  bool pays() const { return pays_; }
  bool add(bool says) { return ranks_.add(says, head_); }
  // After add(). last: whether the next update is a whole one. False where an exception is set.
  bool run(const Team& team, bool last);
  // In place of run(): the values become the sums, and the state is complete; the update is still to be made.
  bool complete();

 private:
  using Step = OptimizerStep<float>;
  using Segment = OptimizerSegment<float>;
  // Calls does(step, segment) for each parameter until it returns false. Returns false then, and if an
  // instruction is not an optimizer step.
  template <class Does>
  bool each(Does does) const;
  bool fits(const Segment& segment);
  void run(const Step& step, const Segment& segment, const Team& team);
  void update(int64_t begin, int64_t end, const Team& team);
  void count(const Team& team);
  bool gather_state();
  void take(int which, int64_t rank) const;
  int64_t place(const Segment& s) const {
    return s.gradient.data - reinterpret_cast<const float*>(ranks_.values());
  }

  RankSum& ranks_;
  const std::vector<Instruction>& all_;
  Step one_ = {};   // the step of one segment
  int64_t head_;    // this many values before the first gradient, which every rank needs
  int states_ = 0;  // a bit for each array of state that is exchanged
  bool pays_;
};

}  // namespace ranvier::bind
