// What the bindings of convolutions share: reads and checks settings and shapes for signals (n, c, l) and
// images (n, c, h, w). Kernels take images only, so a signal is passed as an image with one row (h = 1).
#pragma once
#include "bindings/ops/image_args.h"
#include "kernels/conv2d/conv2d.h"

namespace ranvier::bind {

// The op that is called, and words for its errors.
struct ConvOp {
  const char* name;
  int axes;  // 1: signals, 2: images

  const char* sizes() const { return axes == 1 ? "an integer" : "an integer or a pair of integers"; }
  const char* image() const { return axes == 1 ? "(n, c, l)" : "(n, c, h, w)"; }
  const char* taps() const { return axes == 1 ? "S" : "R, S"; }
  const char* axis(int d) const {  // d: 0 for h, 1 for w; a signal has the latter only
    if (axes == 1) return "l";
    return d == 0 ? "h" : "w";
  }
  // The shape of images or signals.
  Shape shape(int64_t n, int64_t c, int64_t h, int64_t w) const {
    return axes == 1 ? Shape{n, c, w} : Shape{n, c, h, w};
  }
};

// The parameter w of a binding, which errors call "weight".
template <class Array>
struct Named : Array {
  Named(const Arg& arg) : Array(Arg{arg.op, "weight", arg.value}) {}
};
using Weight = Named<Reals>;

struct Padding : PerAxis {  // numbers, or 'same' or 'valid'
  RANVIER_ANNOTATION("Pair | str");
  using PerAxis::PerAxis;
};

struct Groups : Arg {
  RANVIER_ANNOTATION("int");
  Groups(const Arg& arg) : Arg(arg) {}
};

// The settings, along h and along w; before, after: padding. Of a signal, those along h keep their defaults.
struct ConvArguments {
  int64_t stride[2] = {1, 1}, before[2] = {}, after[2] = {}, dilation[2] = {1, 1}, groups = 1;
  int64_t extra[2] = {};  // output_padding of transposed convolutions

  Conv2dGeometry geometry() const {
    return {{stride[0], stride[1]}, {before[0], before[1]}, {dilation[0], dilation[1]}, groups};
  }
};

struct ConvShapes {
  // x (n, c, h, w), y (n, k, p, q); (r, s): height and width of the filter.
  int64_t n, c, h, w, k, r, s, p, q;
};

// Reads the settings except groups. names: the padding may also be 'same' or 'valid'.
ConvArguments conv_arguments(const ConvOp& op, const Input& w, const PerAxis& stride, const PerAxis& padding,
                             const PerAxis& dilation, bool names);
int64_t read_groups(const ConvOp& op, const Arg& groups);
// Reads a setting, whole numbers of at least `least`, to `sizes` (along h and w; of a signal only along w).
void read_conv_sizes(const ConvOp& op, const PerAxis& arg, int64_t least, int64_t (&sizes)[2]);

// Fails unless x has the op's number of dimensions. dimensions: their names, for the error.
void expect_conv_dimensions(const ConvOp& op, const Input& x, const char* dimensions);
// Sets r and s of the shapes to the size of the filter w; fails if it is empty.
void read_conv_taps(const ConvOp& op, const Input& w, ConvShapes* s);

// The size of x along h (d = 0) or w (d = 1); 1 along a signal's h.
inline int64_t conv_size(const ConvOp& op, const Input& x, int d) {
  if (op.axes == 2) return x.shape(2 + d);
  return d == 0 ? 1 : x.shape(2);
}

// The shapes of a convolution of x by w; fails if they do not fit.
ConvShapes conv_shapes(const ConvOp& op, const Input& x, const Input& w, const ConvArguments& a);
Conv2dActivation conv_activation(const Name& name);

// The windows of a max-pool over conv2d's result. They do not overlap and have at most 256 elements, since a
// maximum's place in its window is stored as uint8.
struct ResultWindow {
  int64_t size[2];        // of a window, along h and w
  int64_t rows, columns;  // how many windows fit
};
ResultWindow result_window(const ConvOp& op, const PerAxis& window, const ConvShapes& s);

// The algorithms that rv.set_winograd() and allow_conv_algorithm() allow. The algorithm "medium", which
// multiplies bfloat16, is one of them for bfloat16 arrays, and at the precision "medium".
ConvAlgorithms conv_algorithms(DType dtype);

// A new result: channels-last, or with `planes` in C order.
inline Output conv_output(const ConvOp& op, DType dtype, const Shape& shape, bool planes = false) {
  return new_images(dtype, op.axes, !planes, shape);
}

// The result of a convolution: a new array (planes: in C order), or the caller's `out`. Kernels write arrays
// whose channels are contiguous. If `out` has others, the kernel writes array(), a temporary, and finish()
// copies it to `out`.
class ConvResult {
 public:
  template <class... In>
  ConvResult(const ConvOp& op, const Out& out, DType dtype, const Shape& shape, bool planes,
             const In&... apart)
      : dtype_(dtype), y_(given_or_new(op, out, dtype, shape, planes, apart...)) {
    if (!writes_directly()) temporary_ = conv_output(op, dtype, shape);
  }
  const Output& array() const {  // the kernel writes to this
    return temporary_ ? *temporary_ : y_;
  }
  Output finish();  // the result; to be called once, after the kernel

 private:
  template <class... In>
  static Output given_or_new(const ConvOp& op, const Out& out, DType dtype, const Shape& shape, bool planes,
                             const In&... apart) {
    if (out.given()) return out.shaped(dtype, shape, apart...);
    return conv_output(op, dtype, shape, planes);
  }
  bool writes_directly() const;  // true if y_'s channels are contiguous
  DType dtype_;
  Output y_;  // the result
  std::optional<Output> temporary_;
};

}  // namespace ranvier::bind
