// conv2d's forward and gradient to the input, and conv_transpose2d, as correlations.
#include "kernels/conv2d/conv2d.h"

#include "base/parallel.h"
#include "kernels/conv2d/columns/columns.h"
#include "kernels/conv2d/depthwise/depthwise.h"
#include "kernels/conv2d/direct/direct.h"
#include "kernels/conv2d/pixels/pixels.h"
#include "kernels/conv2d/planes/planes.h"
#include "kernels/conv2d/pointwise/pointwise.h"
#include "kernels/conv2d/scattered/scattered.h"
#include "kernels/conv2d/winograd/winograd.h"

namespace ranvier {
namespace {

template <class T>
Correlation<T> correlation(const Conv2dForward<T>& c) {
  const bool relu = c.activation == Conv2dActivation::relu;
  return {c.x, c.w, c.bias, c.y, c.geometry, false, relu, c.algorithms, c.packed_w.data, c.norm.data};
}

template <class T>
Correlation<T> correlation(const Conv2dBackwardInput<T>& c) {
  return {c.dy, c.w, {}, c.dx, c.geometry, true, false, c.algorithms};
}

template <class T>
Correlation<T> correlation(const ConvTranspose2dForward<T>& c) {
  return {c.x, c.w, c.bias, c.y, c.geometry, true, false, c.algorithms};
}

// f on the kernel that computes the call.
template <class T, class F>
auto with_kernel(const Correlation<T>& problem, Carver& carver, int threads, const F& f) {
  const auto allowed = [&](ConvAlgorithm a) { return problem.algorithms.has(a); };
  if (allowed(ConvAlgorithm::depthwise) && is_depthwise(problem.geometry, problem.x, problem.y))
    return f(Depthwise(problem, carver, threads));
  if constexpr (sizeof(T) == sizeof(float)) {
    if (winograd_pays(problem)) return f(Winograd(problem, carver, threads));
    if (allowed(ConvAlgorithm::pixels) && Pixels::pays(problem)) return f(Pixels(problem, carver));
  }
  if (allowed(ConvAlgorithm::pointwise) && Pointwise<T>::pays(problem))
    return f(Pointwise<T>(problem, carver, threads));
  if constexpr (sizeof(T) == sizeof(float))
    if (is_planar(problem)) return f(Planar(problem, carver, threads));
  return f(Correlator(problem, carver, threads));
}

template <class Call, class F>
void with_kernel_of(const Call& call, Carver& carver, int threads, const F& f) {
  const auto problem = correlation(call);
  if (numel(problem.y) > 0)  // without channels a kernel could not divide by their number
    with_kernel(problem, carver, threads, f);
}

template <class T, class F>
void with_kernel_of(const Conv2dBackwardInput<T>& call, Carver& carver, int threads, const F& f) {
  const auto allowed = [&](ConvAlgorithm a) { return call.algorithms.has(a); };
  if (allowed(ConvAlgorithm::spread) && SpreadInput<T>::pays(call))
    return f(SpreadInput<T>(call, carver, threads));
  const auto problem = correlation(call);
  if (numel(problem.y) == 0) return;
  if constexpr (sizeof(T) == sizeof(float)) {
    if (allowed(ConvAlgorithm::columns) && ColumnsInput::pays(call))
      return f(ColumnsInput(call, carver, threads));
    if (allowed(ConvAlgorithm::scattered) && !winograd_pays(problem) && !keeps_pixels(problem) &&
        ScatteredInput::pays(call, problem))
      return f(ScatteredInput(call, problem, carver, threads));
  }
  with_kernel(problem, carver, threads, f);
}

template <class Call>
size_t correlation_bytes(const Call& call, int threads) {
  Carver carver(nullptr);
  with_kernel_of(call, carver, threads, [](const auto&) {});
  return carver.used();
}

template <class Call>
void correlate(const Team& team, const Call& call, void* workspace) {
  Carver carver(workspace);
  with_kernel_of(call, carver, team.threads(), [&](const auto& kernel) { kernel.run(team); });
}

}  // namespace

#define RANVIER_X(Call)                                        \
  template <class T>                                           \
  size_t Call<T>::workspace_bytes(int threads) const {         \
    return correlation_bytes(*this, threads);                  \
  }                                                            \
  template <class T>                                           \
  void Call<T>::run(const Team& team, void* workspace) const { \
    correlate(team, *this, workspace);                         \
  }                                                            \
  template struct Call<float>;                                 \
  template struct Call<double>;
RANVIER_X(Conv2dForward)
RANVIER_X(Conv2dBackwardInput)
RANVIER_X(ConvTranspose2dForward)
#undef RANVIER_X

// f on the kernel whose packed weights these are.
template <class T, class F>
auto with_packing(const Conv2dPack<T>& p, Carver& carver, int threads, const F& f) {
  Conv2dForward<T> conv = p.conv;
  conv.packed_w = as_const(p.packed);
  return with_kernel(correlation(conv), carver, threads, f);
}

template <class T>
int64_t Conv2dPack<T>::size() const {
  Carver carver(nullptr);
  return with_packing(*this, carver, 1, [](const auto& kernel) { return kernel.packed_size(); });
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
  with_packing(*this, carver, team.threads(), [&](const auto& kernel) {
    team.region(kNsPerElement * numel(packed), [&](const OpenTeam& team) {
      kernel.pack_weights(team);
      team.barrier();
    });
  });
}

template struct Conv2dPack<float>;
template struct Conv2dPack<double>;

}  // namespace ranvier
