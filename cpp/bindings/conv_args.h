// What the convolutions' bindings share: settings read and checked for signals (n, c, l) and images
// (n, c, h, w). Kernels know images only: a signal is an image of one row.
#pragma once
#include <string>

#include "bindings/image_args.h"
#include "kernels/conv2d/conv2d.h"

namespace ranvier::bind {

struct ConvOp {
  const char* name;
  int axes;  // 1: signals, 2: images

  const char* sizes() const { return axes == 1 ? "an integer" : "an integer or a pair of integers"; }
  const char* image() const { return axes == 1 ? "(n, c, l)" : "(n, c, h, w)"; }
  const char* taps() const { return axes == 1 ? "S" : "R, S"; }
  const char* axis(int d) const { return axes == 1 ? "l" : d == 0 ? "h" : "w"; }
};

// Along h and along w; a signal's h has one row.
struct ConvArguments {
  int64_t stride[2], before[2], after[2], dilation[2], groups;
  int64_t extra[2];  // output_padding, of transposed convolutions

  Conv2dGeometry geometry() const {
    return {{stride[0], stride[1]}, {before[0], before[1]}, {dilation[0], dilation[1]}, groups};
  }
};

struct ConvShapes {
  int64_t n, c, h, w, k, r, s, p, q;  // x (n, c, h, w), y (n, k, p, q), taps (r, s)
};

// padding: 'same', 'valid' or numbers where `words` allows it.
ConvArguments conv_arguments(const ConvOp& op, const Input& w, py::handle stride, py::handle padding,
                             py::handle dilation, py::handle groups, bool words);
void read_conv_sizes(const ConvOp& op, const char* name, py::handle value, int64_t least,
                     int64_t (&sizes)[2]);

// Fail unless x has the op's number of dimensions.
void require_conv_dimensions(const ConvOp& op, const char* name, const Input& x, const char* dimensions);
void require_conv_taps(const ConvOp& op, const Input& w, ConvShapes* s);
void require_conv_bias(const ConvOp& op, const Input& bias, int64_t channels);

// Sizes along h and w; a signal's h is 1.
inline int64_t conv_size(const ConvOp& op, const Input& x, int d) {
  return op.axes == 2 ? x.shape(2 + d) : d == 0 ? 1 : x.shape(2);
}

// Fails unless x and w are a convolution's.
ConvShapes conv_shapes(const ConvOp& op, const Input& x, const Input& w, const ConvArguments& a);
Conv2dActivation conv_activation(const ConvOp& op, py::handle value);

// Windows of conv2d's result that do not overlap, of at most 256 elements; rows and columns: how many fit.
struct PoolWindow {
  int64_t size[2];
  int64_t rows, columns;
};
PoolWindow pool_window(const ConvOp& op, py::handle window, const ConvShapes& s);

// The shape of images or signals, for an error's text or an output.
struct ConvShape {
  int ndim;
  int64_t shape[4];
  ConvShape(const ConvOp& op, int64_t n, int64_t c, int64_t h, int64_t w)
      : ndim(2 + op.axes), shape{n, c, op.axes == 1 ? w : h, w} {}
};

bool winograd_allowed();  // as rv.set_winograd() has it

Output conv_output(const ConvOp& op, DType dtype, const ConvShape& shape);  // channels-last
void require_conv_gradient(const ConvOp& op, const Input& dy, const ConvShape& expected);

// A new y, or the caller's `out` where the kernel, which writes contiguous channels, can write into it.
struct ConvResult {
  ConvResult(const ConvOp& op, py::handle out, DType dtype, const ConvShape& shape,
             std::initializer_list<const Input*> inputs);
  template <class T>
  TensorView<T> view() const {
    return as_image(y.view<T>(), axes);
  }
  py::object release();

 private:
  int axes;
  py::handle out;
  bool direct;
  Output y;
};

}  // namespace ranvier::bind
