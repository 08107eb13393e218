// conv2d's forward and gradient to the input, and conv_transpose2d, as correlations.
#include "kernels/conv2d/conv2d.h"

#include "base/parallel.h"
#include "kernels/conv2d/correlate.h"

namespace ranvier {
namespace {

template <class T>
Correlation<T> correlation(const Conv2dForward<T>& c) {
  return {c.x, c.w, c.bias, c.y, c.geometry, false, c.activation == Conv2dActivation::relu};
}

template <class T>
Correlation<T> correlation(const Conv2dBackwardInput<T>& c) {
  return {c.dy, c.w, {}, c.dx, c.geometry, true, false};
}

template <class T>
Correlation<T> correlation(const ConvTranspose2dForward<T>& c) {
  return {c.x, c.w, c.bias, c.y, c.geometry, true, false};
}

template <class Call>
size_t correlation_bytes(const Call& call, int team) {
  return Correlator(correlation(call), nullptr, team).workspace_bytes();
}

template <class Call>
void correlate(const Call& call, void* workspace) {
  const auto problem = correlation(call);
  if (numel(problem.y) > 0) Correlator(problem, workspace, num_threads()).run();
}

}  // namespace

template <class T>
size_t Conv2dForward<T>::workspace_bytes(int team) const {
  return correlation_bytes(*this, team);
}
template <class T>
void Conv2dForward<T>::run(void* workspace) const {
  correlate(*this, workspace);
}

template <class T>
size_t Conv2dBackwardInput<T>::workspace_bytes(int team) const {
  return correlation_bytes(*this, team);
}
template <class T>
void Conv2dBackwardInput<T>::run(void* workspace) const {
  correlate(*this, workspace);
}

template <class T>
size_t ConvTranspose2dForward<T>::workspace_bytes(int team) const {
  return correlation_bytes(*this, team);
}
template <class T>
void ConvTranspose2dForward<T>::run(void* workspace) const {
  correlate(*this, workspace);
}

template struct Conv2dForward<float>;
template struct Conv2dForward<double>;
template struct Conv2dBackwardInput<float>;
template struct Conv2dBackwardInput<double>;
template struct ConvTranspose2dForward<float>;
template struct ConvTranspose2dForward<double>;

}  // namespace ranvier
