// resample: builds each axis's matrix once and shares rows out among the team.
#include "kernels/resample/resample.h"

#include <algorithm>

#include "base/carve.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

constexpr double kNsPerTap = 0.1;  // of an element; about two bytes of memory traffic
constexpr int32_t kMostLevels = 8;
constexpr int32_t kLongRun = 16;  // copied faster on its own than with all others

// The memory of one axis's matrix, and how it is filled.
template <class T>
class TableBuilder {
 public:
  TableBuilder(const ResampleAxis& axis, bool transposed, Carver& carver)
      : axis_(axis), transposed_(transposed), size_(transposed ? axis.in : axis.out) {
    const int64_t entries = axis.out * resample_taps(axis.map);
    starts_ = carver.take<int32_t>(size_ + 2);
    inputs_ = carver.take<int32_t>(entries);
    weights_ = carver.take<T>(entries);
    runs_ = carver.take<int32_t>(size_ + 1);
    found_ = carver.take<Found>(1);
    most_levels_ = transposed ? kMostLevels : resample_taps(axis.map);
    level_inputs_ = carver.take<int32_t>(most_levels_ * size_);
    level_weights_ = carver.take<T>(most_levels_ * size_);
  }

  ResampleTable<T> table() const {
    const Found& f = *found_;
    return {size_,         starts_,        inputs_,  weights_,    runs_,    f.levels,
            level_inputs_, level_weights_, f.copies, f.run_begin, f.run_end};
  }

  void build() const {
    if (transposed_)
      build_transposed();
    else
      build_forward();
    find_runs();
    list_levels();
  }

 private:
  template <class F>  // f(output, input, weight) for each entry, by outputs
  void each_entry(const F& f) const {
    int64_t inputs[kMaxResampleTaps];
    double weights[kMaxResampleTaps];
    for (int64_t o = 0; o < axis_.out; ++o) {
      const int count = resample_inputs(axis_, o, inputs, weights);
      for (int k = 0; k < count; ++k) f(o, inputs[k], weights[k]);
    }
  }

  void put(int32_t place, int64_t input, double weight) const {
    inputs_[place] = static_cast<int32_t>(input);
    weights_[place] = static_cast<T>(weight);
  }

  void build_forward() const {
    int32_t place = 0;
    std::fill(starts_, starts_ + size_ + 2, 0);
    each_entry([&](int64_t o, int64_t input, double weight) {
      put(place, input, weight);
      starts_[o + 1] = ++place;
    });
  }

  // A counting sort. Counts are stored two places further, so that after filling, starts are in their places.
  void build_transposed() const {
    std::fill(starts_, starts_ + size_ + 2, 0);
    each_entry([&](int64_t, int64_t input, double) { ++starts_[input + 2]; });
    for (int64_t i = 0; i < size_; ++i) starts_[i + 2] += starts_[i + 1];
    each_entry([&](int64_t o, int64_t input, double weight) { put(starts_[input + 1]++, o, weight); });
  }

  bool copies(int64_t i) const { return starts_[i + 1] - starts_[i] == 1 && weights_[starts_[i]] == 1; }

  void find_runs() const {
    runs_[size_] = 0;
    for (int64_t i = size_ - 1; i >= 0; --i) {
      const bool longer = i + 1 < size_ && runs_[i + 1] > 0;
      const bool joins = longer && inputs_[starts_[i + 1]] == inputs_[starts_[i]] + 1;
      runs_[i] = !copies(i) ? 0 : joins ? runs_[i + 1] + 1 : 1;
    }
  }

  void list_levels() const {
    Found found{1, true, 0, 0};
    for (int64_t i = 0; i < size_; ++i) {
      found.levels = std::max(found.levels, starts_[i + 1] - starts_[i]);
      found.copies = found.copies && runs_[i] > 0;
      if (runs_[i] > found.run_end - found.run_begin)
        found.run_begin = static_cast<int32_t>(i), found.run_end = found.run_begin + runs_[i];
    }
    if (found.levels > most_levels_ || found.run_end - found.run_begin >= kLongRun) found.levels = 0;
    for (int32_t k = 0; k < found.levels; ++k)
      for (int64_t i = 0; i < size_; ++i) {
        const int32_t place = starts_[i] + k;
        const bool has = place < starts_[i + 1];
        level_inputs_[k * size_ + i] = has ? inputs_[place] : 0;
        level_weights_[k * size_ + i] = has ? weights_[place] : T(0);
      }
    *found_ = found;
  }

  struct Found {
    int32_t levels;
    bool copies;
    int32_t run_begin, run_end;
  };

  ResampleAxis axis_;
  bool transposed_;
  int64_t size_;
  int32_t most_levels_;
  int32_t *starts_, *inputs_, *runs_, *level_inputs_;
  Found* found_;
  T *weights_, *level_weights_;
};

template <class T>
struct Plan {
  Carver carver;
  TableBuilder<T> rows, columns;
  int64_t row_size;  // elements of a row of x
  T* scratch;
  size_t bytes;

  Plan(const Resample<T>& call, void* workspace, int team)
      : carver(workspace),
        rows(call.rows, call.transposed, carver),
        columns(call.columns, call.transposed, carver),
        row_size((call.x.shape[3] * (call.channels_last ? call.x.shape[1] : 1) + 15) / 16 * 16),
        scratch(carver.take<T>(team * row_size)),
        bytes(carver.used()) {}
};

}  // namespace

template <class T>
size_t Resample<T>::workspace_bytes(int team) const {
  return Plan<T>(*this, nullptr, team).bytes;
}

template <class T>
void Resample<T>::run(const Team& team, void* workspace) const {
  if (numel(y) == 0) return;
  const Plan<T> plan(*this, workspace, team.threads());
  const int64_t units = y.shape[0] * y.shape[2] * (channels_last ? 1 : y.shape[1]);
  const double taps = resample_taps(rows.map) + resample_taps(columns.map);
  team.region(kNsPerTap * taps * static_cast<double>(numel(x) + numel(y)), [&](const OpenTeam& team) {
    if (team.index() == 0) plan.rows.build(), plan.columns.build();
    team.barrier();
    team.parallel_for(units, 0, [&](int64_t begin, int64_t end) {
      resample_kernels<T>().rows(*this, plan.rows.table(), plan.columns.table(), begin, end,
                                 plan.scratch + team.index() * plan.row_size);
    });
  });
}

template struct Resample<float>;
template struct Resample<double>;

}  // namespace ranvier
