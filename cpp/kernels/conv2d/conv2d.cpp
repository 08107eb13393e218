// conv2d's forward and gradient to the input, and conv_transpose2d, as correlations.
#include "kernels/conv2d/conv2d.h"

#include "base/parallel.h"
#include "kernels/conv2d/correlate.h"
#include "kernels/conv2d/depthwise.h"
#include "kernels/conv2d/winograd.h"

namespace ranvier {
namespace {

template <class T>
Correlation<T> correlation(const Conv2dForward<T>& c) {
  const bool relu = c.activation == Conv2dActivation::relu;
  return {c.x, c.w, c.bias, c.y, c.geometry, false, relu, c.packed.data, c.norm.data};
}

template <class T>
Correlation<T> correlation(const Conv2dBackwardInput<T>& c) {
  return {c.dy, c.w, {}, c.dx, c.geometry, true, false};
}

template <class T>
Correlation<T> correlation(const ConvTranspose2dForward<T>& c) {
  return {c.x, c.w, c.bias, c.y, c.geometry, true, false};
}

// f on the kernel that computes the call.
template <class T, class F>
auto with_kernel(const Correlation<T>& problem, bool winograd, void* workspace, int team, const F& f) {
  if (is_depthwise(problem.geometry, problem.x, problem.y)) return f(Depthwise(problem, workspace, team));
  if constexpr (sizeof(T) == sizeof(float))
    if (winograd && winograd_pays(problem)) return f(Winograd(problem, workspace, team));
  return f(Correlator(problem, workspace, team));
}

template <class Call>
size_t correlation_bytes(const Call& call, int team) {
  const auto problem = correlation(call);
  if (numel(problem.y) == 0)
    return 0;  // no kernel is made: without channels it could not divide by their number
  return with_kernel(problem, call.winograd, nullptr, team,
                     [](const auto& kernel) { return kernel.workspace_bytes(); });
}

template <class Call>
void correlate(const Team& team, const Call& call, void* workspace) {
  const auto problem = correlation(call);
  if (numel(problem.y) == 0) return;
  with_kernel(problem, call.winograd, workspace, team.threads(),
              [&](const auto& kernel) { kernel.run(team); });
}

}  // namespace

template <class T>
size_t Conv2dForward<T>::workspace_bytes(int team) const {
  return correlation_bytes(*this, team);
}
template <class T>
void Conv2dForward<T>::run(const Team& team, void* workspace) const {
  correlate(team, *this, workspace);
}

template <class T>
size_t Conv2dBackwardInput<T>::workspace_bytes(int team) const {
  return correlation_bytes(*this, team);
}
template <class T>
void Conv2dBackwardInput<T>::run(const Team& team, void* workspace) const {
  correlate(team, *this, workspace);
}

template <class T>
size_t ConvTranspose2dForward<T>::workspace_bytes(int team) const {
  return correlation_bytes(*this, team);
}
template <class T>
void ConvTranspose2dForward<T>::run(const Team& team, void* workspace) const {
  correlate(team, *this, workspace);
}

// f on the kernel whose packed weights these are.
template <class T, class F>
auto with_packing(const Conv2dPack<T>& p, void* workspace, int team, const F& f) {
  Conv2dForward<T> conv = p.conv;
  conv.packed = as_const(p.packed);
  return with_kernel(correlation(conv), conv.winograd, workspace, team, f);
}

template <class T>
int64_t Conv2dPack<T>::size() const {
  return with_packing(*this, nullptr, 1, [](const auto& kernel) { return kernel.packed_size(); });
}
template <class T>
size_t Conv2dPack<T>::workspace_bytes(int team) const {
  return with_packing(*this, nullptr, team, [](const auto& kernel) { return kernel.workspace_bytes(); });
}
template <class T>
void Conv2dPack<T>::run(const Team& team, void* workspace) const {
  constexpr double kNsPerElement = 1;
  team.region(kNsPerElement * numel(packed), [&](const OpenTeam& team) {
    with_packing(*this, workspace, team.threads(), [&](const auto& kernel) { kernel.pack_weights(team); });
    team.barrier();
  });
}

template struct Conv2dPack<float>;
template struct Conv2dPack<double>;
template struct Conv2dForward<float>;
template struct Conv2dForward<double>;
template struct Conv2dBackwardInput<float>;
template struct Conv2dBackwardInput<double>;
template struct ConvTranspose2dForward<float>;
template struct ConvTranspose2dForward<double>;

}  // namespace ranvier
