// The loops of OptimizerKernels (kernels.h), compiled once for each ISA level: the update of contiguous
// elements by a rule of rules.h. The other loops are in norms.h.
#include "kernels/optimizer/kernels.h"
#include "kernels/optimizer/norms.h"
#include "kernels/optimizer/rules.h"

namespace ranvier::RANVIER_ISA {

// Elements [i, i + n) of a run.
template <class T>
static OptimizerRun<T> part_of(const OptimizerRun<T>& r, int64_t i, int64_t n) {
  OptimizerRun<T> part = {n, r.p + i, r.g + i, {}};
  for (int k = 0; k < kMaxStates; ++k) part.states[k] = r.states[k] ? r.states[k] + i : nullptr;
  return part;
}

// Copies of fewer elements than a vector has, in whole vectors whose other lanes are 0. So a rule has to
// handle whole vectors only.
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

// OptimizerRule::on_vectors: the update on whole vectors.
template <class Rule, class T>
static void on_vectors(const OptimizerRun<T>& run, const void* made) {
  // A copy: the compiler assumes that stores may change what a reference names.
  const OptimizerRun<T> r = run;
  const auto update = *static_cast<const decltype(Rule::of({}, {}))*>(made);
  for (int64_t i = 0; i < r.n; i += lanes<T>) update(r, i);
}

// Updates fewer elements than a vector has.
template <class T>
static __attribute__((noinline)) void on_part(const OptimizerRule<T>& rule, const OptimizerRun<T>& r,
                                              const void* made) {
  if (r.n == 0) return;
  const Padded<T> padded(r);
  rule.on_vectors(padded.run, made);
  padded.write_to(r);
}

// OptimizerKernels::update. Whole vectors begin where the first state, or without states the parameter, is
// aligned; the other states have the same alignment.
template <class T>
static void on_elements(const OptimizerRule<T>& rule, const OptimizerRun<T>& r, const void* made) {
  const T* aligned = r.states[0] ? r.states[0] : r.p;
  const int64_t first = before_aligned<lanes<T>>(aligned, r.n);
  const int64_t whole = (r.n - first) / lanes<T> * lanes<T>;
  on_part(rule, part_of(r, 0, first), made);
  rule.on_vectors(part_of(r, first, whole), made);
  on_part(rule, part_of(r, first + whole, r.n - first - whole), made);
}

// OptimizerRule::make: stores the function that the rule returns, with the numbers that it has captured.
template <class Rule>
static void make(void* made, const double* settings, const OptimizerPast& past) {
  const auto update = Rule::of(settings_of<Rule>(settings), past);
  static_assert(sizeof(update) <= kMadeBytes);
  __builtin_memcpy(made, &update, sizeof update);
}

template <class Rule, class T>
static constexpr OptimizerRule<T> row(const char* name, int needed, int more, NextNumber next) {
  return {name, sizeof(Rule) / sizeof(double), needed, needed + more, next, make<Rule>, on_vectors<Rule, T>};
}

#define RANVIER_X(name, Rule, needed, more, next) row<Rule<T>, T>(#name, needed, more, next),
template <class T>
static constexpr OptimizerRule<T> rules_of[] = {RANVIER_FOR_EACH_OPTIMIZER(RANVIER_X)};
#undef RANVIER_X

template <class T>
static constexpr OptimizerKernels<T> table() {
  OptimizerKernels<T> k{};
  k.rules = rules_of<T>;
  k.rule_count = sizeof(rules_of<T>) / sizeof(OptimizerRule<T>);
  k.update = on_elements<T>;
  k.sum_of_squares = norm_of<SumOfProducts, T>;
  k.sum_of_magnitudes = norm_of<SumOfMagnitudes, T>;
  k.largest_magnitude = norm_of<LargestMagnitude, T>;
  k.sum_of_powers = sum_of_powers<T>;
  k.dot = dot<T>;
  k.scale = scale<T>;
  k.clamp = clamp<T>;
  k.move_towards = move_towards<T>;
  k.add_scaled = add_scaled<T>;
  k.add_penalty = add_penalty<T>;
  k.penalty = penalty<T>;
  return k;
}
template <class T>
static constexpr OptimizerKernels<T> kernels_of = table<T>();

RANVIER_DEFINE_TABLES(OptimizerKernels, optimizer_kernels, kernels_of);

}  // namespace ranvier::RANVIER_ISA
