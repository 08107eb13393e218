// optimizer's loops, compiled once for each ISA level.
#include "kernels/optimizer/kernels.h"
#include "kernels/optimizer/norms.h"
#include "kernels/optimizer/rules.h"

namespace ranvier::RANVIER_ISA {

template <class T>
static OptimizerRun<T> part_of(const OptimizerRun<T>& r, int64_t i, int64_t n) {
  OptimizerRun<T> part = {n, r.p + i, r.g + i, {}};
  for (int k = 0; k < kMaxStates; ++k) part.states[k] = r.states[k] ? r.states[k] + i : nullptr;
  return part;
}

// Copies of fewer elements than a vector has, in whole vectors whose other lanes are 0: the rule has no
// second form for them.
template <class T>
struct Padded {
  alignas(64) T copies[2 + kMaxStates][lanes<T>];
  OptimizerRun<T> run;

  explicit Padded(const OptimizerRun<T>& r) : run{lanes<T>, copies[0], copies[1], {}} {
    const int n = static_cast<int>(r.n);
    store(copies[0], load_n(r.p, n));
    store(copies[1], load_n(r.g, n));
    for (int k = 0; k < kMaxStates; ++k) {
      if (!r.states[k]) continue;
      run.states[k] = copies[2 + k];
      store(copies[2 + k], load_n(r.states[k], n));
    }
  }

  void write_to(const OptimizerRun<T>& r) const {
    const int n = static_cast<int>(r.n);
    store_n(r.p, load(copies[0]), n);
    for (int k = 0; k < kMaxStates; ++k)
      if (r.states[k]) store_n(r.states[k], load(copies[2 + k]), n);
  }
};

// A rule on a run of whole vectors.
template <class T>
using OnVectors = void (*)(const OptimizerRun<T>&, const void* numbers);

template <class Rule, class T, class Numbers>
static void on_vectors(const OptimizerRun<T>& run, const void* numbers) {
  const OptimizerRun<T> r = run;  // copies: the stores below cannot change them
  const Numbers c = *static_cast<const Numbers*>(numbers);
  for (int64_t i = 0; i < r.n; i += lanes<T>) Rule::apply(r, c, i);
}

template <class T>
static __attribute__((noinline)) void on_part(const OptimizerRun<T>& r, const void* numbers,
                                              OnVectors<T> rule) {
  if (r.n == 0) return;
  const Padded<T> padded(r);
  rule(padded.run, numbers);
  padded.write_to(r);
}

// Aligned to the first state, as the others are, or to the parameter.
template <class T>
static __attribute__((noinline)) void on_elements(const OptimizerRun<T>& r, const void* numbers,
                                                  OnVectors<T> rule) {
  const int64_t first = before_aligned<lanes<T>>(r.states[0] ? r.states[0] : r.p, r.n);
  const int64_t whole = (r.n - first) / lanes<T> * lanes<T>;
  on_part(part_of(r, 0, first), numbers, rule);
  rule(part_of(r, first, whole), numbers);
  on_part(part_of(r, first + whole, r.n - first - whole), numbers, rule);
}

template <class Rule, class T, class Numbers>
static void update(const OptimizerRun<T>& r, const Numbers& c) {
  on_elements<T>(r, &c, on_vectors<Rule, T, Numbers>);
}

template <class T>
static constexpr OptimizerKernels<T> kernels_of = {update<Sgd, T, SgdNumbers<T>>,
                                                   update<Rmsprop, T, RmspropNumbers<T>>,
                                                   update<Adam, T, AdamNumbers<T>>,
                                                   update<Adagrad, T, AdagradNumbers<T>>,
                                                   update<Adadelta, T, AdadeltaNumbers<T>>,
                                                   update<Adamax, T, AdamNumbers<T>>,
                                                   update<Nadam, T, AdamNumbers<T>>,
                                                   update<Radam, T, AdamNumbers<T>>,
                                                   update<Rprop, T, RpropNumbers<T>>,
                                                   update<Asgd, T, AsgdNumbers<T>>,
                                                   norm_of<SumOfProducts, T>,
                                                   norm_of<SumOfMagnitudes, T>,
                                                   norm_of<LargestMagnitude, T>,
                                                   sum_of_powers<T>,
                                                   dot<T>,
                                                   scale<T>,
                                                   clamp<T>,
                                                   move_towards<T>,
                                                   add_scaled<T>,
                                                   add_penalty<T>,
                                                   penalty<T>};

RANVIER_DEFINE_TABLES(OptimizerKernels, optimizer_kernels, kernels_of);

}  // namespace ranvier::RANVIER_ISA
