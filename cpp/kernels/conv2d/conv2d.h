// conv2d: y = activation(x * w + bias), the cross-correlation that neural networks call convolution, and its
// gradients.
//
//   x (n, c, h, w), w (k, c / groups, r, s), bias (k) or none, y (n, k, p, q):
//   y[n, k, p, q] = bias[k] + sum over c, r, s of
//                   x[n, c, p * stride - pad + r * dilation, q * stride - pad + s * dilation] * w[k, c, r, s]
//   where x is zero outside its bounds. The shape of y gives p and q, and so the padding at the far sides.
//
// Passes of cpp/program may put a batch norm with running statistics before the activation: y =
// activation((z - m) a + b) with the numbers of BatchNormScale (kernels/norm) and z = x * w + bias. The bits
// are those of a separate norm.
//
// x, w, bias and dy may have any strides. It is fast where the channels of x and dy are contiguous
// (channels-last); other layouts are copied first. The channels of y and dx must be contiguous; dw and db are
// C-contiguous. Outputs are not read.
//
// Bits. A chain is a sum by FMAs, one product after another. How an element is summed depends on the
// algorithm (ConvAlgorithm):
//   - Generally an element of y or dx is one chain over taps and channels. Where the tensor of the element
//     has few channels and the other tensor many, lanes are channels: the sum of a vector of such chains.
//   - Winograd: a sum of chains over channels, one for each product of a tile. An infinity or NaN in x then
//     affects up to the whole tile of 2 x 2 outputs.
//   - dw and db: at most 16 chains over fixed parts of the pixels, added in order. Where channels are few
//     (planes/weight.h, pixels/pixels.h), such a chain is a sum of vectors of chains, one for each block of
//     pixels.
//   - pointwise/ (1x1): sums as in matmul. columns/: for each tap a sum as in matmul; these are added.
//     scattered/: for each row of taps a sum of chains over the channels, one for each tap.
// The algorithm is chosen by the shapes. So all bits depend on the shapes alone, not on blocks or threads.
#pragma once
#include <cstddef>

#include "base/views.h"
#include "kernels/copy/half_images.h"

namespace ranvier {

enum class Conv2dActivation { none, relu };

// The algorithms from which dispatch.cpp chooses. Each has a folder, except: dots and grouped, forms of the
// direct sum (`dots` and `spans` in direct/direct.h); exchanged (direct/weight.h); spread
// (pointwise/pointwise.h). The direct sum (direct/) computes all that none of these takes.
// clang-format off
enum class ConvAlgorithm {
  depthwise, spread, columns, scattered, winograd, pixels, pointwise, planes, dots, grouped, exchanged,
  medium
};
// clang-format on

// The algorithms that a call may use, as bits: all except those that rv.set_winograd(), a test or a benchmark
// turns off. `medium` is off, except where factors may be rounded to bfloat16:
// rv.set_float32_matmul_precision().
struct ConvAlgorithms {
  uint32_t bits = ~(1u << static_cast<int>(ConvAlgorithm::medium));
  bool has(ConvAlgorithm a) const { return bits >> static_cast<int>(a) & 1; }
  ConvAlgorithms without(ConvAlgorithm a) const { return {bits & ~(1u << static_cast<int>(a))}; }
};

// True if sums over `in` channels of a group, for `out` channels of it, are computed from pairs of bfloat16:
// see medium/.
bool pays_in_pairs(const ConvAlgorithms& algorithms, int64_t in, int64_t out);
bool by_tiles(const ConvAlgorithms& algorithms);  // true if factors are bfloat16, and AMX multiplies them

constexpr double kConvNsPerProduct = 0.012;  // one float multiply-add on one core, roughly

struct Conv2dGeometry {  // [0] along h, [1] along w
  int64_t stride[2];
  int64_t pad[2];  // before the first row and column
  int64_t dilation[2];
  int64_t groups;
  bool steps_by_one() const { return stride[0] == 1 && stride[1] == 1; }
  // True if Winograd's algorithm can compute it; r, s: the taps along h and w.
  bool is_winograds(int64_t r, int64_t s) const {
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
  TensorView<const T> norm = {};      // (3, k), C-contiguous: m, a, b of each channel; or data null
  bool pooled = false;                // the convolution of conv2d_pool, whose weights are packed in its order
  bool is_medium_sum() const;         // true if the direct sum of pairs computes it, see medium/
};

// Packs the weights of a convolution as its inner loops read them, once for many calls. Of `conv`, the data
// of w alone are read; the shapes of the other views decide the algorithm.
template <class T>
struct Conv2dPack {
  RANVIER_CALL("conv2d_pack", conv.w, packed);
  size_t workspace_bytes(int threads) const;
  Conv2dForward<T> conv;
  TensorView<T> packed;  // 1-D, size() elements

  int64_t size() const;  // 0: the algorithm packs no weights
};

// dx[n, c, h, w] = the sum of dy[n, k, p, q] w[k, c, r, s] over the outputs and taps that used x[n, c, h, w].
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

// conv_transpose2d: y is what Conv2dBackwardInput computes from dy = x, plus a bias for each channel of y.
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

// dw[k, c, r, s] = the sum over images and outputs (p, q) of dy times the x that tap (r, s) met; db[k] = the
// sum of dy. Either output may have data null.
template <class T>
struct Conv2dBackwardWeight {
  RANVIER_CALL("conv2d_backward_weight", dy, x, dw, db);
  RANVIER_IMAGES((dy, x), (dw, db))
  size_t workspace_bytes(int threads) const;
  TensorView<const T> dy, x;
  TensorView<T> dw, db;
  Conv2dGeometry geometry;
  int64_t taps[2];  // r and s, since dw may be null
  ConvAlgorithms algorithms;
  bool pairs = false;  // elements of x and dy are pairs of bfloat16 already: see medium/
  double ns() const {  // on one thread, roughly
    const int64_t products = dw.data ? x.shape[1] / geometry.groups * taps[0] * taps[1] : 1;
    return kConvNsPerProduct * (sizeof(T) / 4) * numel(dy) * static_cast<double>(products);
  }
};

}  // namespace ranvier
