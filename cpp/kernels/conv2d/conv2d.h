// conv2d: y = activation(x * w + bias), the cross-correlation that neural networks call convolution, and its
// gradients.
//
//   x (n, c, h, w), w (k, c / groups, r, s), bias (k) or none, y (n, k, p, q):
//   y[n, k, p, q] = bias[k] + sum over c, r, s of
//                   x[n, c, p * stride - pad + r * dilation, q * stride - pad + s * dilation] * w[k, c, r, s]
//   with x zero outside its bounds. The shape of y gives p and q, and so the padding at the far sides.
//
// In programs, a batch norm by running statistics may come before the activation: y = activation((z - m) a +
// b) with the numbers of BatchNormScale and z = x * w + bias. The bits are those of a separate norm.
//
// Any strides in x, w, bias, dy. Fast where the channels of x and dy are contiguous (channels-last): other
// layouts are copied first. The channels of y and dx must be contiguous; dw and db are C-contiguous. Outputs
// are written only.
// Every element of y and dx is one chain of FMAs over taps and channels. Where its tensor has few channels
// and the other many, it is the sum of a vector of such chains, with the channels distributed over the lanes.
// Where Winograd's algorithm is allowed and pays by the shapes, it is a sum of chains over channels, one for
// each product of a tile, and an infinity or NaN in x then affects up to the whole tile of 2 x 2 outputs. dw
// and db are sums of at most 16 chains over fixed parts of the pixels, added in order. Where channels are few
// (planes/weight.h, pixels/pixels.h), a chain is a sum of vectors of chains, one for each block of pixels.
// 1x1 convolutions and gradients that pointwise/ computes are sums as matmul's; gradients to the input that
// scattered/ computes are, for each row of taps, sums of chains over the channels, one for each tap; those
// of columns/ sums of products as matmul's, one for each tap. So all bits depend on the shapes alone, not on
// blocks or threads.
#pragma once
#include <cstddef>

#include "base/views.h"
#include "kernels/copy/half_images.h"

namespace ranvier {

enum class Conv2dActivation { none, relu };

// The algorithms from which dispatch.cpp chooses; the direct sum computes all that is left.
// clang-format off
enum class ConvAlgorithm {
  depthwise, spread, columns, scattered, winograd, pixels, pointwise, planes, dots, grouped, exchanged,
  medium
};
// clang-format on

// Those that a call may use: all but what rv.set_winograd(), a test or a benchmark turns off. `medium` is on
// where factors are bfloat16: rv.set_float32_matmul_precision().
struct ConvAlgorithms {
  uint32_t bits = ~(1u << static_cast<int>(ConvAlgorithm::medium));
  bool has(ConvAlgorithm a) const { return bits >> static_cast<int>(a) & 1; }
  ConvAlgorithms without(ConvAlgorithm a) const { return {bits & ~(1u << static_cast<int>(a))}; }
};

// True if sums over `in` channels, to `out` ones in each group, have factors of bfloat16: see medium/.
bool pays_in_pairs(const ConvAlgorithms& algorithms, int64_t in, int64_t out);
bool by_tiles(const ConvAlgorithms& algorithms);  // and whether AMX multiplies them

constexpr double kConvNsPerProduct = 0.012;  // one float multiply-add on one core, roughly

struct Conv2dGeometry {  // [0] along h, [1] along w
  int64_t stride[2];
  int64_t pad[2];  // before the first row and column
  int64_t dilation[2];
  int64_t groups;
  bool steps_by_one() const { return stride[0] == 1 && stride[1] == 1; }
  bool is_winograds(int64_t r, int64_t s) const {  // r, s: the taps
    return r == 3 && s == 3 && groups == 1 && steps_by_one() && dilation[0] == 1 && dilation[1] == 1;
  }
  // True if each pixel of y is made of the one pixel of x at the same place; y and x: (n, c, h, w).
  bool keeps_pixels(int64_t r, int64_t s, const int64_t* x, const int64_t* y) const {
    return r == 1 && s == 1 && steps_by_one() && pad[0] == 0 && pad[1] == 0 && x[2] == y[2] && x[3] == y[3];
  }
};

template <class T>
struct Conv2dForward {
  RANVIER_CALL("conv2d_forward", x, packed_w.data ? packed_w : w, bias, norm, y);
  RANVIER_IMAGES((x, y), (w, bias))
  size_t workspace_bytes(int threads) const;
  TensorView<const T> x, w;
  TensorView<const T> bias;  // or data null
  TensorView<T> y;
  Conv2dGeometry geometry;
  Conv2dActivation activation;
  ConvAlgorithms algorithms;
  TensorView<const T> packed_w = {};  // 1-D: what Conv2dPack writes, read in place of w; or data null
  TensorView<const T> norm = {};      // (3, k), C-contiguous: m, a, b; or data null
  bool pooled = false;                // part of conv2d_pool, for which its weights are packed
  bool is_medium_sum() const;         // true if the direct sum of pairs computes it, see medium/
};

// The weights of a convolution as its inner loops read them, packed once for many calls. Of `conv` only w is
// read; the shapes of its other views decide the algorithm.
template <class T>
struct Conv2dPack {
  RANVIER_CALL("conv2d_pack", conv.w, packed);
  size_t workspace_bytes(int threads) const;
  Conv2dForward<T> conv;
  TensorView<T> packed;  // 1-D, of size()

  int64_t size() const;  // 0: the algorithm packs no weights
};

// dx[n, c, h, w] = sum of dy * w over the outputs that x[n, c, h, w] went into.
template <class T>
struct Conv2dBackwardInput {
  RANVIER_CALL("conv2d_backward_input", dy, w, dx);
  RANVIER_IMAGES((dy, dx), (w))
  size_t workspace_bytes(int threads) const;
  TensorView<const T> dy, w;
  TensorView<T> dx;
  Conv2dGeometry geometry;
  ConvAlgorithms algorithms;
};

// conv_transpose2d: the gradient to the input as a layer, with a bias for each channel of y.
//   x (n, k, p, q), w (k, c / groups, r, s), bias (c) or none, y (n, c, h, w)
template <class T>
struct ConvTranspose2dForward {
  RANVIER_CALL("conv_transpose2d_forward", x, w, bias, y);
  RANVIER_IMAGES((x, y), (w, bias))
  size_t workspace_bytes(int threads) const;
  TensorView<const T> x, w;
  TensorView<const T> bias;  // or data null
  TensorView<T> y;
  Conv2dGeometry geometry;
  ConvAlgorithms algorithms;
};

// dw[k, c, r, s] = sum of dy * x over images and pixels; db[k] = sum of dy. Either output may be null.
template <class T>
struct Conv2dBackwardWeight {
  RANVIER_CALL("conv2d_backward_weight", dy, x, dw, db);
  RANVIER_IMAGES((dy, x), (dw, db))
  size_t workspace_bytes(int threads) const;
  TensorView<const T> dy, x;
  TensorView<T> dw, db;
  Conv2dGeometry geometry;
  int64_t taps[2];  // r, s: dw may be null
  ConvAlgorithms algorithms;
  bool pairs = false;  // elements are pairs already
  double ns() const {  // on one thread, roughly
    const int64_t products = dw.data ? x.shape[1] / geometry.groups * taps[0] * taps[1] : 1;
    return kConvNsPerProduct * (sizeof(T) / 4) * numel(dy) * static_cast<double>(products);
  }
};

}  // namespace ranvier
