// Batch norm (batch_norm.h), forward and backward, in three steps, each divided among the threads: sums over
// the elements of each channel; for each channel its statistics or gradients, and the numbers m, a, b (and k)
// with which its elements are computed; the elements. channels.h has the division of the sums, and explains
// the layouts of columns and of planes, units, segments, panels and `fold`.
#include "kernels/norm/batch_norm.h"

#include <cmath>

#include "base/caches.h"
#include "base/integers.h"
#include "base/parallel.h"
#include "kernels/activation/activation.h"
#include "kernels/conv2d_pool/tile.h"
#include "kernels/norm/channels.h"
#include "kernels/norm/chunks.h"

namespace ranvier {

namespace {

// --- A ReLU and a max-pool after the batch norm, which are applied to blocks of rows while these are in
// cache. Rows are those of ChannelPlan in the layout of columns.

// The rows of a block that stays in half the L1 cache: a multiple of kNormRows.
template <class T>
int64_t block_rows(const ChannelPlan& plan) {
  const int64_t bytes = kNormRows * std::max<int64_t>(plan.width, 1) * static_cast<int64_t>(sizeof(T));
  return std::max<int64_t>(caches.l1 / 2 / bytes, 1) * kNormRows;
}

template <class T>
void relu(T* y, int64_t n) {
  activation_kernels<T>().forward[int(Activation::relu)]({n, y, nullptr, y, 1, 0, 1, 0, 0});
}

constexpr int64_t kPooledSlack = 16;  // elements behind the last row, since pooling reads whole vectors

// The elements of a thread's buffer for the pixels of one row of windows.
template <class T>
int64_t pooled_rows_size(const BatchNormForward<T>& f) {
  if (!f.pool.y.data) return 0;
  return round_up(f.pool.window[0] * f.pool.size[1] * f.x.shape[1] + kPooledSlack, 64);
}

// Computes row i of windows from their pixels z.
inline void pool_rows(const NormPool& p, bool relu, int64_t i, const float* z) {
  const int64_t channels = p.y.shape[1];
  PooledRow row{};
  row.z = z;
  row.pixel = channels;
  row.row = p.size[1] * channels;
  row.window[0] = p.window[0];
  row.window[1] = p.window[1];
  row.windows = p.y.shape[3];
  row.channels = row.step = channels;
  row.relu = relu;
  const int64_t at = i * row.windows * channels;
  row.y = p.y.data + at;
  row.where = p.where.data ? p.where.data + at : nullptr;
  pooled_kernels().row(row);
}

template <class T>
bool is_dense(const TensorView<T>& v) {
  return row_stride(v) == v.shape[1];
}

template <class T>
ChannelPlan plan_of(const BatchNormForward<T>& f) {
  return {f.columns, f.x, is_dense(f.x) && is_dense(f.y)};
}

template <class T>
ChannelPlan plan_of(const BatchNormBackward<T>& f) {
  return {f.columns, f.x, is_dense(f.x) && is_dense(f.dy) && (!f.dx.data || is_dense(f.dx))};
}

template <class T>
struct ChannelForward {
  const BatchNormForward<T>& f;
  const ChannelPlan& plan;
  const ChannelTables<T>& tables;  // first: means, second: m2
  const NormKernels<T>& kernels;
  T* scratch;  // scratch memory of all threads

  // The mean of a unit's elements and m2, the sum of their squared distances from it, for each column.
  void measure(int64_t unit) const {
    const int64_t segment = unit / plan.panels;
    const int64_t panel = unit % plan.panels;
    double* mean = tables.first + segment * plan.width;
    double* m2 = tables.second + segment * plan.width;
    if (plan.columns) {
      measure_columns(segment, panel * plan.kPanel, mean, m2);
    } else {
      measure_planes(segment, panel, mean, m2);
    }
  }

  // measure() in the layout of columns: the panel begins at `column`.
  void measure_columns(int64_t segment, int64_t column, double* mean, double* m2) const {
    const int64_t begin = plan.first(segment);
    const int64_t end = plan.first(segment + 1);
    const int64_t stride = row_stride(f.x);
    const int64_t panel = std::min(plan.kPanel, plan.width - column);
    const int64_t row = stride * plan.fold;
    std::fill_n(mean + column, panel, 0.0);
    std::fill_n(m2 + column, panel, 0.0);
    const T* x = f.x.data + column;
    for (int64_t r = begin; r < end; r += kNormRows)
      kernels.column_moments(x + r * row, row, std::min(kNormRows, end - r), panel, r - begin, mean + column,
                             m2 + column);
    const int64_t rest = std::min(panel, plan.rest * plan.channels - column);
    if (plan.is_last(segment) && rest > 0)
      kernels.column_moments(x + plan.length * row, row, 1, rest, end - begin, mean + column, m2 + column);
  }

  // measure() in the layout of planes.
  void measure_planes(int64_t segment, int64_t c, double* mean, double* m2) const {
    RunningMoments all;
    for (int64_t n = plan.first(segment); n < plan.first(segment + 1); ++n)
      all.add_line(kernels, plane(f.x, n, c), plan.inner);
    mean[c] = all.moments().mean;
    m2[c] = all.moments().m2;
  }

  // Joins the segments' and folds' moments of channel c.
  Moments join(int64_t c) const {
    const double elements = double(plan.elements());
    Moments all{0, 0};
    if (elements == 0) return all;
    const auto each = [&](const auto& take) {
      for (int64_t s = 0; s < plan.segments; ++s)
        for (int64_t j = c; j < plan.width; j += plan.channels)
          take(double(plan.count(s, j)), s * plan.width + j);
    };
    each([&](double n, int64_t i) { all.mean += n * tables.first[i]; });
    all.mean /= elements;
    each([&](double n, int64_t i) {
      const double delta = tables.first[i] - all.mean;
      all.m2 += tables.second[i] + n * delta * delta;
    });
    return all;
  }

  // Moves the running statistics of channel c towards those of this batch.
  void update_running(int64_t c, Moments all) const {
    const double n = double(plan.elements());
    if (!f.running_mean.data || n == 0) return;
    const double factor = f.momentum < 0 ? 1.0 / double(*f.batches.data) : f.momentum;
    T& mean = f.running_mean.data[c * f.running_mean.strides[0]];
    T& var = f.running_var.data[c * f.running_var.strides[0]];
    mean = T((1 - factor) * double(mean) + factor * all.mean);
    var = T((1 - factor) * double(var) + factor * (all.m2 / (n - 1)));
  }

  // Channel c: its statistics, and the numbers with which its elements are computed, y = (x - m) a + b.
  void finish(int64_t c) const {
    double mean, var;
    if (f.training) {
      const Moments all = join(c);
      update_running(c, all);
      mean = all.mean;
      var = plan.elements() ? all.m2 / double(plan.elements()) : 0;
    } else {
      mean = double(f.running_mean.data[c * f.running_mean.strides[0]]);
      var = double(f.running_var.data[c * f.running_var.strides[0]]);
    }
    const double rstd = 1 / std::sqrt(var + f.eps);
    f.mean.data[c] = mean;
    f.rstd.data[c] = rstd;
    const double scale = f.weight.data ? rstd * double(f.weight.data[c * f.weight.strides[0]]) : rstd;
    const double shift = f.bias.data ? double(f.bias.data[c * f.bias.strides[0]]) : 0;
    const Normalize<T> line = line_of<T>(mean, scale, shift);
    for (int64_t j = c; j < plan.width; j += plan.channels) {
      tables.m[j] = line.m;
      tables.a[j] = line.a;
      tables.b[j] = line.b;
    }
  }

  // Normalizes this thread's elements: rows of channels, or planes of one channel.
  void apply(const OpenTeam& team, int64_t begin, int64_t end) const {
    if (plan.columns) {
      if (f.pool.y.data) return pool(team, begin, end);
      const int64_t sx = row_stride(f.x) * plan.fold;
      const int64_t sy = row_stride(f.y) * plan.fold;
      plan.for_rows(begin, end, [&](int64_t first, int64_t last, int64_t width) {
        const int64_t step = f.relu ? block_rows<T>(plan) : last - first;
        for (int64_t r = first; r < last; r += step) {
          const int64_t rows = std::min(step, last - r);
          kernels.normalize_rows(f.x.data + r * sx, sx, rows, width, tables.m, tables.a, tables.b,
                                 f.y.data + r * sy, sy);
          if (f.relu) relu(f.y.data + r * sy, rows * width);
        }
      });
      return;
    }
    for (int64_t i = begin; i < end; ++i) apply_plane(i / plan.channels, i % plan.channels);
  }

  void apply_plane(int64_t n, int64_t c) const {
    kernels.normalize(plane(f.x, n, c), plan.inner, {tables.m[c], tables.a[c], tables.b[c]}, nullptr, nullptr,
                      plane(f.y, n, c));
  }

  // All three steps for channel c, in the layout of planes.
  void run_channel(int64_t c) const {
    plan.for_units(c, [&](int64_t unit) { measure(unit); });
    finish(c);
    for (int64_t n = 0; n < plan.length; ++n) apply_plane(n, c);
  }

  // Rows of windows [begin, end): their pixels are normalized into scratch memory, and pooled from there.
  void pool(const OpenTeam& team, int64_t begin, int64_t end) const {
    const int64_t rows = f.pool.size[0] / f.pool.window[0];
    const int64_t pixels = f.pool.window[0] * f.pool.size[1];
    T* z = scratch + team.index() * pooled_rows_size(f);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = i / rows * f.pool.size[0] + i % rows * f.pool.window[0];
      const T* x = f.x.data + row * f.pool.size[1] * plan.channels;
      const int64_t whole = pixels / plan.fold;
      const int64_t rest = pixels % plan.fold * plan.channels;
      const auto normalize = [&](int64_t first, int64_t count, int64_t width) {
        kernels.normalize_rows(x + first * plan.width, plan.width, count, width, tables.m, tables.a, tables.b,
                               z + first * plan.width, plan.width);
      };
      normalize(0, whole, plan.width);
      if (rest) normalize(whole, 1, rest);
      if constexpr (sizeof(T) == sizeof(float)) pool_rows(f.pool, f.relu, i, z);
    }
  }

  // The number of pieces that apply() takes: rows of windows, rows of pixels, or planes.
  int64_t pieces() const {
    if (f.pool.y.data) return f.x.shape[0] * (f.pool.size[0] / f.pool.window[0]);
    return f.columns ? plan.row_count() : plan.length * plan.channels;
  }
};

template <class T>
struct ChannelBackward {
  const BatchNormBackward<T>& f;
  const ChannelPlan& plan;
  const ChannelTables<T>& tables;  // first: sum dy, second: sum dy (x - m)
  const NormKernels<T>& kernels;

  // The sums of dy and of dy (x - m) over a unit, for each column.
  void sum(int64_t unit) const {
    const int64_t segment = unit / plan.panels;
    const int64_t panel = unit % plan.panels;
    double* dy = tables.first + segment * plan.width;
    double* dot = tables.second + segment * plan.width;
    if (plan.columns) {
      sum_columns(segment, panel * plan.kPanel, dy, dot);
    } else {
      sum_planes(segment, panel, dy, dot);
    }
  }

  void sum_columns(int64_t segment, int64_t column, double* dy_sums, double* dots) const {
    const int64_t begin = plan.first(segment);
    const int64_t end = plan.first(segment + 1);
    const int64_t panel = std::min(plan.kPanel, plan.width - column);
    const int64_t sx = row_stride(f.x) * plan.fold;
    const int64_t sdy = row_stride(f.dy) * plan.fold;
    std::fill_n(dy_sums + column, panel, 0.0);
    std::fill_n(dots + column, panel, 0.0);
    const auto add = [&](int64_t r, int64_t rows, int64_t width) {
      kernels.column_sums(f.dy.data + r * sdy + column, sdy, f.x.data + r * sx + column, sx, rows, width,
                          tables.m + column, dy_sums + column, dots + column);
    };
    for (int64_t r = begin; r < end; r += kNormRows) add(r, std::min(kNormRows, end - r), panel);
    const int64_t rest = std::min(panel, plan.rest * plan.channels - column);
    if (plan.is_last(segment) && rest > 0) add(plan.length, 1, rest);
  }

  void sum_planes(int64_t segment, int64_t c, double* dy_sums, double* dots) const {
    GradientSums all{0, 0};
    for (int64_t n = plan.first(segment); n < plan.first(segment + 1); ++n) {
      const GradientSums found =
          line_sums<T>(kernels, plane(f.dy, n, c), plane(f.x, n, c), plan.inner, tables.m[c], nullptr);
      all.dy += found.dy;
      all.dot += found.dot;
    }
    dy_sums[c] = all.dy;
    dots[c] = all.dot;
  }

  // Channel c: dweight and dbias, and the numbers with which dx is computed, dx = dy a + (x - m) b + k. m is
  // the mean rounded to T; `missing` is the rest of it.
  void finish(int64_t c) const {
    const double mean = f.mean.data[c];
    const double rstd = f.rstd.data[c];
    const double missing = mean - double(tables.m[c]);
    double dy = 0;
    double dot = 0;
    if (sums_wanted())
      for (int64_t s = 0; s < plan.segments; ++s)
        for (int64_t j = c; j < plan.width; j += plan.channels) {
          dy += tables.first[s * plan.width + j];
          dot += tables.second[s * plan.width + j];
        }
    const double dweight = (dot - missing * dy) * rstd;
    if (f.dweight.data) f.dweight.data[c] = T(dweight);
    if (f.dbias.data) f.dbias.data[c] = T(dy);
    const double a = f.weight.data ? rstd * double(f.weight.data[c * f.weight.strides[0]]) : rstd;
    const double n = double(plan.elements());
    const double b = f.training ? -a * rstd * dweight / n : 0;
    const double k = f.training ? -a * dy / n : 0;
    for (int64_t j = c; j < plan.width; j += plan.channels) {
      tables.a[j] = T(a);
      tables.b[j] = T(b);
      tables.k[j] = T(k - b * missing);
      tables.second[j] = b;  // in double, for mend_columns(); the sums of this column have been read
    }
  }

  // True if the sums of dy and dy (x - m) are needed.
  bool sums_wanted() const { return f.dweight.data || f.dbias.data || f.training; }

  void apply(int64_t begin, int64_t end) const {
    if (plan.columns) {
      const int64_t sdy = row_stride(f.dy) * plan.fold;
      const int64_t sx = row_stride(f.x) * plan.fold;
      const int64_t sdx = row_stride(f.dx) * plan.fold;
      plan.for_rows(begin, end, [&](int64_t first, int64_t last, int64_t width) {
        kernels.gradient_rows(f.dy.data + first * sdy, sdy, f.x.data + first * sx, sx, last - first, width,
                              tables.m, tables.a, tables.b, tables.k, f.dx.data + first * sdx, sdx);
        mend_columns(f.dy.data + first * sdy, sdy, f.x.data + first * sx, sx, last - first, width, tables.m,
                     tables.a, tables.second, tables.k, f.dx.data + first * sdx, sdx);
      });
      return;
    }
    for (int64_t i = begin; i < end; ++i) apply_plane(i / plan.channels, i % plan.channels);
  }

  void apply_plane(int64_t n, int64_t c) const {
    line_gradient<T>(kernels, plane(f.dy, n, c), plane(f.x, n, c), plan.inner,
                     {tables.m[c], tables.a[c], tables.b[c], tables.k[c]}, tables.second[c], nullptr,
                     plane(f.dx, n, c));
  }

  void run_channel(int64_t c) const {
    plan.for_units(c, [&](int64_t unit) { sum(unit); });
    finish(c);
    for (int64_t n = 0; n < plan.length; ++n) apply_plane(n, c);
  }
};

}  // namespace

template <class T>
size_t BatchNormForward<T>::workspace_bytes(int threads) const {
  return ChannelTables<T>(plan_of(*this), nullptr).bytes + threads * pooled_rows_size(*this) * sizeof(T);
}

template <class T>
void BatchNormForward<T>::run(const Team& team, void* workspace) const {
  const ChannelPlan plan = plan_of(*this);
  const ChannelTables<T> tables(plan, workspace);
  T* scratch = reinterpret_cast<T*>(static_cast<char*>(workspace) + tables.bytes);
  const ChannelForward<T> forward{*this, plan, tables, norm_kernels<T>(), scratch};
  const double cost = kNsPerNormByte * sizeof(T) * 3.0 * double(numel(x)) + 20.0 * double(plan.units());
  team.region(cost, [&](const OpenTeam& team) {
    if (training) {
      // One thread counts, and the barrier at the end of the loop comes before finish(), which reads the
      // count.
      const int64_t counters = batches.data ? 1 : 0;
      team.parallel_for(counters, cost, [&](int64_t) { ++*batches.data; });
      if (plan.is_by_channel(sizeof(T), team.size()))
        return team.parallel_for(plan.channels, cost, [&](int64_t c) { forward.run_channel(c); });
      team.parallel_for(plan.units(), cost, [&](int64_t unit) { forward.measure(unit); });
    }
    team.parallel_for(plan.channels, cost, [&](int64_t c) { forward.finish(c); });
    team.parallel_for(forward.pieces(), cost,
                      [&](int64_t begin, int64_t end) { forward.apply(team, begin, end); });
  });
}

template <class T>
size_t BatchNormBackward<T>::workspace_bytes(int) const {
  return ChannelTables<T>(plan_of(*this), nullptr).bytes;
}

template <class T>
void BatchNormBackward<T>::run(const Team& team, void* workspace) const {
  const ChannelPlan plan = plan_of(*this);
  const ChannelTables<T> tables(plan, workspace);
  const ChannelBackward<T> backward{*this, plan, tables, norm_kernels<T>()};
  const double cost = kNsPerNormByte * sizeof(T) * 5.0 * double(numel(x)) + 20.0 * double(plan.units());
  team.region(cost, [&](const OpenTeam& team) {
    team.parallel_for(plan.width, cost, [&](int64_t j) { tables.m[j] = T(mean.data[j % plan.channels]); });
    if (dx.data && backward.sums_wanted() && plan.is_by_channel(2 * sizeof(T), team.size()))
      return team.parallel_for(plan.channels, cost, [&](int64_t c) { backward.run_channel(c); });
    if (backward.sums_wanted())
      team.parallel_for(plan.units(), cost, [&](int64_t unit) { backward.sum(unit); });
    team.parallel_for(plan.channels, cost, [&](int64_t c) { backward.finish(c); });
    if (!dx.data) return;
    const int64_t pieces = columns ? plan.row_count() : plan.length * plan.channels;
    team.parallel_for(pieces, cost, [&](int64_t begin, int64_t end) { backward.apply(begin, end); });
  });
}

RANVIER_INSTANTIATE(BatchNormForward);
RANVIER_INSTANTIATE(BatchNormBackward);

template <class T>
void BatchNormScale<T>::run(const Team& team, void*) const {
  constexpr double kNsPerChannel = 10;  // on one thread, roughly
  const int64_t channels = line.shape[1];
  const auto at = [](const TensorView<const T>& v, int64_t k) { return double(v.data[k * v.strides[0]]); };
  team.parallel_for(channels, kNsPerChannel * double(channels), [&](int64_t k) {
    const double rstd = 1 / std::sqrt(at(var, k) + eps);
    const double scale = weight.data ? rstd * at(weight, k) : rstd;
    const double shift = bias.data ? at(bias, k) : 0;
    const Normalize<T> f = line_of<T>(at(mean, k), scale, shift);
    line.data[k] = f.m;
    line.data[channels + k] = f.a;
    line.data[2 * channels + k] = f.b;
  });
}

RANVIER_INSTANTIATE(BatchNormScale);

}  // namespace ranvier
