// OptimizerKernels: the table of the optimizer's loops for each ISA level, and their arguments.
// optimizer.isa.cpp defines them, with the update rules of rules.h and the sums of norms.h; optimizer.cpp,
// clip.cpp, penalty.cpp, move.cpp and lbfgs.cpp call them. All arrays are contiguous.
#pragma once
#include "base/isa.h"
#include "kernels/optimizer/optimizer.h"

namespace ranvier {

// n contiguous elements of one segment: parameter, gradient and states.
template <class T>
struct OptimizerRun {
  int64_t n;
  T* p;
  const T* g;
  T* states[kMaxStates];
};

// From what a rule computes the numbers of a step, besides its settings.
struct OptimizerPast {
  double steps;   // taken before this one
  double number;  // OptimizerSegment::number
};

// Computes OptimizerSegment::number for the next step. steps: including this one.
using NextNumber = double (*)(const double* settings, double steps, double number);

// One rule: a row of RANVIER_FOR_EACH_OPTIMIZER (rules.h).
template <class T>
struct OptimizerRule {
  const char* name;
  int settings;     // how many settings it has
  int needed;       // how many states are always given: the first ones
  int states;       // how many states it has; those from `needed` on may be missing
  NextNumber next;  // null if it keeps no number
  // Computes the numbers of a step once, and stores them at `made`; on_vectors then updates whole vectors
  // with them.
  void (*make)(void* made, const double* settings, const OptimizerPast& past);
  void (*on_vectors)(const OptimizerRun<T>&, const void* made);
};
constexpr int kMadeBytes = 128;  // the most bytes that `make` writes

template <class T>
struct OptimizerKernels {
  const OptimizerRule<T>* rules;
  int rule_count;
  void (*update)(const OptimizerRule<T>&, const OptimizerRun<T>&, const void* made);
  double (*sum_of_squares)(const T* g, int64_t n);
  double (*sum_of_magnitudes)(const T* g, int64_t n);
  double (*largest_magnitude)(const T* g, int64_t n);  // NaN if an element is NaN
  double (*sum_of_powers)(const T* g, int64_t n, double p);
  double (*dot)(const T* a, const T* b, int64_t n);  // in double
  void (*scale)(T* g, int64_t n, T factor);          // g *= factor
  void (*clamp)(T* g, int64_t n, T limit);           // to [-limit, limit]
  // Average += weight (value - average)
  void (*move_towards)(T* average, const T* value, int64_t n, T weight);
  void (*add_scaled)(T* y, const T* x, int64_t n, T factor);                    // y += factor x
  void (*add_penalty)(T* g, const T* p, int64_t n, T scale, T l1, T twice_l2);  // see norms.h
  double (*penalty)(const T* p, int64_t n, double l1, double l2);               // in double, see norms.h
};

RANVIER_TABLES(OptimizerKernels, optimizer_kernels)

}  // namespace ranvier
