// Binds the kernels of data augmentation: images are moved, warped, erased in a box, or mixed with others.
// Each image of a batch has its own settings, a row of an array.
#include "bindings/binder/define.h"
#include "kernels/augment/augment.h"

namespace ranvier::bind {
namespace {

constexpr int64_t kFarthest = int64_t{1} << 31;  // limit of sizes and places: int64 does not overflow

struct Images : Pixels {  // (n, c, h, w)
  Images(const Arg& arg) : Pixels(arg) {
    if (ndim() != 4) fail("images (N, C, H, W)");
    if (shape(2) >= kFarthest || shape(3) >= kFarthest) fail("height and width below 2**31");
  }
};

// Runs Call for the element type of images: float, double or uint8.
template <template <class> class Call, class... A>
void run_pixels(DType dtype, const A&... fields) {
  if (dtype == DType::uint8)
    invoke_released(Call<uint8_t>{fields...});
  else
    run<Call>(dtype, fields...);
}

// Fails unless `rows` has a row of this many columns for each image.
void expect_rows(const Input& rows, const Input& x, int64_t columns) {
  const Shape expected{x.shape(0), columns};
  if (!rows.has_shape(expected))
    fail_value(x.op(), "got ", rows.name(), " of shape ", rows.shape(), " for ", x.shape(0),
               " images; expected ", expected);
}

// Fails unless `rows` has four whole numbers for each image, which say how it is moved, or a box in it.
void expect_places(const Input& rows, const Input& x) {
  expect_rows(rows, x, 4);
  const auto v = rows.view<int64_t>();
  for (int64_t i = 0; i < 4 * v.shape[0]; ++i) {
    const int64_t at = v.data[i / 4 * v.strides[0] + i % 4 * v.strides[1]];
    if (at < -kFarthest || at > kFarthest)
      fail_value(x.op(), "got ", rows.name(), " with the value ", at,
                 "; expected values from -2**31 to 2**31");
  }
}

// Fails unless `partner` has for each image the number of an image of the batch.
void expect_partners(const Input& partner, const Input& x) {
  partner.expect_shape({x.shape(0)});
  const auto v = partner.view<int64_t>();
  for (int64_t i = 0; i < v.shape[0]; ++i) {
    const int64_t at = v.data[i * v.strides[0]];
    if (at < 0 || at >= x.shape(0))
      fail_value(x.op(), "got partner with the value ", at, "; expected 0 to ", x.shape(0) - 1);
  }
}

// Fails unless x's dtype can hold the number `fill`.
void expect_pixel(const Real& fill, const Input& x) {
  const double v = fill;
  if (x.dtype() == DType::uint8 && !(v >= 0 && v <= 255 && v == static_cast<int>(v)))
    fail_value(x.op(), "got fill ", fill.value, " for images of uint8; expected 0 to 255");
}

// The argument `out`, or new images in x's layout. `out` must not share memory with x and `apart`.
template <class... In>
Output images_like(const Out& out, const Input& x, int64_t height, int64_t width, const In&... apart) {
  const Shape shape{x.shape(0), x.shape(1), height, width};
  if (!out.given() && is_channels_last(x)) return Output::channels_last(x.dtype(), shape);
  return out.shaped(x.dtype(), shape, x, apart...);
}

// The height or width of the result; None: x's own.
int64_t size_of(const MaybeWhole& value, int64_t own) {
  const int64_t n = value.value_or(own);
  if (n < 0 || n > kFarthest) value.fail("0 to 2**31");
  return n;
}

Output move_images(const Images& x, const Integers& place, MaybeWhole height_, MaybeWhole width_, Real fill,
                   Name mode_, Out out) {
  expect_places(place, x);
  expect_pixel(fill, x);
  constexpr Border modes[] = {Border::constant, Border::edge, Border::reflect, Border::symmetric};
  const Border mode = modes[mode_.one_of({"constant", "edge", "reflect", "symmetric"})];
  const int64_t height = size_of(height_, x.shape(2));
  const int64_t width = size_of(width_, x.shape(3));
  if (mode != Border::constant && (x.shape(2) == 0 || x.shape(3) == 0))
    x.fail("pixels to repeat beyond the edge");
  Output y = images_like(out, x, height, width, place);
  run_pixels<MoveImages>(x.dtype(), mode, fill.number, place, x, y);
  return y;
}

Output affine_images(const Images& x, const Doubles& matrix, Real fill, Name interpolation, MaybeWhole height,
                     MaybeWhole width, Out out) {
  expect_rows(matrix, x, 6);
  expect_pixel(fill, x);
  constexpr Interpolation kinds[] = {Interpolation::nearest, Interpolation::bilinear};
  const Interpolation kind = kinds[interpolation.one_of({"nearest", "bilinear"})];
  Output y = images_like(out, x, size_of(height, x.shape(2)), size_of(width, x.shape(3)), matrix);
  run_pixels<AffineImages>(x.dtype(), kind, fill.number, matrix, x, y);
  return y;
}

Output erase_images(const Images& x, const Integers& box, const Maybe<Integers>& partner, Real fill,
                    Out out) {
  expect_places(box, x);
  if (partner) expect_partners(partner, x);
  expect_pixel(fill, x);
  Output y = images_like(out, x, x.shape(2), x.shape(3), box, partner);
  run_pixels<EraseImages>(x.dtype(), fill.number, box, partner, x, y);
  return y;
}

Output mix_images(const Floats& x, const Integers& partner, const Doubles& weight, Out out) {
  if (x.ndim() == 0) x.fail("samples (N, ...)");
  expect_partners(partner, x);
  weight.expect_shape({x.shape(0)});
  Output y = out.like(x, x, weight, partner);
  run<MixImages>(x.dtype(), partner, weight, x, y);
  return y;
}

}  // namespace

void register_augment(Module m) {
  def(m, "move_images(x, place, height=None, width=None, fill=0.0, mode='constant', out=None)", move_images);
  def(m, "affine_images(x, matrix, fill=0.0, interpolation='bilinear', height=None, width=None, out=None)",
      affine_images);
  def(m, "erase_images(x, box, partner=None, fill=0.0, out=None)", erase_images);
  def(m, "mix_images(x, partner, weight, out=None)", mix_images);
}

}  // namespace ranvier::bind
