// Resample (resample.h): one thread makes the tables of both axes, then all divide the rows of y.
#include "kernels/resample/resample.h"

#include <algorithm>

#include "base/carve.h"
#include "base/integers.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

constexpr double kNsPerTap = 0.1;   // of one input of an element of y, on one thread, roughly
constexpr int32_t kMostLevels = 8;  // an output of a transposed axis may have more entries: then no levels
constexpr int32_t kLongRun = 16;    // elements; copying such a run at once is faster than adding levels

// Takes the memory of a table, which build() fills. Its outputs and inputs are those of `axis`, exchanged
// with `transposed`.
template <class T>
ResampleTable<T> take_table(const ResampleAxis& axis, bool transposed, Carver& carver) {
  const int64_t entries = axis.out * resample_taps(axis.map);
  ResampleTable<T> t{};
  t.size = transposed ? axis.in : axis.out;
  // The most levels that the memory holds; list_levels() sets the real number.
  t.levels = transposed ? kMostLevels : resample_taps(axis.map);
  t.starts = carver.take<int32_t>(t.size + 2);
  t.inputs = carver.take<int32_t>(entries);
  t.weights = carver.take<T>(entries);
  t.runs = carver.take<int32_t>(t.size + 1);
  t.level_inputs = carver.take<int32_t>(t.levels * t.size);
  t.level_weights = carver.take<T>(t.levels * t.size);
  return t;
}

template <class F>  // calls f(output, input, weight) for each entry, in the order of outputs
void each_entry(const ResampleAxis& axis, const F& f) {
  int64_t inputs[kMaxResampleTaps];
  double weights[kMaxResampleTaps];
  for (int64_t o = 0; o < axis.out; ++o) {
    const int count = resample_inputs(axis, o, inputs, weights);
    for (int k = 0; k < count; ++k) f(o, inputs[k], weights[k]);
  }
}

// Lists the entries of each output of the table. With `transposed` the outputs of the table are the inputs of
// the axis.
template <class T>
void list_entries(const ResampleAxis& axis, bool transposed, const ResampleTable<T>& t) {
  const auto put = [&](int32_t place, int64_t input, double weight) {
    t.inputs[place] = static_cast<int32_t>(input);
    t.weights[place] = static_cast<T>(weight);
  };
  int32_t place = 0;
  std::fill_n(t.starts, t.size + 2, 0);
  if (!transposed)
    return each_entry(axis, [&](int64_t o, int64_t input, double weight) {
      put(place, input, weight);
      t.starts[o + 1] = ++place;
    });
  // A counting sort by inputs. Counts are stored two places further on, so that after filling, starts are in
  // their places.
  each_entry(axis, [&](int64_t, int64_t input, double) { ++t.starts[input + 2]; });
  for (int64_t i = 0; i < t.size; ++i) t.starts[i + 2] += t.starts[i + 1];
  each_entry(axis, [&](int64_t o, int64_t input, double weight) { put(t.starts[input + 1]++, o, weight); });
}

// Finds the outputs that are copies of consecutive inputs, and the longest run of them.
template <class T>
void find_runs(ResampleTable<T>& t) {
  t.copies = true;
  t.runs[t.size] = 0;
  for (int64_t i = t.size - 1; i >= 0; --i) {
    const int32_t first = t.starts[i];
    const bool copy = t.starts[i + 1] - first == 1 && t.weights[first] == 1;
    t.runs[i] = 0;
    t.copies = t.copies && copy;
    if (!copy) continue;
    const bool joins = t.runs[i + 1] > 0 && t.inputs[t.starts[i + 1]] == t.inputs[first] + 1;
    t.runs[i] = joins ? t.runs[i + 1] + 1 : 1;
    if (t.runs[i] >= t.run_end - t.run_begin) {
      t.run_begin = static_cast<int32_t>(i);
      t.run_end = t.run_begin + t.runs[i];
    }
  }
}

// Lists the entries by level (ResampleTable). A loop over the outputs of one level has no inner loop, so it
// can be vectorised.
template <class T>
void list_levels(ResampleTable<T>& t) {
  const int32_t most = t.levels;
  t.levels = 1;
  for (int64_t i = 0; i < t.size; ++i) t.levels = std::max(t.levels, t.starts[i + 1] - t.starts[i]);
  if (t.levels > most || t.run_end - t.run_begin >= kLongRun) t.levels = 0;
  for (int32_t k = 0; k < t.levels; ++k)
    for (int64_t i = 0; i < t.size; ++i) {
      const int32_t place = t.starts[i] + k;
      const bool has = place < t.starts[i + 1];
      t.level_inputs[k * t.size + i] = has ? t.inputs[place] : 0;
      t.level_weights[k * t.size + i] = has ? t.weights[place] : T(0);
    }
}

// Fills a table.
template <class T>
void build(const ResampleAxis& axis, bool transposed, ResampleTable<T>& table) {
  list_entries(axis, transposed, table);
  find_runs(table);
  list_levels(table);
}

// The workspace of a call: both tables, and a row of x for each thread.
template <class T>
struct Plan {
  Carver carver;
  ResampleTable<T> rows, columns;
  int64_t row_size;  // elements of a thread's scratch: a row of x, and some distance to the next thread
  T* scratch;
  // The finished tables of rows and columns. They are in the workspace, since in a replay each thread has a
  // Plan of its own.
  ResampleTable<T>* built;

  Plan(const Resample<T>& call, void* workspace, int threads)
      : carver(workspace),
        rows(take_table<T>(call.rows, call.transposed, carver)),
        columns(take_table<T>(call.columns, call.transposed, carver)),
        row_size(scratch_row(call)),
        scratch(carver.take<T>(threads * row_size)),
        built(carver.take<ResampleTable<T>>(2)) {}

  static int64_t scratch_row(const Resample<T>& call) {
    const int64_t pixel = call.channels_last ? call.x.shape[1] : 1;
    return round_up(call.x.shape[3] * pixel, 16) + kApart / int64_t(sizeof(T));
  }
};

}  // namespace

template <class T>
size_t Resample<T>::workspace_bytes(int threads) const {
  return Plan<T>(*this, nullptr, threads).carver.used();
}

template <class T>
void Resample<T>::run(const Team& team, void* workspace) const {
  if (numel(y) == 0) return;
  Plan<T> plan(*this, workspace, team.threads());
  const int64_t planes = channels_last ? 1 : y.shape[1];
  const int64_t units = y.shape[0] * planes * y.shape[2];  // rows of y
  const double taps = resample_taps(rows.map) + resample_taps(columns.map);
  team.region(kNsPerTap * taps * static_cast<double>(numel(x) + numel(y)), [&](const OpenTeam& team) {
    if (team.index() == 0) {
      build(rows, transposed, plan.rows);
      build(columns, transposed, plan.columns);
      plan.built[0] = plan.rows;
      plan.built[1] = plan.columns;
    }
    team.barrier();
    team.parallel_for(units, 0, [&](int64_t begin, int64_t end) {
      resample_kernels<T>().rows(*this, plan.built[0], plan.built[1], begin, end,
                                 plan.scratch + team.index() * plan.row_size);
    });
  });
}

RANVIER_INSTANTIATE(Resample);

}  // namespace ranvier
