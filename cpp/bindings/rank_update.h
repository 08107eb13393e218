// An update of which each rank of a host makes a part: that of the elements whose gradients it sums.
#pragma once
#include <vector>

#include "base/parallel.h"
#include "bindings/rank_sum.h"
#include "kernels/optimizer/optimizer.h"
#include "program/program.h"

namespace ranvier::bind {

// The weights go round after each update. The state does after the last one: until then a rank has only that
// of its own elements. An element is updated as in the whole update, so the bits stay.
class RankUpdate {
 public:
  // Both must outlive it, and their arrays stay where they are.
  RankUpdate(const Program& update, RankSum& ranks);

  // Whether the update is steps of an optimizer on contiguous arrays of float32, with the values of the sum
  // as their gradients, and these are enough to pay.
  bool pays() const { return pays_; }
  bool add(bool says) { return ranks_.add(says, head_); }
  // After add(). last: whether the next update is a whole one. False where an exception is set.
  bool run(const Team& team, bool last);
  // In place of run(): the values become the sums, and the state is complete; the update is still to be made.
  bool complete();

 private:
  using Segment = OptimizerSegment<float>;
  using Do = bool (RankUpdate::*)(Segment&, int64_t rank);
  bool each(const std::vector<Instruction>& steps, Do does, int64_t rank);
  bool fits(Segment& segment, int64_t);
  bool keep_own(Segment& segment, int64_t);
  bool move(Segment& segment, int64_t rank);
  bool exchange(int which, bool begins);
  bool gather_state();
  int64_t place(const Segment& s) const {
    return s.gradient.data - reinterpret_cast<const float*>(ranks_.values());
  }

  RankSum& ranks_;
  const std::vector<Instruction>& all_;
  std::vector<Instruction> own_;  // the same for this rank's elements
  int64_t head_;                  // so many values before the first gradient, which every rank needs
  int states_ = 0, which_ = 0;    // of those: the arrays that go round
  bool pays_;
};

}  // namespace ranvier::bind
