// Group norm (group_norm.h has the formula): a thread computes whole groups of a sample, from their sums to
// the result. In NCHW a group is a line of memory; channels-last it is some columns of rows of pixels, and
// lanes are channels. Sums are in double, and their order depends on the shapes alone.
#include "kernels/norm/group_norm.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"
#include "kernels/norm/channels.h"
#include "kernels/norm/chunks.h"

namespace ranvier {
namespace {

constexpr int64_t kSamplesEnough = 16;  // with fewer samples, the channels of a sample are divided, too
constexpr int64_t kPanel = 64;          // the least channels of a panel

// The division into units of work, which depends on the shapes alone. A unit is a panel: some whole groups of
// one sample (in the layout of planes one group).
struct GroupPlan {
  int64_t samples, channels, inner, groups, width;  // inner: pixels; width: channels of a group
  int64_t panels;                                   // of a sample

  template <class T>
  GroupPlan(bool columns, int64_t groups_, const TensorView<const T>& x)
      : samples(x.shape[0]), channels(x.shape[1]), inner(x.shape[2]), groups(groups_) {
    width = groups ? channels / groups : 0;
    panels = groups;
    if (!columns) return;
    panels = 1;
    if (samples < kSamplesEnough) panels = std::clamp<int64_t>(channels / kPanel, 1, groups);
  }
  int64_t units() const { return samples * panels; }
  int64_t first_group(int64_t panel) const { return groups * panel / panels; }
  double elements() const { return double(width * inner); }  // of a group

  // The groups of a panel, and their channels.
  struct Panel {
    int64_t first_group, last_group;      // [first_group, last_group)
    int64_t first_channel, last_channel;  // likewise
    int64_t width() const { return last_channel - first_channel; }
  };
  Panel panel(int64_t index) const {
    const int64_t first = first_group(index);
    const int64_t last = first_group(index + 1);
    return {first, last, first * width, last * width};
  }
};

// The numbers of each channel (channels.h), of one thread while it works on a sample.
template <class T>
ChannelTables<T> tables_of(const GroupPlan& plan, void* memory) {
  return {plan.channels, plan.channels, memory};
}

// Their bytes; 0 in the layout of planes, which needs none.
template <class T>
size_t table_bytes(const GroupPlan& plan, bool columns) {
  if (!columns) return 0;
  return tables_of<T>(plan, /*memory=*/nullptr).bytes;
}

// v[c], or `otherwise` if v has no data: of a weight or bias, whose element for a channel is 1 or 0 then.
template <class T>
double value(const TensorView<const T>& v, int64_t c, double otherwise) {
  if (!v.data) return otherwise;
  return double(v.data[c * v.strides[0]]);
}

// The address of v[c], or null if v has no data.
template <class T>
const T* address_of(const TensorView<const T>& v, int64_t c) {
  if (!v.data) return nullptr;
  return v.data + c;
}

// planes() computes group g of sample n, columns() the groups of a panel.
template <class T>
struct GroupForward {
  const GroupNormForward<T>& f;
  const GroupPlan& plan;
  const NormKernels<T>& kernels;

  // Stores the statistics of group g of sample n, and returns rstd.
  double keep(int64_t n, int64_t g, Moments all) const {
    const double count = std::max<int64_t>(plan.elements(), 1);  // at least 1, so that dweight has no NaN
    const double rstd = 1 / std::sqrt(all.m2 / count + f.eps);
    f.mean.data[n * plan.groups + g] = all.mean;
    f.rstd.data[n * plan.groups + g] = rstd;
    return rstd;
  }

  // Stores the statistics, and calls put(c, function) for each channel c of the group.
  template <class Put>
  void finish(int64_t n, int64_t g, Moments all, const Put& put) const {
    const double rstd = keep(n, g, all);
    const T m = T(all.mean);
    for (int64_t c = g * plan.width; c < (g + 1) * plan.width; ++c) {
      const double scale = rstd * value(f.weight, c, 1);
      const double shift = value(f.bias, c, 0) - (all.mean - double(m)) * scale;
      put(c, Normalize<T>{m, T(scale), T(shift)});
    }
  }

  void planes(int64_t n, int64_t g) const {
    RunningMoments all;
    all.add_line(kernels, plane(f.x, n, g * plan.width), plan.width * plan.inner);
    const bool is_plain = !f.weight.data && !f.bias.data;
    if (plan.inner == 1 || is_plain) return line(n, g, all.moments());
    finish(n, g, all.moments(), [&](int64_t c, Normalize<T> function) {
      kernels.normalize(plane(f.x, n, c), plan.inner, function, /*weight=*/nullptr, /*bias=*/nullptr,
                        plane(f.y, n, c));
    });
  }

  // A group whose channels have one pixel each is contiguous, and so are its weights and biases: it is
  // computed as a line. So is a group without weights and biases.
  void line(int64_t n, int64_t g, Moments all) const {
    const double rstd = keep(n, g, all);
    const int64_t c = g * plan.width;
    const T m = T(all.mean);
    const double shift = -(all.mean - double(m)) * rstd;
    kernels.normalize(plane(f.x, n, c), plan.width * plan.inner, {m, T(rstd), T(shift)},
                      address_of(f.weight, c), address_of(f.bias, c), plane(f.y, n, c));
  }

  // The groups of a panel of image n, whose channels are contiguous.
  void columns(int64_t n, int64_t panel_index, const ChannelTables<T>& t) const {
    const auto panel = plan.panel(panel_index);
    const int64_t first = panel.first_channel;
    const int64_t sx = f.x.strides[2];  // from one pixel to the next
    const int64_t sy = f.y.strides[2];
    std::fill_n(t.first + first, panel.width(), 0.0);
    std::fill_n(t.second + first, panel.width(), 0.0);
    for (int64_t r = 0; r < plan.inner; r += kNormRows) {
      const int64_t rows = std::min(kNormRows, plan.inner - r);
      kernels.column_moments(plane(f.x, n, first) + r * sx, sx, rows, panel.width(), r, t.first + first,
                             t.second + first);
    }
    for (int64_t g = panel.first_group; g < panel.last_group; ++g) {
      RunningMoments all;
      for (int64_t c = g * plan.width; c < (g + 1) * plan.width; ++c)
        all.join({t.first[c], t.second[c]}, plan.inner);
      finish(n, g, all.moments(), [&](int64_t c, Normalize<T> function) {
        t.m[c] = function.m;
        t.a[c] = function.a;
        t.b[c] = function.b;
      });
    }
    kernels.normalize_rows(plane(f.x, n, first), sx, plan.inner, panel.width(), t.m + first, t.a + first,
                           t.b + first, plane(f.y, n, first), sy);
  }
};

template <class T>
struct GroupBackward {
  const GroupNormBackward<T>& f;
  const GroupPlan& plan;
  const NormKernels<T>& kernels;
  double *dy_sums, *dots;  // (n, c): sum dy, and sum dy (x - m), later sum dy xhat

  // Called when the sums of the group's channels are complete. Turns `dots` into sums of dy xhat, and if dx
  // is wanted calls put(c, gradient, b) for each channel.
  template <class Put>
  void finish(int64_t n, int64_t g, const Put& put) const {
    const double mean = f.mean.data[n * plan.groups + g];
    const double rstd = f.rstd.data[n * plan.groups + g];
    const double missing = mean - double(T(mean));
    double sum = 0;
    double dot = 0;
    for (int64_t c = g * plan.width; c < (g + 1) * plan.width; ++c) {
      const int64_t i = n * plan.channels + c;
      dots[i] = (dots[i] - missing * dy_sums[i]) * rstd;
      sum += dy_sums[i] * value(f.weight, c, 1);
      dot += dots[i] * value(f.weight, c, 1);
    }
    if (!f.dx.data) return;
    const double b = -rstd * rstd * dot / plan.elements();
    const double k = -rstd * sum / plan.elements() - b * missing;
    for (int64_t c = g * plan.width; c < (g + 1) * plan.width; ++c) {
      const double scale = rstd * value(f.weight, c, 1);
      put(c, NormGradient<T>{T(mean), T(scale), T(b), T(k)}, b);
    }
  }

  // A group whose channels have one pixel each: the sums for dx run along its channels.
  void line(int64_t n, int64_t g) const {
    const int64_t c = g * plan.width;
    const int64_t row = n * plan.channels + c;
    const T* dy = plane(f.dy, n, c);
    const T* x = plane(f.x, n, c);
    const double mean = f.mean.data[n * plan.groups + g];
    const double rstd = f.rstd.data[n * plan.groups + g];
    for (int64_t i = 0; i < plan.width; ++i) {
      dy_sums[row + i] = double(dy[i]);
      dots[row + i] = double(dy[i]) * (double(x[i]) - mean) * rstd;
    }
    if (!f.dx.data) return;
    const T m = T(mean);
    const double missing = mean - double(m);
    const GradientSums sums = line_sums<T>(kernels, dy, x, plan.width, m, address_of(f.weight, c));
    const double b = -rstd * rstd * rstd * (sums.dot - missing * sums.dy) / plan.elements();
    const double k = -rstd * sums.dy / plan.elements() - b * missing;
    line_gradient<T>(kernels, dy, x, plan.width, {m, T(rstd), T(b), T(k)}, b, address_of(f.weight, c),
                     plane(f.dx, n, c));
  }

  void planes(int64_t n, int64_t g) const {
    if (plan.inner == 1) return line(n, g);
    const T m = T(f.mean.data[n * plan.groups + g]);
    for (int64_t c = g * plan.width; c < (g + 1) * plan.width; ++c) {
      const GradientSums found =
          line_sums<T>(kernels, plane(f.dy, n, c), plane(f.x, n, c), plan.inner, m, /*weight=*/nullptr);
      dy_sums[n * plan.channels + c] = found.dy;
      dots[n * plan.channels + c] = found.dot;
    }
    finish(n, g, [&](int64_t c, NormGradient<T> function, double b) {
      line_gradient<T>(kernels, plane(f.dy, n, c), plane(f.x, n, c), plan.inner, function, b,
                       /*weight=*/nullptr, plane(f.dx, n, c));
    });
  }

  // The groups of a panel of image n, whose channels are contiguous.
  void columns(int64_t n, int64_t panel_index, const ChannelTables<T>& t) const {
    const auto panel = plan.panel(panel_index);
    const int64_t first = panel.first_channel;
    const int64_t sdy = f.dy.strides[2];  // from one pixel to the next
    const int64_t sx = f.x.strides[2];
    const T* const dy = plane(f.dy, n, first);
    const T* const x = plane(f.x, n, first);
    double* const panel_dy_sums = dy_sums + n * plan.channels + first;
    double* const panel_dots = dots + n * plan.channels + first;
    std::fill_n(panel_dy_sums, panel.width(), 0.0);
    std::fill_n(panel_dots, panel.width(), 0.0);
    for (int64_t c = first; c < panel.last_channel; ++c) {
      const int64_t group = c / plan.width;
      t.m[c] = T(f.mean.data[n * plan.groups + group]);
    }
    for (int64_t r = 0; r < plan.inner; r += kNormRows) {
      const int64_t rows = std::min(kNormRows, plan.inner - r);
      kernels.column_sums(dy + r * sdy, sdy, x + r * sx, sx, rows, panel.width(), t.m + first, panel_dy_sums,
                          panel_dots);
    }
    for (int64_t g = panel.first_group; g < panel.last_group; ++g)
      finish(n, g, [&](int64_t c, NormGradient<T> function, double b) {
        t.a[c] = function.a;
        t.b[c] = function.b;
        t.k[c] = function.k;
        t.second[c] = b;  // in double, for mend_columns()
      });
    if (!f.dx.data) return;
    T* const dx = plane(f.dx, n, first);
    const int64_t sdx = f.dx.strides[2];
    kernels.gradient_rows(dy, sdy, x, sx, plan.inner, panel.width(), t.m + first, t.a + first, t.b + first,
                          t.k + first, dx, sdx);
    mend_columns(dy, sdy, x, sx, plan.inner, panel.width(), t.m + first, t.a + first, t.second + first,
                 t.k + first, dx, sdx);
  }
};

}  // namespace

template <class T>
size_t GroupNormForward<T>::workspace_bytes(int threads) const {
  return threads * table_bytes<T>(GroupPlan(columns, groups, x), columns);
}

template <class T>
void GroupNormForward<T>::run(const Team& team, void* workspace) const {
  const GroupPlan plan(columns, groups, x);
  const GroupForward<T> forward{*this, plan, norm_kernels<T>()};
  const double cost = kNsPerNormByte * sizeof(T) * 2.0 * double(numel(x)) + 20.0 * double(plan.units());
  const size_t bytes = table_bytes<T>(plan, columns);
  team.parallel_for(plan.units(), cost, [&](const OpenTeam& team, int64_t begin, int64_t end) {
    const ChannelTables<T> tables = tables_of<T>(plan, static_cast<char*>(workspace) + team.index() * bytes);
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t n = unit / plan.panels;
      const int64_t panel = unit % plan.panels;
      if (columns) {
        forward.columns(n, panel, tables);
      } else {
        forward.planes(n, panel);
      }
    }
  });
}

template <class T>
size_t GroupNormBackward<T>::workspace_bytes(int threads) const {
  const GroupPlan plan(columns, groups, x);
  const size_t sums = 2 * sizeof(double) * static_cast<size_t>(plan.samples * plan.channels + 8);
  return sums + threads * table_bytes<T>(plan, columns);
}

template <class T>
void GroupNormBackward<T>::run(const Team& team, void* workspace) const {
  const GroupPlan plan(columns, groups, x);
  Carver carver(workspace);
  double* dy_sums = carver.take<double>(plan.samples * plan.channels);
  double* dots = carver.take<double>(plan.samples * plan.channels);
  char* scratch = static_cast<char*>(workspace) + carver.used();
  const GroupBackward<T> backward{*this, plan, norm_kernels<T>(), dy_sums, dots};
  const double cost = kNsPerNormByte * sizeof(T) * 4.0 * double(numel(x)) + 20.0 * double(plan.units());
  const size_t bytes = table_bytes<T>(plan, columns);
  team.region(cost, [&](const OpenTeam& team) {
    team.parallel_for(plan.units(), cost, [&](int64_t begin, int64_t end) {
      const ChannelTables<T> tables = tables_of<T>(plan, scratch + team.index() * bytes);
      for (int64_t unit = begin; unit < end; ++unit) {
        const int64_t n = unit / plan.panels;
        const int64_t panel = unit % plan.panels;
        if (columns) {
          backward.columns(n, panel, tables);
        } else {
          backward.planes(n, panel);
        }
      }
    });
    if (dweight.data || dbias.data)
      team.parallel_for(plan.channels, cost, [&](int64_t c) {
        add_rows(dots, plan.samples, plan.channels, c, dweight);
        add_rows(dy_sums, plan.samples, plan.channels, c, dbias);
      });
  });
}

RANVIER_INSTANTIATE(GroupNormForward);
RANVIER_INSTANTIATE(GroupNormBackward);

}  // namespace ranvier
