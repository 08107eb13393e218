// Chooses the algorithm of a convolution: the first in these lists (with_algorithm()) whose condition holds.
// Conditions read the shapes alone, so that the bits do not depend on the number of threads. Conditions of
// the forward read the number of images only to choose between algorithms that give the same bits, so that an
// image has the same bits alone and in any batch. The first header in the folder of an algorithm says when it
// is chosen, its formula and its memory; docs/benchmarks/conv2d_algorithms.md compares each with the next in
// the list.
#include "base/parallel.h"
#include "kernels/conv2d/by_algorithm.h"
#include "kernels/conv2d/columns/columns.h"
#include "kernels/conv2d/depthwise/depthwise.h"
#include "kernels/conv2d/direct/direct.h"
#include "kernels/conv2d/direct/weight.h"
#include "kernels/conv2d/medium/medium.h"
#include "kernels/conv2d/pixels/pixels.h"
#include "kernels/conv2d/planes/planes.h"
#include "kernels/conv2d/planes/weight.h"
#include "kernels/conv2d/pointwise/pointwise.h"
#include "kernels/conv2d/scattered/scattered.h"
#include "kernels/conv2d/winograd/weight.h"
#include "kernels/conv2d/winograd/winograd.h"

namespace ranvier {
namespace {

template <class T>
constexpr bool is_float = sizeof(T) == sizeof(float);

// Calls f with the algorithm of a forward, of conv_transpose2d, or of a gradient to the input for which the
// list below has none.
template <class T, class F>
auto with_algorithm(const Correlation<T>& p, Carver& carver, int threads, const F& f) {
  const auto may = [&](ConvAlgorithm a) { return p.algorithms.has(a); };
  if (may(ConvAlgorithm::depthwise) && is_depthwise(p.geometry, p.x, p.y))
    return f(Depthwise(p, carver, threads));
  if constexpr (is_float<T>) {
    if (MediumSum::pays(p)) return f(MediumSum(p, carver, threads));
    if (winograd_pays(p)) return f(Winograd(p, carver, threads));
    if (may(ConvAlgorithm::pixels) && Pixels::pays(p)) return f(Pixels(p, carver));
  }
  if (may(ConvAlgorithm::pointwise) && Pointwise<T>::pays(p)) return f(Pointwise<T>(p, carver, threads));
  if constexpr (is_float<T>)
    if (is_planar(p)) return f(Planar(p, carver, threads));
  return f(Correlator(p, carver, threads));
}

// The same for the gradient to the input.
template <class T, class F>
void with_algorithm(const Conv2dBackwardInput<T>& c, Carver& carver, int threads, const F& f) {
  const auto may = [&](ConvAlgorithm a) { return c.algorithms.has(a); };
  if (may(ConvAlgorithm::spread) && SpreadInput<T>::pays(c)) return f(SpreadInput<T>(c, carver, threads));
  if (numel(c.dx) == 0) return;
  const Correlation<T> p{c.dy, c.w, {}, c.dx, c.geometry, /*transposed=*/true, /*relu=*/false, c.algorithms};
  if constexpr (is_float<T>) {
    if (MediumSum::pays(p)) return f(MediumSum(p, carver, threads));
    if (may(ConvAlgorithm::columns) && ColumnsInput::pays(c)) return f(ColumnsInput(c, carver, threads));
    if (may(ConvAlgorithm::scattered) && !winograd_pays(p) && ScatteredInput::pays(c, p))
      return f(ScatteredInput(c, p, carver, threads));
  }
  with_algorithm(p, carver, threads, f);
}

// The gradients to weight and bias that the direct sum computes.
template <class T, class F>
void with_direct(const Conv2dBackwardWeight<T>& c, Carver& carver, int threads, const F& f) {
  if (c.algorithms.has(ConvAlgorithm::exchanged) && ExchangedWeight<T>::pays(c))
    return f(ExchangedWeight<T>(c, carver, threads));
  f(WeightGradient<T>(c, carver, threads));
}

// The planes of planes/weight.h; where they give an infinity or NaN, the direct sum computes everything
// again.
template <class Direct>
struct PlanarOrDirect {
  void run(const Team& team) const {
    team.region(ns, [&](const OpenTeam& team) {
      if (!planar.run(team)) direct.run(team);
    });
  }
  double ns;
  const PlanarWeights& planar;
  const Direct& direct;
};

// The same for the gradients to weight and bias.
template <class T, class F>
void with_algorithm(const Conv2dBackwardWeight<T>& c, Carver& carver, int threads, const F& f) {
  const auto may = [&](ConvAlgorithm a) { return c.algorithms.has(a); };
  if (c.dy.shape[1] == 0) return;  // nothing is written
  if (may(ConvAlgorithm::depthwise) && is_depthwise(c)) return f(DepthwiseWeight<T>(c, carver, threads));
  if constexpr (is_float<T>) {
    const WinogradWeightCall call{c.dy, c.x, {}, c.dw, c.db, {c.geometry.pad[0], c.geometry.pad[1]}};
    if (winograd_weight_pays(c.algorithms, c.geometry, c.taps, call))
      return f(WinogradWeight(call, carver, threads));
    if (MediumWeight::pays(c)) return f(MediumWeight(c, carver, threads));
  }
  if (may(ConvAlgorithm::pointwise) && PointwiseWeight<T>::pays(c))
    return f(PointwiseWeight<T>(c, carver, threads));
  if constexpr (is_float<T>) {
    if (may(ConvAlgorithm::pixels) && PixelWeight::pays(c)) return f(PixelWeight(c, carver));
    if (may(ConvAlgorithm::planes) && PlanarWeights::pays(c)) {
      const PlanarWeights planar(c, carver, threads);
      return with_direct(c, carver, threads, [&](const auto& direct) {
        f(PlanarOrDirect<std::decay_t<decltype(direct)>>{c.ns(), planar, direct});
      });
    }
  }
  with_direct(c, carver, threads, f);
}

template <class T, class F>
void with_algorithm(const Conv2dForward<T>& c, Carver& carver, int threads, const F& f) {
  if (numel(c.y) > 0) with_algorithm(correlation(c), carver, threads, f);
}

template <class T, class F>
void with_algorithm(const ConvTranspose2dForward<T>& c, Carver& carver, int threads, const F& f) {
  const Correlation<T> p{c.x,         c.w, c.bias, c.y, c.geometry, /*transposed=*/true, /*relu=*/false,
                         c.algorithms};
  if (numel(c.y) > 0) with_algorithm(p, carver, threads, f);
}

}  // namespace

RANVIER_BY_ALGORITHM(Conv2dForward<T>, template <class T>)
RANVIER_BY_ALGORITHM(Conv2dBackwardInput<T>, template <class T>)
RANVIER_BY_ALGORITHM(Conv2dBackwardWeight<T>, template <class T>)
RANVIER_BY_ALGORITHM(ConvTranspose2dForward<T>, template <class T>)
RANVIER_INSTANTIATE(Conv2dForward);
RANVIER_INSTANTIATE(Conv2dBackwardInput);
RANVIER_INSTANTIATE(Conv2dBackwardWeight);
RANVIER_INSTANTIATE(ConvTranspose2dForward);

template <class T>
bool Conv2dForward<T>::is_medium_sum() const {
  if constexpr (is_float<T>) return MediumSum::pays(correlation(*this));
  return false;
}
template bool Conv2dForward<float>::is_medium_sum() const;
template bool Conv2dForward<double>::is_medium_sum() const;

// Calls f with the algorithm that reads the packed weights, packed_w being set.
template <class T, class F>
auto with_packing(const Conv2dPack<T>& p, Carver& carver, int threads, const F& f) {
  Conv2dForward<T> conv = p.conv;
  conv.packed_w = as_const(p.packed);
  return with_algorithm(correlation(conv), carver, threads, f);
}

template <class T>
int64_t Conv2dPack<T>::size() const {
  Carver carver(nullptr);
  return with_packing(*this, carver, 1, [](const auto& algorithm) { return algorithm.packed_size(); });
}
template <class T>
size_t Conv2dPack<T>::workspace_bytes(int threads) const {
  Carver carver(nullptr);
  with_packing(*this, carver, threads, [](const auto&) {});
  return carver.used();
}
template <class T>
void Conv2dPack<T>::run(const Team& team, void* workspace) const {
  constexpr double kNsPerElement = 1;
  Carver carver(workspace);
  with_packing(*this, carver, team.threads(), [&](const auto& algorithm) {
    team.region(kNsPerElement * numel(packed), [&](const OpenTeam& team) {
      algorithm.pack_weights(team);
      team.barrier();
    });
  });
}

RANVIER_INSTANTIATE(Conv2dPack);

}  // namespace ranvier
