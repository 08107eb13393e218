// The loops of ClassLossKernels (class_loss.h) over lines of class scores, compiled once for each ISA level.
// A line has the scores x of one sample for all classes. With top = the largest score and sum = the sum of
// exp(x - top), which the forward saves:
//
//   cross_entropy   loss = sum over classes of q (top - x + log(sum)), q = the (smoothed, weighted) target
//   its gradient    (exp(x - top) / sum * (the sum of q) - q) dy
//   nll             loss = -weight x of the line's class
#include "kernels/loss/class_loss.h"
#include "kernels/loss/class_lines.h"
#include "kernels/loss/small_cross_entropy.h"
#include "kernels/loss/sum.h"
#include "simd/tile.h"

namespace ranvier::RANVIER_ISA {

// True if c is a class, and not ignore_index. The caller has checked the indices, but another thread may have
// changed them since.
template <class T>
RANVIER_INLINE bool has_class(const ClassLines<T>& l, int64_t c) {
  return c != l.settings.ignore_index && static_cast<uint64_t>(c) < static_cast<uint64_t>(l.n);
}

// nll picks one score of each line, so that vectors would gain nothing.
template <bool is_weighted, class T>
static void nll_lines(const ClassLines<T>& lines) {
  // A copy: the compiler assumes that a store may change what a reference names.
  const ClassLines<T> l = lines;
  for (int64_t i = 0; i < l.count; ++i) {
    const int64_t c = l.index.data[i * l.index.line];
    T weight = 0;
    T loss = 0;
    if (has_class(l, c)) {
      weight = is_weighted ? l.weight[c] : T(1);
      loss = -weight * l.x.data[i * l.x.line + c * l.x.step];
    }
    l.loss.data[i * l.loss.line] = loss;
    if (l.share.data) l.share.data[i] = weight;
  }
}
template <class T>
static void nll_forward(const ClassLines<T>& l) {
  if (l.weight) {
    nll_lines<true>(l);
  } else {
    nll_lines<false>(l);
  }
}

// Sets dx of lines [first, first + count) to 0.
template <class T>
RANVIER_INLINE void clear_lines(const ClassLines<T>& l, int64_t first, int64_t count) {
  constexpr int L = lanes<T>;
  T* dx = l.dx.data + first * l.dx.line;
  if (l.dx.step == 1) {
    const bool joined = l.dx.line == l.n;  // all lines are one run of memory
    const int64_t n = joined ? l.n * count : l.n;
    const int64_t runs = joined ? 1 : count;
    for (int64_t i = 0; i < runs; ++i) __builtin_memset(dx + i * l.dx.line, 0, size_t(n) * sizeof(T));
  } else {
    for (int64_t k = 0; k < l.n; ++k)
      for (int64_t i = 0; i < count; i += L)
        store_lanes(dx + i * l.dx.line + k * l.dx.step, l.dx.line, vec<T>{}, lanes_used<T>(count - i));
  }
}

template <bool is_weighted, class T>
static void nll_gradients(const ClassLines<T>& lines) {
  const ClassLines<T> l = lines;  // a copy, as in nll_lines()
  // How many lines are cleared at a time: they are still in the L1 cache when their class is written.
  const int64_t near = l.n < 2048 ? 4096 / (l.n + 1) + 1 : 1;
  for (int64_t first = 0; first < l.count; first += near) {
    const int64_t end = l.count - first < near ? l.count : first + near;
    clear_lines(l, first, end - first);
    for (int64_t i = first; i < end; ++i) {
      const int64_t c = l.index.data[i * l.index.line];
      if (!has_class(l, c)) continue;
      const T weight = is_weighted ? l.weight[c] : T(1);
      l.dx.data[i * l.dx.line + c * l.dx.step] = -weight * (l.dy.data[i * l.dy.line] * l.scale);
    }
  }
}

template <class T>
static void nll_backward(const ClassLines<T>& l) {
  if (l.weight) {
    nll_gradients<true>(l);
  } else {
    nll_gradients<false>(l);
  }
}

// --- The bodies of loops over classes. over_classes() (class_lines.h) calls step(x, q, sum) for vectors of
// scores x and of the classes' coefficients q, and passes the sums along. weighs: whether step() needs q,
// else q is 0; writes: whether its result is stored to dx; rare: whether long lines are read in the same way
// as short ones, which saves code. The members of a body have one number for each line of a group.
template <class T>
struct SumOfCoefficients {  // adds up q
  static constexpr bool weighs = true, writes = false, rare = true;
  RANVIER_INLINED vec<T> step(vec<T> x, vec<T> q, vec<T>& sum) const {
    sum += q;
    return x;
  }
};
template <class T>
struct CrossEntropyRest {  // adds up the loss
  static constexpr bool weighs = true, writes = false, rare = false;
  vec<T> top, log_sum;
  RANVIER_INLINED vec<T> step(vec<T> x, vec<T> q, vec<T>& sum) const {
    sum += q * ((top - x) + log_sum);
    return x;
  }
};
template <class T>
struct ScaledSoftmax {  // the gradient, without what `taken` subtracts at the class of the line
  static constexpr bool weighs = false, writes = true, rare = false;
  // factor: weight dy / sum; least: exp(x - top) below this gives 0, so that no gradient is subnormal, which
  // would be slow (scaled_softmax() in class_lines.h)
  vec<T> top, factor, least;
  RANVIER_INLINED vec<T> step(vec<T> x, vec<T>, vec<T>&) const {
    return scaled_softmax(x - top, factor, least);
  }
};
template <class T>
struct CrossEntropySlope {  // the gradient, if all classes have coefficients
  static constexpr bool weighs = true, writes = true, rare = false;
  vec<T> top, total, dy;  // total: the sum of the coefficients / sum
  RANVIER_INLINED vec<T> step(vec<T> x, vec<T> q, vec<T>&) const { return (exp(x - top) * total - q) * dy; }
};
template <class T>
struct SlopeOfProbability {  // the gradient of the target's probabilities
  static constexpr bool weighs = true, writes = true, rare = true;
  vec<T> top, log_sum, dy;
  RANVIER_INLINED vec<T> step(vec<T> x, vec<T> q, vec<T>&) const { return ((top - x) + log_sum) * dy * q; }
};

// Stores the losses of a group, and what each line adds to the divisor of a mean (share): its weight, or 1.
template <class T>
RANVIER_INLINE void put(const ClassLines<T>& l, const LineGroup<T>& g, typename VecOf<T>::type loss,
                        const T* share) {
  store_lanes(l.loss.data + g.first * l.loss.line, l.loss.line, where_used(g, loss), g.count);
  if (l.share.data) store_lanes(l.share.data + g.first, 1, load(share), g.count);
}

// The gradients dy of a group's losses, times scale.
template <class T>
RANVIER_INLINE vec<T> dy_of(const ClassLines<T>& l, const LineGroup<T>& g) {
  return load_lanes(l.dy.data + g.first * l.dy.line, l.dy.line, g.count) * l.scale;
}
// The tops and sums of a group that the forward has saved.
template <class T>
RANVIER_INLINE TopAndSum<T> saved_of(const ClassLines<T>& l, const LineGroup<T>& g) {
  const T* saved = l.saved.data + g.first * l.saved.line;
  return {load_lanes(saved, l.saved.line, g.count), load_lanes(saved + l.saved.step, l.saved.line, g.count)};
}

// The coefficients without weights: q = keep * target + spread. The target is a probability of each class.
// For an index it is 1 at one class: over_classes() then gives bodies only `spread`, and the functions below
// add what `keep` times the target gives: to the loss directly, to dx by `taken`, which over_classes()
// subtracts at the class of the line.
template <class T>
RANVIER_INLINE Coefficients<T> coefficients_of(const ClassLines<T>& l) {
  const double smoothing = l.settings.smoothing;
  const T keep = T(1) - T(smoothing);
  const T spread = smoothing > 0 ? T(smoothing / double(l.n)) : T(0);
  return {keep, spread};
}

// cross_entropy of a group of lines from line `first` on. group_of<true>() also reads the score of each
// line's class (LineGroup::of_class); group_of<false>() does not. Both choose how the group is read (across
// or along in class_lines.h).
struct CrossEntropy {
  template <class T>
  RANVIER_INLINE void forward(const ClassLines<T>& l, int64_t first) {
    const LineGroup<T> g = group_of<true>(l, first);
    const TopAndSum<T> s = top_and_sum(l, g);
    const vec<T> log_sum = log(s.sum);
    const Coefficients<T> q = coefficients_of(l);
    vec<T> loss = l.index.data ? load(g.weight) * ((s.top - load(g.of_class)) + log_sum) : vec<T>{};
    if (l.probabilities.data || q.spread != T(0))
      loss = q.keep * loss + over_classes(l, g, CrossEntropyRest<T>{s.top, log_sum}, q);
    put(l, g, loss, g.weight);
  }

  template <class T>
  RANVIER_INLINE void backward(const ClassLines<T>& l, int64_t first) {
    const LineGroup<T> g = group_of<false>(l, first);
    const Coefficients<T> q = coefficients_of(l);
    const TopAndSum<T> s = saved_of(l, g);
    const vec<T> dy = dy_of(l, g);
    const vec<T> weight = load(g.weight);
    alignas(64) T taken[lanes<T>];
    store(taken, q.keep * weight * dy);
    if (l.probabilities.data || q.spread != T(0)) {
      const vec<T> total = l.probabilities.data ? over_classes(l, g, SumOfCoefficients<T>{}, q)
                                                : q.spread * l.weights + q.keep * weight;
      const T* taken_at_class = l.index.data ? taken : nullptr;
      over_classes(l, g, CrossEntropySlope<T>{s.top, total / s.sum, dy}, q, taken_at_class);
    } else {
      const vec<T> factor = weight * dy / s.sum;
      over_classes(l, g, ScaledSoftmax<T>{s.top, factor, least_softmax(factor)}, q, taken);
    }
  }
};

// The gradient of cross_entropy's probabilities.
struct OfProbabilities {
  template <class T>
  RANVIER_INLINE void backward(const ClassLines<T>& l, int64_t first) {
    const LineGroup<T> g = group_of<false>(l, first);
    const vec<T> dy = dy_of(l, g) * (T(1) - T(l.settings.smoothing));
    const TopAndSum<T> s = saved_of(l, g);
    over_classes(l, g, SlopeOfProbability<T>{s.top, log(s.sum), dy}, Coefficients<T>{0, 1});
  }
};

template <class Op, class T>
static void forward(const ClassLines<T>& l) {
  for (int64_t i = 0; i < l.count; i += lanes<T>) Op::forward(l, i);
}
template <class Op, class T>
static void backward(const ClassLines<T>& l) {
  for (int64_t i = 0; i < l.count; i += lanes<T>) Op::backward(l, i);
}
template <class T>
static void target_backward(const ClassLines<T>& l) {
  ClassLines<T> scores = l;
  scores.probabilities.data = nullptr;  // their gradient does not depend on them
  backward<OfProbabilities>(scores);
}

template <class T>
static constexpr ClassLossKernels<T> class_loss_table = {{forward<CrossEntropy, T>, nll_forward<T>},
                                                         {backward<CrossEntropy, T>, nll_backward<T>},
                                                         target_backward<T>,
                                                         sum<T>,
                                                         small_cross_entropy<T>()};

RANVIER_DEFINE_TABLES(ClassLossKernels, class_loss_kernels, class_loss_table);

}  // namespace ranvier::RANVIER_ISA
