// optimizer: one step of an update rule over a list of parameters
//
// A segment is one parameter with its gradient and states (such as running means), all of the same shape.
// Parameter and gradient may have any strides; states are C-contiguous. Everything is updated in place. What
// changes from step to step is read from arrays: `settings` (learning rate and the other numbers of the rule,
// in double), and for each segment the number of steps, which the call raises by one.
//
// Parameter, gradient and states of a segment may be 16-bit floats, all of the same dtype. Each element is
// updated by itself, so the bits depend neither on the team nor on the strides.
//
// If a loss is given and is NaN or infinite, the step changes nothing: no parameter, no state, no number of
// steps.
#pragma once
#include <cstddef>

#include "base/views.h"

namespace ranvier {

constexpr int kMaxSegments = 32;  // the most segments of one call; longer lists take several calls
constexpr int kMaxStates = 3;     // the most arrays of state of a rule

template <class T>
struct OptimizerSegment {
  TensorView<T> parameter;
  TensorView<const T> gradient;
  TensorView<T> states[kMaxStates];  // data is null if the rule has no such state
  TensorView<double> step;           // one element: steps taken before this one
  TensorView<double> number;  // one element: a number that some rules keep for each parameter; 1 at first
  TensorView<float> single;   // `number` if it is stored as float32; at most one of the two has data
};

template <class T>
struct OptimizerStep {
  static constexpr const char* name = "optimizer_step";
  int rule;   // which of OptimizerKernels::rules
  int count;  // of segments
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
