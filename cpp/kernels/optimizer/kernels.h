// The arguments of the optimizer's loops, and their table for each ISA level.
#pragma once
#include "base/isa.h"
#include "kernels/optimizer/optimizer.h"

namespace ranvier {

// Contiguous elements of one segment.
template <class T>
struct OptimizerRun {
  int64_t n;
  T* p;
  const T* g;
  T* states[kMaxStates];
};

// The values from which a rule is made, besides its settings.
struct OptimizerPast {
  double steps;   // taken before this one
  double number;  // the number that some rules keep for each parameter, 1 at first
};

using NextNumber = double (*)(const double* settings, double steps, double number);

// A row of RANVIER_FOR_EACH_OPTIMIZER (rules.h).
template <class T>
struct OptimizerRule {
  const char* name;
  int settings, needed, states;  // numbers; arrays of state that it cannot do without, and all
  NextNumber next;               // null: it keeps no number
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
  double (*largest_magnitude)(const T* g, int64_t n);  // NaN where there is one
  double (*sum_of_powers)(const T* g, int64_t n, double p);
  double (*dot)(const T* a, const T* b, int64_t n);  // in double
  void (*scale)(T* g, int64_t n, T factor);
  void (*clamp)(T* g, int64_t n, T limit);
  void (*move_towards)(T* average, const T* value, int64_t n, T weight);
  void (*add_scaled)(T* y, const T* x, int64_t n, T factor);  // y += factor x
  void (*add_penalty)(T* g, const T* p, int64_t n, T scale, T l1, T twice_l2);
  double (*penalty)(const T* p, int64_t n, double l1, double l2);  // in double
};

RANVIER_TABLES(OptimizerKernels, optimizer_kernels)

}  // namespace ranvier
