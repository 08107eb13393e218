// Layer norm and RMS norm (layer_norm.h). In the forward the threads divide the lines among them; in the
// backward, segments of lines. Each segment has its own sums for the gradients of weight and bias, which are
// then added in order.
#include "kernels/norm/layer_norm.h"

#include <cmath>

#include "base/carve.h"
#include "base/parallel.h"
#include "kernels/copy/half_lines.h"
#include "kernels/norm/chunks.h"

namespace ranvier {
namespace {

constexpr double kNsPerLineByte = 0.05;    // about the time for a byte of a line in cache, on one core
constexpr int64_t kSegmentWork = 1 << 14;  // the least elements for which a segment pays
constexpr int64_t kLinesAtOnce = 16;       // the most lines that are computed together ...
constexpr int64_t kAtOnceBytes = 1 << 12;  // ... and their bytes, which stay in L1
// The bytes of the lines whose elements are summed together; the bits of the results depend on it.
constexpr int64_t kSumBlockBytes = int64_t{1} << 17;

// The forward on some lines.
template <class T>
struct LineForward {
  const LayerNormForward<T>& f;
  const NormKernels<T>& kernels;

  // The mean and m2 of a line.
  Moments moments(const T* x, int64_t n) const {
    if (n > 0 && n <= kNormChunk) return chunk_moments(kernels, x, n);
    RunningMoments running;
    running.add_line(kernels, x, n);
    return running.moments();
  }

  // Computes up to kLinesAtOnce lines together, so that the CPU overlaps their square roots and divisions.
  void lines(int64_t begin, int64_t end) const {
    const int64_t n = f.x.shape[1];
    const int64_t count = end - begin;
    const auto x = [&](int64_t i) { return f.x.data + (begin + i) * f.x.strides[0]; };
    Normalize<T> function[kLinesAtOnce];
    double mean[kLinesAtOnce], var[kLinesAtOnce];
    for (int64_t i = 0; i < count; ++i) {
      const Moments all = moments(x(i), n);
      mean[i] = all.mean;
      var[i] = all.m2 / double(std::max<int64_t>(n, 1));
    }
    for (int64_t i = 0; i < count; ++i) {
      if (f.centered)
        f.mean.data[begin + i] = mean[i];
      else {
        var[i] += mean[i] * mean[i];
        mean[i] = 0;
      }
      // A line with an infinite element, and no NaN, has an infinite mean square (moments() gives NaN). Its
      // finite elements become 0, as in PyTorch.
      if (!f.centered && std::isnan(var[i]) && std::none_of(x(i), x(i) + n, [](T v) { return v != v; }))
        var[i] = INFINITY;
      const double rstd = 1 / std::sqrt(var[i] + f.eps);
      f.rstd.data[begin + i] = rstd;
      // T(mean) is rounded: the rest of the mean goes into the constant term (norm.h).
      function[i] = {T(mean[i]), T(rstd), T(-(mean[i] - double(T(mean[i]))) * rstd)};
    }
    for (int64_t i = 0; i < count; ++i)
      kernels.normalize(x(i), n, function[i], f.weight.data, f.bias.data,
                        f.y.data + (begin + i) * f.y.strides[0]);
  }
};

// The division of the backward, which depends on the shapes alone.
template <class T>
struct LinePlan {
  int64_t lines, n, segments, block;  // block: lines whose dy and x stay in cache

  explicit LinePlan(const LayerNormBackward<T>& f) : lines(f.x.shape[0]), n(f.x.shape[1]) {
    segments = std::clamp<int64_t>(std::min(lines * n / kSegmentWork, lines), 1, kLineSegments);
    const int64_t bytes = std::max<int64_t>(2 * n * int64_t(sizeof(T)), 1);
    block = std::clamp<int64_t>(kSumBlockBytes / bytes, 1, kNormRows);
  }
  int64_t first(int64_t segment) const { return lines * segment / segments; }
};

template <class T>
struct LineBackward {
  const LayerNormBackward<T>& f;
  const LinePlan<T>& plan;
  const NormKernels<T>& kernels;
  double *dweight, *dbias;  // (segments, n)

  bool parameters_wanted() const { return f.dweight.data || f.dbias.data; }

  // dx of line i, whose mean is m + missing. In the terms of norm.h: g = dy weight, dx = g a + (x - m) b + k
  // with a = rstd.
  void line(int64_t i, T m, double missing) const {
    const T* dy = f.dy.data + i * f.dy.strides[0];
    const T* x = f.x.data + i * f.x.strides[0];
    const double rstd = f.rstd.data[i];
    const double n = double(plan.n);
    const GradientSums sums = line_sums<T>(kernels, dy, x, plan.n, m, f.weight.data);
    const double dot = sums.dot - missing * sums.dy;  // sum g (x - mean)
    if (f.centered && plan.n == 1) {  // y does not depend on x: exactly 0, without rounding errors
      f.dx.data[i * f.dx.strides[0]] = 0;
      return;
    }
    const double b = -rstd * rstd * rstd * dot / n;
    const double of_mean = f.centered ? -rstd * sums.dy / n : 0;
    const double k = of_mean - b * missing;
    line_gradient<T>(kernels, dy, x, plan.n, {m, T(rstd), T(b), T(k)}, b, f.weight.data,
                     f.dx.data + i * f.dx.strides[0]);
  }

  // dx of a segment's lines, and the segment's sums of the gradients of weight and bias.
  void segment(int64_t s) const {
    if (parameters_wanted()) {
      std::fill_n(dweight + s * plan.n, plan.n, 0.0);
      std::fill_n(dbias + s * plan.n, plan.n, 0.0);
    }
    const int64_t end = plan.first(s + 1);
    for (int64_t begin = plan.first(s); begin < end; begin += plan.block) {
      const int64_t rows = std::min(plan.block, end - begin);
      Normalize<T> xhat[kNormRows];
      for (int64_t r = 0; r < rows; ++r) {
        const double mean = f.centered ? f.mean.data[begin + r] : 0;
        const double rstd = f.rstd.data[begin + r];
        const T m = T(mean);
        xhat[r] = {m, T(rstd), T(-(mean - double(m)) * rstd)};
        if (f.dx.data) line(begin + r, m, mean - double(m));
      }
      if (parameters_wanted())
        kernels.parameter_sums(f.dy.data + begin * f.dy.strides[0], f.dy.strides[0],
                               f.x.data + begin * f.x.strides[0], f.x.strides[0], rows, plan.n, xhat,
                               dweight + s * plan.n, dbias + s * plan.n);
    }
  }
};

}  // namespace

// How many lines of n elements, of `item` bytes each, LineForward::lines() computes together.
static int64_t lines_together(int64_t n, int64_t item) {
  return std::clamp<int64_t>(kAtOnceBytes / std::max<int64_t>(n * item, 1), 1, kLinesAtOnce);
}

// Lines of 16-bit floats: widened to T in a buffer, computed there in place, and rounded. A thread's buffer
// has at_once lines, and then weight and bias.
template <class T>
static void run_halves(const LayerNormForward<T>& f, const Team& team, double cost, T* workspace) {
  const int64_t n = f.x.shape[1];
  const int64_t at_once = lines_together(n, sizeof(T));
  team.parallel_for(f.x.shape[0], 2 * cost, [&](const OpenTeam& team, int64_t begin, int64_t end) {
    T* block = workspace + team.index() * (at_once + 2) * n;
    LayerNormForward<T> part = f;
    part.x.data = block;
    part.y.data = block;
    part.x.strides[0] = n;
    part.y.strides[0] = n;
    const auto widened = [&](TensorView<const T>& v, T* to) {
      if (v.data) {
        widen(v.stored, v.data, n, to);
        v.data = to;
      }
    };
    widened(part.weight, block + at_once * n);
    widened(part.bias, block + (at_once + 1) * n);
    for (int64_t i = begin; i < end; i += at_once) {
      const int64_t some = std::min(at_once, end - i);
      widen_lines({f.x, i * f.x.strides[0], f.x.strides[0], 1}, some, n, /*beside=*/false, block);
      if (f.mean.data) part.mean.data = f.mean.data + i;
      part.rstd.data = f.rstd.data + i;
      LineForward<T>{part, norm_kernels<T>()}.lines(0, some);
      round_lines(block, some, n, /*beside=*/false, {f.y, i * f.y.strides[0], f.y.strides[0], 1});
    }
  });
}

template <class T>
size_t LayerNormForward<T>::workspace_bytes(int threads) const {
  const int64_t n = x.shape[1];
  return x.stored == Stored::whole ? 0 : sizeof(T) * ((lines_together(n, sizeof(T)) + 2) * n * threads + 64);
}

template <class T>
void LayerNormForward<T>::run(const Team& team, void* workspace) const {
  const double cost = kNsPerLineByte * sizeof(T) * double(numel(x)) + 20.0 * double(x.shape[0]);
  if constexpr (sizeof(T) == sizeof(float))
    if (x.stored != Stored::whole) return run_halves(*this, team, cost, static_cast<T*>(workspace));
  const LineForward<T> forward{*this, norm_kernels<T>()};
  const int64_t at_once = lines_together(x.shape[1], sizeof(T));
  team.parallel_for(x.shape[0], cost, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += at_once) forward.lines(i, std::min(end, i + at_once));
  });
}

template <class T>
size_t LayerNormBackward<T>::workspace_bytes(int) const {
  if (!dweight.data && !dbias.data) return 0;
  const LinePlan<T> plan(*this);
  Carver carver(nullptr);
  carver.take<double>(plan.segments * plan.n);
  carver.take<double>(plan.segments * plan.n);
  return carver.used();
}

template <class T>
void LayerNormBackward<T>::run(const Team& team, void* workspace) const {
  const LinePlan<T> plan(*this);
  Carver carver(workspace);
  double* weights = carver.take<double>(plan.segments * plan.n);
  double* biases = carver.take<double>(plan.segments * plan.n);
  const LineBackward<T> backward{*this, plan, norm_kernels<T>(), weights, biases};
  const double cost = kNsPerLineByte * sizeof(T) * 3.0 * double(numel(x)) + 30.0 * double(x.shape[0]);
  team.region(cost, [&](const OpenTeam& team) {
    team.parallel_for(plan.segments, cost, [&](int64_t s) { backward.segment(s); });
    if (backward.parameters_wanted())
      team.parallel_for(plan.n, cost, [&](int64_t j) {
        add_rows(weights, plan.segments, plan.n, j, dweight);
        add_rows(biases, plan.segments, plan.n, j, dbias);
      });
  });
}

RANVIER_INSTANTIATE(LayerNormForward);
RANVIER_INSTANTIATE(LayerNormBackward);

}  // namespace ranvier
