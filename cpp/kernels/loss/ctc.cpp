// ctc_loss (ctc.h). A target with a blank before, between and after its labels has 2 size + 1 places. For
// each place the forward pass sums the probabilities of all paths that reach it at a step, from up to three
// places of the step before; the backward pass does so from the end. The gradient comes from the products of
// both sums. A thread computes whole samples.
#include "kernels/loss/ctc.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/integers.h"
#include "base/parallel.h"
#include "base/rows.h"

namespace ranvier {
namespace {

// A number m 2^e >= 0. Products of many probabilities leave the range of double, and sums of logarithms would
// need an exp and a log for each term. e is a whole number, if its size is below 2^53. The number 0 has m = 0
// and e <= kNone.
struct Wide {
  double m, e;
};
constexpr double kNone = -1e300;  // the exponent of 0

uint64_t bits_of(double x) {
  uint64_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
double of_bits(uint64_t bits) {
  double x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// 2^e for e < 1024; 0 if e is less than the exponents of normal numbers.
inline double power(double e) {
  const double biased = e + 1023 > 0 ? e + 1023 : 0;
  return of_bits(bits_of(biased + 0x1p52) << 52);  // the last bits of biased + 2^52 are the whole number
}

// m 2^e as a Wide whose m is in [1, 2) or 0. The argument m is in [0, 2^1000) or NaN.
inline Wide normal(double m, double e) {
  const uint64_t biased = bits_of(m) >> 52 & 2047;
  const double scaled = m * of_bits((2046 - biased) << 52);
  const double exponent = e + (of_bits(biased | bits_of(0x1p52)) - (0x1p52 + 1023));
  return {scaled, m == 0 ? kNone : exponent};
}

// The natural logarithm of a, and exp(x) as a Wide.
double log_of(Wide a) { return a.m == 0 ? -HUGE_VAL : std::log(a.m) + a.e * M_LN2; }

__attribute__((noinline)) Wide exp_of(double x) {
  if (x < kNone) return {0, kNone};
  if (!(x < -kNone)) return {std::nan(""), 0};
  const double e = std::floor(x * M_LOG2E);
  if (std::fabs(x) > 1e12) return {1, e};
  // ln 2 in two parts, of which the first times e is exact where |e| < 2^21.
  constexpr double high = 0x1.62e42fee00000p-1, low = 0x1.a39ef35793c76p-33;
  return {std::exp((x - e * high) - e * low), e};
}

// A Wide for each place of a target, with two zeros before and after them. The memory has doubles(width)
// elements.
struct Row {
  double *m, *e;

  static int64_t doubles(int64_t width) { return 2 * (width + 4); }
  Row(double* memory, int64_t width) : m(memory + 2), e(memory + width + 6) {}
  Wide operator[](int64_t s) const { return {m[s], e[s]}; }
  void set(int64_t s, Wide a) const {
    m[s] = a.m;
    e[s] = a.e;
  }
  void clear(int64_t places) const {
    std::fill_n(m - 2, places + 4, 0.0);
    std::fill_n(e - 2, places + 4, kNone);
  }
};

// to[s] = (a[s] + a[s + side] + a[s + 2 side]) p[s] for each place s; the third term counts only where
// skips[s] is 0, not where it is -inf. side: -1 or 1.
__attribute__((noinline)) void add_up(int64_t places, int64_t side, Row a, const double* __restrict__ skips,
                                      Row p, Row to) {
  const double* m1 = a.m + side;
  const double* e1 = a.e + side;
  const double* m2 = m1 + side;
  const double* e2 = e1 + side;
  double* __restrict__ to_m = to.m;
  double* __restrict__ to_e = to.e;
  for (int64_t s = 0; s < places; ++s) {
    const double third = e2[s] + skips[s];
    double e = a.e[s] > e1[s] ? a.e[s] : e1[s];
    e = e > third ? e : third;
    const double m = a.m[s] * power(a.e[s] - e) + m1[s] * power(e1[s] - e) + m2[s] * power(third - e);
    const Wide y = normal(m * p.m[s], e + p.e[s]);
    to_m[s] = y.m;
    to_e[s] = y.e;
  }
}

__attribute__((noinline)) Wide sum(Wide a, Wide b) {
  const double e = std::max(a.e, b.e);
  return normal(a.m * power(a.e - e) + b.m * power(b.e - e), e);
}

// One sample, and the class at each place of its target.
template <class T>
struct Sample {
  const T* x;
  int64_t step, of_class;  // strides of x
  int64_t places;
  int64_t* label;             // by place
  double *to_next, *to_last;  // by place s: 0 if a path may go from s to s + 2 (come from s - 2), else -inf

  // Fills these arrays. A path may leave out the blank between two different labels.
  void set(const int64_t* labels, int64_t of_label, int64_t blank, int64_t classes) const {
    for (int64_t s = 0; s < places; ++s)
      label[s] = s % 2 == 0 ? blank : inside(labels[s / 2 * of_label], classes);
    for (int64_t s = 0; s < places; ++s) {
      const bool is_label = s % 2 == 1;
      const bool from_last = is_label && s > 1 && label[s] != label[s - 2];
      const bool into_next = is_label && s + 2 < places && label[s] != label[s + 2];
      to_last[s] = from_last ? 0 : -HUGE_VAL;
      to_next[s] = into_next ? 0 : -HUGE_VAL;
    }
  }
  // The probability of the class at each place, at step t.
  void probabilities(int64_t t, Row p) const {
    const T* from = x + t * step;
    const Wide of_blank = exp_of(from[label[0] * of_class]);
    for (int64_t s = 0; s < places; s += 2) p.set(s, of_blank);
    for (int64_t s = 1; s < places; s += 2) p.set(s, exp_of(from[label[s] * of_class]));
  }
};

}  // namespace

// Two for the arrays of Sample, five that run_one() uses in turn, and one for each step (without dx two).
template <class T>
int64_t CtcLoss<T>::rows() const {
  const int64_t of_steps = dx.data ? x.shape[0] + 1 : 2;
  return 2 + 5 + of_steps;
}

template <class T>
size_t CtcLoss<T>::bytes_of_thread() const {
  const int64_t width = 2 * labels.shape[1] + 1;
  return size_t(round_up(rows() * Row::doubles(width) * int64_t(sizeof(double)), 64));
}

template <class T>
void CtcLoss<T>::run_one(const Team& team, int64_t i, double* memory) const {
  const int64_t batch = x.shape[1];
  const int64_t classes = x.shape[2];
  const int64_t width = 2 * labels.shape[1] + 1;
  const int64_t steps = std::clamp<int64_t>(lengths.data[i * lengths.strides[0]], 0, x.shape[0]);
  const int64_t size = std::clamp<int64_t>(sizes.data[i * sizes.strides[0]], 0, labels.shape[1]);
  const int64_t places = 2 * size + 1;
  const auto row = [&](int64_t k) { return Row(memory + (2 + k) * Row::doubles(width), width); };
  Sample<T> sample;
  sample.x = x.data + i * x.strides[1];
  sample.step = x.strides[0];
  sample.of_class = x.strides[2];
  sample.places = places;
  sample.label = reinterpret_cast<int64_t*>(memory);
  sample.to_next = memory + width;
  sample.to_last = memory + 2 * width;
  sample.set(labels.data + i * labels.strides[0], labels.strides[1], blank, classes);
  const Row p = row(0);
  const Row ones = row(1);
  const Row shares = row(4);
  for (int64_t k = 0; k < rows() - 2; ++k)
    if (k < 5 || k <= 5 + steps) row(k).clear(places);
  for (int64_t s = 0; s < places; ++s) ones.set(s, {1, 0});
  // before(t): the sums over all paths to each place after t steps. Before the first step a path is at place
  // 0. Without dx only two rows are kept.
  const auto before = [&](int64_t t) {
    const int64_t kept = dx.data ? t : t % 2;
    return row(5 + kept);
  };
  before(0).set(0, {1, 0});
  for (int64_t t = 0; t < steps && !interrupted(team); ++t) {
    sample.probabilities(t, p);
    add_up(places, -1, before(t), sample.to_last, p, before(t + 1));
  }
  const Row end = before(steps);
  const Wide total = size > 0 ? sum(end[places - 1], end[places - 2]) : end[0];
  const double log_total = log_of(total);
  const double found = log_total == 0 ? 0.0 : -log_total;  // 0, not -0
  loss.data[i * loss.strides[0]] = T(found);
  if (!dx.data) return;
  for (int64_t t = x.shape[0] - 1; t >= 0 && !interrupted(team); --t) {
    T* to = dx.data + (t * batch + i) * classes;
    if (t >= steps || !(total.m > 0)) {
      double value = total.m == 0 ? at_infinity : total.m;  // the loss is infinite, or NaN
      if (t >= steps) value = 0;
      std::fill_n(to, classes, T(value));
      continue;
    }
    // now: the sums over all continuations of paths from each place after step t; after: the same for step t
    // + 1.
    const Row after = row(2 + (t + 1) % 2);
    const Row now = row(2 + t % 2);
    if (t == steps - 1) {
      for (int64_t s = std::max<int64_t>(places - 2, 0); s < places; ++s) now.set(s, {1, 0});
    } else {
      sample.probabilities(t + 1, p);
      for (int64_t s = 0; s < places; ++s) shares.set(s, {after.m[s] * p.m[s], after.e[s] + p.e[s]});
      add_up(places, 1, shares, sample.to_next, ones, now);
    }
    const Row here = before(t + 1);
    double of_blank = 0;
    for (int64_t s = 0; s < places; ++s)
      shares.m[s] = here.m[s] * now.m[s] / total.m * power(here.e[s] + now.e[s] - total.e);
    for (int64_t s = 0; s < places; s += 2) of_blank += shares.m[s];
    for (int64_t s = 1; s < places; s += 2) to[sample.label[s]] -= T(shares.m[s]);
    to[blank] -= T(of_blank);
  }
}

template <class T>
void CtcLoss<T>::run(const Team& team, void* workspace) const {
  const int64_t batch = x.shape[1];
  const double passes = dx.data ? 3 : 1;
  const double cost = 4.0 * double(x.shape[0] * batch) * double(2 * labels.shape[1] + 1) * passes;
  team.parallel_for(batch, cost, [&](const OpenTeam& team, int64_t begin, int64_t end) {
    char* memory = static_cast<char*>(workspace) + size_t(team.index()) * bytes_of_thread();
    for (int64_t i = begin; i < end && !interrupted(team); ++i)
      run_one(team, i, reinterpret_cast<double*>(memory));
  });
}

RANVIER_INSTANTIATE(CtcLoss);

}  // namespace ranvier
