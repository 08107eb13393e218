// optimizer: one step of an update rule over a list of parameters
//
// A segment is one parameter with its gradient and state, all of one shape. Parameter and gradient have any
// strides; states are C-contiguous. Everything is updated in place, so storage never moves. What changes from
// step to step is read from buffers: `settings` (learning rate and the other numbers of the rule, float64)
// and each segment's own step count, which the kernel counts up.
//
// Parameter, gradient and states of a segment may all be halves of one kind.
//
// Updates are element by element, so the bits depend on neither the team nor the strides.
//
// A step whose loss is given and is NaN or infinite changes nothing: neither parameters nor states nor
// counts.
#pragma once
#include <cstddef>

#include "base/views.h"

namespace ranvier {

constexpr int kMaxSegments = 32;  // the most segments of one call; longer lists take several
constexpr int kMaxStates = 3;

template <class T>
struct OptimizerSegment {
  TensorView<T> parameter;
  TensorView<const T> gradient;
  TensorView<T> states[kMaxStates];  // data null where the rule has no such state
  TensorView<double> step;           // one element: steps taken before this one
  TensorView<double> number;         // one element: that a rule keeps of each parameter; 1 at first
  TensorView<float> single;          // the same, where it is stored as a float
};

template <class T>
struct OptimizerStep {
  static constexpr const char* name = "optimizer_step";
  int rule;  // which of OptimizerKernels::rules
  int count;
  TensorView<const double> settings;
  TensorView<const float> loss;          // one element, or data null
  TensorView<const double> loss_double;  // the same, for a loss in double
  OptimizerSegment<T> segments[kMaxSegments];

  void run(const Team& team, void* workspace) const;
  void buffers(ViewList& v) const {
    v.add(settings, loss, loss_double);
    for (int i = 0; i < count; ++i) {
      const OptimizerSegment<T>& s = segments[i];
      v.add(in_place(s.parameter), s.gradient, in_place(s.step), in_place(s.number), in_place(s.single),
            in_place(s.states));
    }
  }
};

}  // namespace ranvier
