// Sums that depend on each other, of three numbers each: compiled once, for the baseline.
#include "kernels/loss/ctc.h"

#include <algorithm>
#include <cmath>

#include "base/integers.h"
#include "base/parallel.h"
#include "base/rows.h"

namespace ranvier {
namespace {

constexpr double kNone = -HUGE_VAL;  // the logarithm of 0

// log(e^a + e^b + e^c); NaN where one is.
double log_sum(double a, double b, double c) {
  const double top = std::max(a, std::max(b, c));
  if (!(top > kNone)) return a + b + c;
  const auto share = [&](double v) { return v == kNone ? 0.0 : std::exp(v - top); };
  return top + std::log(share(a) + share(b) + share(c));
}

// One sample: places s of its target with blanks, and the label of each.
struct Sample {
  const double* x;
  int64_t step, of_class;  // strides of x
  const int64_t* labels;
  int64_t of_label, blank, classes, places;

  int64_t label(int64_t s) const { return s % 2 == 0 ? blank : inside(labels[s / 2 * of_label], classes); }
  double logp(int64_t t, int64_t s) const { return x[t * step + label(s) * of_class]; }
  // Whether a path may come to s from s - 2: the blank between two different labels may be left out.
  bool skips(int64_t s) const { return s % 2 == 1 && s > 1 && label(s) != blank && label(s) != label(s - 2); }

  // The logarithms of the sums over all paths that are at s at step t, from those of the step before.
  void forward(int64_t t, const double* before, double* now) const {
    for (int64_t s = 0; s < places; ++s) {
      if (t == 0)
        now[s] = s < 2 ? logp(0, s) : kNone;
      else
        now[s] =
            logp(t, s) + log_sum(before[s], s > 0 ? before[s - 1] : kNone, skips(s) ? before[s - 2] : kNone);
    }
  }
  // The same from the end, without step t itself.
  void backward(int64_t t, bool last, const double* after, double* now) const {
    const auto from = [&](int64_t s) { return after[s] + logp(t + 1, s); };
    for (int64_t s = 0; s < places; ++s) {
      if (last)
        now[s] = s + 2 >= places ? 0.0 : kNone;
      else
        now[s] = log_sum(from(s), s + 1 < places ? from(s + 1) : kNone,
                         s + 2 < places && skips(s + 2) ? from(s + 2) : kNone);
    }
  }
};

}  // namespace

size_t CtcLoss::bytes_of_thread() const {
  const int64_t rows = (dx.data ? x.shape[0] : 2) + 2;
  return size_t(round_up(rows * (2 * labels.shape[1] + 1) * int64_t(sizeof(double)), 64));
}

void CtcLoss::run(const Team& team, void* workspace) const {
  const int64_t batch = x.shape[1], classes = x.shape[2], width = 2 * labels.shape[1] + 1;
  const auto one = [&](const OpenTeam& team, int64_t i) {
    const int64_t steps = std::clamp<int64_t>(lengths.data[i * lengths.strides[0]], 0, x.shape[0]);
    const int64_t size = std::clamp<int64_t>(sizes.data[i * sizes.strides[0]], 0, labels.shape[1]);
    const Sample sample = {
        x.data + i * x.strides[1], x.strides[0], x.strides[2], labels.data + i * labels.strides[0],
        labels.strides[1],         blank,        classes,      2 * size + 1};
    auto* rows = reinterpret_cast<double*>(static_cast<char*>(workspace) + team.index() * bytes_of_thread());
    double* after[] = {rows, rows + width};
    double* const alpha = rows + 2 * width;
    const auto row = [&](int64_t t) { return alpha + (dx.data ? t : t % 2) * width; };
    for (int64_t t = 0; t < steps && !interrupted(team); ++t)
      sample.forward(t, t > 0 ? row(t - 1) : nullptr, row(t));
    double total = size == 0 ? 0.0 : kNone;
    if (steps > 0) {
      const double* end = row(steps - 1) + sample.places - 1;
      total = log_sum(end[0], size > 0 ? end[-1] : kNone, kNone);
    }
    loss.data[i * loss.strides[0]] = total == 0 ? 0.0 : -total;
    if (!dx.data) return;
    const bool fits = std::isfinite(total);
    for (int64_t t = x.shape[0] - 1; t >= 0 && !interrupted(team); --t) {
      double* to = dx.data + (t * batch + i) * classes;
      std::fill_n(to, classes, t < steps && !fits ? at_infinity : 0.0);
      if (t >= steps || !fits) continue;
      sample.backward(t, t == steps - 1, after[(t + 1) % 2], after[t % 2]);
      for (int64_t s = 0; s < sample.places; ++s)
        to[sample.label(s)] -= std::exp(row(t)[s] + after[t % 2][s] - total);
    }
  };
  const double cost = 40.0 * double(x.shape[0] * batch) * double(width) * (dx.data ? 2 : 1);
  team.parallel_for(batch, cost, [&](const OpenTeam& team, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end && !interrupted(team); ++i) one(team, i);
  });
}

}  // namespace ranvier
