// conv2d followed by a maximum over windows that do not overlap, as one call, and its gradients. The result
// of the convolution is not written to memory. float32 only.
//
//   z (n, k, p, q) = activation(x * w + bias), as in conv2d.h, with one group
//   y[n, k, i, j] = max over r < window[0], s < window[1] of z[n, k, i * window[0] + r, j * window[1] + s]
//   where[n, k, i, j] = the offset r * window[1] + s of that maximum: the first of equal ones; a NaN wins
//
// The rows and columns of z after the last whole window are not computed. y has the bits of Conv2dForward
// followed by MaxPool2dForward; so has `where` if the maximum is positive. Offsets are found before the ReLU:
// where y is zero, they name the greatest value before it. No gradient passes there: with ReLU the caller
// must give the gradients dy = 0 wherever y <= 0.
//
// x, w, bias and dy may have any strides. y, where and dx have contiguous channels, and `where` has the
// strides of y; dw and db are C-contiguous. A window has at most 256 elements. Outputs are not read, and
// their bits depend on the shapes alone.
#pragma once
#include "kernels/conv2d/conv2d.h"

namespace ranvier {

struct Conv2dPoolForward {
  RANVIER_CALL("conv2d_pool", conv.x, conv.packed_w.data ? conv.packed_w : conv.w, conv.bias, conv.norm, y,
               where);
  RANVIER_IMAGES((conv.x, y, where), (conv.w, conv.bias))
  size_t workspace_bytes(int threads) const;
  // The convolution that makes z: one group, with `pooled` set. Its y has no memory; by the shape of y it
  // chooses its algorithm.
  Conv2dForward<float> conv;
  TensorView<float> y;        // (n, k, i, j)
  TensorView<uint8_t> where;  // or data null
  int64_t window[2];
};

// The gradients. dz, the gradient of z, is dy at the offsets that `where` names, and zero elsewhere. Only the
// elements of dz that are not zero are used, at most one of each window, so the work is a fraction of the
// work of dense sums. The sums have the same terms as the gradients of conv2d, in another order. They differ
// only where an element of x or w that is multiplied by zeros alone is infinite or NaN: these products are
// left out.
//
// dw[k, c, r, s] = the sum over images and pixels of dz times the x that tap (r, s) met; db[k] = the sum of
// dz. Either output may have data null.
struct Conv2dPoolBackwardWeight {
  RANVIER_CALL("conv2d_pool_backward_weight", dy, where, x, dw, db);
  RANVIER_IMAGES((dy, where, x), (dw, db))
  size_t workspace_bytes(int threads) const;
  TensorView<const float> dy;  // (n, k, i, j)
  TensorView<const uint8_t> where;
  TensorView<const float> x;
  TensorView<float> dw, db;
  Conv2dGeometry geometry;
  int64_t taps[2];  // r and s, since dw may be null
  int64_t window[2];
  ConvAlgorithms algorithms;
};

// dx[n, c, h, w] = the sum of dz * w over the elements of z that depend on x[n, c, h, w]. If `saved` is
// given, x is the result of a ReLU and saved is x; dx is then the gradient of the input of the ReLU, 0 where
// saved <= 0.
struct Conv2dPoolBackwardInput {
  RANVIER_CALL("conv2d_pool_backward_input", dy, where, w, saved, dx);
  RANVIER_IMAGES((dy, where, saved, dx), (w))
  size_t workspace_bytes(int threads) const;
  TensorView<const float> dy;  // (n, k, i, j)
  TensorView<const uint8_t> where;
  TensorView<const float> w;
  TensorView<const float> saved;  // like dx, of any strides; or data null
  TensorView<float> dx;
  Conv2dGeometry geometry;
  int64_t window[2];
  ConvAlgorithms algorithms;
};

}  // namespace ranvier
