// Shared by the bindings of convolutions: settings read and checked for signals (n, c, l) and images
// (n, c, h, w). Kernels take images only: a signal is an image of one row.
#pragma once
#include "bindings/ops/image_args.h"
#include "kernels/conv2d/conv2d.h"

namespace ranvier::bind {

struct ConvOp {
  const char* name;
  int axes;  // 1: signals, 2: images

  const char* sizes() const { return axes == 1 ? "an integer" : "an integer or a pair of integers"; }
  const char* image() const { return axes == 1 ? "(n, c, l)" : "(n, c, h, w)"; }
  const char* taps() const { return axes == 1 ? "S" : "R, S"; }
  const char* axis(int d) const { return axes == 1 ? "l" : d == 0 ? "h" : "w"; }
  // The shape of images or signals.
  Shape shape(int64_t n, int64_t c, int64_t h, int64_t w) const {
    return axes == 1 ? Shape{n, c, w} : Shape{n, c, h, w};
  }
};

// The weight, which errors call by its full name.
template <class Array>
struct Named : Array {
  Named(const Arg& arg) : Array(Arg{arg.op, "weight", arg.value}) {}
};
using Weight = Named<Reals>;

struct Padding : PerAxis {  // or 'same' or 'valid'
  RANVIER_ANNOTATION("Pair | str");
  using PerAxis::PerAxis;
};

struct Groups : Arg {
  RANVIER_ANNOTATION("int");
  Groups(const Arg& arg) : Arg(arg) {}
};

// Along h and along w; a signal's h has one row.
struct ConvArguments {
  int64_t stride[2] = {1, 1}, before[2] = {}, after[2] = {}, dilation[2] = {1, 1}, groups = 1;
  int64_t extra[2] = {};  // output_padding, of transposed convolutions

  Conv2dGeometry geometry() const {
    return {{stride[0], stride[1]}, {before[0], before[1]}, {dilation[0], dilation[1]}, groups};
  }
};

struct ConvShapes {
  int64_t n, c, h, w, k, r, s, p, q;  // x (n, c, h, w), y (n, k, p, q), taps (r, s)
};

// padding: 'same' and 'valid' where `names` allows it.
ConvArguments conv_arguments(const ConvOp& op, const Input& w, const PerAxis& stride, const PerAxis& padding,
                             const PerAxis& dilation, bool names);
int64_t read_groups(const ConvOp& op, const Arg& groups);
void read_conv_sizes(const ConvOp& op, const PerAxis& arg, int64_t least, int64_t (&sizes)[2]);

// Fail unless x has the op's number of dimensions.
void expect_conv_dimensions(const ConvOp& op, const Input& x, const char* dimensions);
void read_conv_taps(const ConvOp& op, const Input& w, ConvShapes* s);

// Sizes along h and w; a signal's h is 1.
inline int64_t conv_size(const ConvOp& op, const Input& x, int d) {
  return op.axes == 2 ? x.shape(2 + d) : d == 0 ? 1 : x.shape(2);
}

// Fails unless x and w are a convolution's.
ConvShapes conv_shapes(const ConvOp& op, const Input& x, const Input& w, const ConvArguments& a);
Conv2dActivation conv_activation(const Name& name);

// Windows of conv2d's result that do not overlap, of at most 256 elements; rows and columns: how many fit.
struct ResultWindow {
  int64_t size[2];
  int64_t rows, columns;
};
ResultWindow result_window(const ConvOp& op, const PerAxis& window, const ConvShapes& s);

// The algorithms that rv.set_winograd() and allow_conv_algorithm() allow; for bfloat16 arrays "medium"
// always.
ConvAlgorithms conv_algorithms(DType dtype);

inline Output conv_output(const ConvOp& op, DType dtype, const Shape& shape, bool planes = false) {
  return new_images(dtype, op.axes, !planes, shape);  // channels-last but for planes
}

// A new y (planes: in C order), or the caller's `out`. Where the kernel, which writes contiguous channels,
// cannot write into that, y is copied to it.
class ConvResult {
 public:
  template <class... In>
  ConvResult(const ConvOp& op, const Out& out, DType dtype, const Shape& shape, bool planes,
             const In&... apart)
      : dtype_(dtype),
        y_(out.given() ? out.shaped(dtype, shape, apart...) : conv_output(op, dtype, shape, planes)) {
    if (!writes_directly()) own_ = conv_output(op, dtype, shape);
  }
  const Output& array() const { return own_ ? *own_ : y_; }
  Output finish();

 private:
  bool writes_directly() const;
  DType dtype_;
  Output y_;
  std::optional<Output> own_;
};

}  // namespace ranvier::bind
