// Convolutions with few channels (planes.h): the conditions under which planes pay, the layout of planes and
// the copy into them, and the sums of bands of output rows. A plane has the pixels of one input channel, row
// by row, with zeros as padding; the lanes of a vector are neighbouring pixels of a plane. The inner loops
// are in planes.isa.cpp.
#include "kernels/conv2d/planes/planes.h"

#include <algorithm>
#include <cstring>

#include "base/caches.h"

namespace ranvier {
namespace {

// The most input channels, and the most for each output channel: copying an input channel to a plane takes as
// long as the products of some output channels.
constexpr int64_t kMostInputs = 32, kInputsOfOutput = 10;
constexpr int64_t kTiles = 4;           // tiles whose sums are stored together
constexpr int64_t kChannelsAtOnce = 8;  // output channels that are stored together

}  // namespace

// The gradient to the input is a correlation, too, with flipped taps and other padding.
PlanarAxis::PlanarAxis(const AxisGeometry& g)
    : out(g.out),
      in(g.in),
      taps(g.taps),
      dilation(g.dilation),
      pad(g.transposed ? (g.taps - 1) * g.dilation - g.pad : g.pad) {}

// pitch is the distance from a row to the next. The zeros between two rows serve both as the padding after
// the first and as the padding before the second. So pitch is the largest of three numbers:
//   - the end of a row's pixels, so that they do not reach into the zeros before the next row's pixels
//   - the number of results of a row, so that the results of two rows do not overlap
//   - the elements read in a row, less the zeros before the next row's pixels, which may be read
// (A gradient may have a negative pad: the first pixels are then not in the plane, and there are no zeros.)
//
// A plane has the rows that most_rows output rows read. spread() is how much further the last tap reads than
// the first. After the last row there is space for what its last pixels read to the right, and for the rest
// of a vector.
Planes::Planes(const PlanarAxis& rows, const PlanarAxis& columns, int64_t channels, int64_t most_rows)
    : rows(rows), columns(columns), channels(channels) {
  const int64_t read = columns.out + columns.spread();  // elements read in a row, with its padding
  pitch = std::max(
      {std::min(columns.in + columns.pad, read), columns.out, read - std::max<int64_t>(columns.pad, 0)});
  plane = (most_rows + rows.spread()) * pitch + columns.spread() + planar_kernels().lanes;
}

void Planes::list_offsets(bool channels_fastest, int64_t* offsets) const {
  const int64_t taps = rows.taps * columns.taps;
  for (int64_t t = 0; t < taps; ++t) {
    const int64_t r = t / columns.taps;
    const int64_t s = t % columns.taps;
    const int64_t at = r * rows.dilation * pitch + s * columns.dilation;
    for (int64_t c = 0; c < channels; ++c) {
      const int64_t index = channels_fastest ? t * channels + c : c * taps + t;
      offsets[index] = c * plane + at;
    }
  }
}

// Copies to planes those rows of an image that the output rows [first, first + count) read, with zeros as
// padding above and below. The padding at the left and right is not written: PlanarSum::fill() sets the whole
// memory to 0 before the first band of a thread, and the copies leave these places 0.
void Planes::fill(const TensorView<const float>& x, int64_t image, int64_t first, int64_t count,
                  float* to) const {
  const auto inside = [](const PlanarAxis& axis, int64_t begin, int64_t outs) {
    return Range{std::max<int64_t>(begin, 0), std::min(begin + outs + axis.spread(), axis.in)};
  };
  const int64_t top = first - rows.pad;
  const int64_t left = -columns.pad;
  const Range h = inside(rows, top, count);
  const Range w = inside(columns, left, columns.out);
  const int64_t begin = h.empty() ? 0 : h.begin - top;
  const int64_t end = h.empty() ? 0 : h.end - top;
  for (int64_t c = 0; c < channels; ++c) {
    std::fill_n(to + c * plane, begin * pitch, 0.0f);
    std::fill(to + c * plane + end * pitch, to + c * plane + (count + rows.spread()) * pitch, 0.0f);
  }
  if (h.empty() || w.empty()) return;
  split_pixels(x, image, h, w, to + (h.begin - top) * pitch + w.begin - left, pitch, plane);
}

void split_pixels(const TensorView<const float>& x, int64_t image, Range rows, Range columns, float* to,
                  int64_t pitch, int64_t plane) {
  constexpr int64_t kReach = 8;  // PlanarSplit may read this many elements of each pixel
  const int64_t step = x.strides[3];
  PlanarSplit t{};
  t.src = x.data + image * x.strides[0] + rows.begin * x.strides[2] + columns.begin * step;
  t.row_step = x.strides[2];
  t.step = step;
  t.rows = rows.end - rows.begin;
  t.pixels = columns.end - columns.begin;
  t.dst = to;
  t.pitch = pitch;
  t.plane = plane;
  if (x.strides[1] == 1 && x.shape[1] > 1 && step > 0 && (x.strides[2] >= kReach || x.shape[2] == 1)) {
    t.channels = static_cast<int>(x.shape[1]);
    t.last = rows.end == x.shape[2];
    return planar_kernels().split(t);
  }
  t.channels = 1;
  for (int64_t c = 0; c < x.shape[1]; ++c, t.src += x.strides[1], t.dst += plane) {
    if (step == 1) {
      planar_kernels().split(t);
    } else {
      for (int64_t r = 0; r < t.rows; ++r)
        for (int64_t p = 0; p < t.pixels; ++p) t.dst[r * pitch + p] = t.src[r * t.row_step + p * step];
    }
  }
}

// True if planes take less time than the direct sum. Compares estimated times of one image, in products of
// vectors:
//   - Planes also compute the pixels between the rows and the rest of the last tile, and the products with
//     the padding. They copy rows (kRow), and each image has a fixed cost (kImage).
//   - The direct sum has a cost for each pixel (kPixel), and for each class of pixels that use the same taps
//     (kClass), since few images do not fill its tiles; that cost is divided among the images of a tile.
// Where the direct sum would use dots (direct.h), it gives other bits than planes; then the number of images
// must not decide, or the bits of an image would depend on it. The constants are fitted to times of 900
// shapes.
template <class T>
bool fills_planes(const Correlation<T>& p) {
  constexpr double kDirectProduct = 1.15, kPixel = 50, kClass = 160, kRow = 30, kImage = 500;
  constexpr int64_t kImagesOfTile = 6;
  const PlanarKernels& kernels = planar_kernels();
  const PlanarAxis axes[2] = {p.axis(0), p.axis(1)};
  const int64_t in = p.x.shape[1];
  const int64_t out = p.y.shape[1];
  const int64_t blocks = ceil_div(out, kernels.outs);
  const int64_t block_outs = ceil_div(out, blocks);
  const int64_t taps = axes[0].taps * axes[1].taps;
  const int64_t flat = Planes(axes[0], axes[1], in, 1).flat(axes[0].out);
  const bool other_bits = prefers_dots<T>(in, out, taps);
  const int64_t images = other_bits ? kImagesOfTile : std::clamp<int64_t>(p.y.shape[0], 1, kImagesOfTile);
  // used: the products of an output channel, without those with the padding.
  double classes = 1;
  double used = static_cast<double>(in);
  for (const PlanarAxis& axis : axes) {
    int64_t pairs = 0;
    for (int64_t t = 0; t < axis.taps; ++t) {
      const int64_t shift = axis.shift(t);
      pairs += std::max<int64_t>(std::min(axis.out, axis.in - shift) - std::max<int64_t>(-shift, 0), 0);
    }
    used *= static_cast<double>(pairs);
    classes *= static_cast<double>(std::min(axis.out, 2 * axis.taps - 1));
  }
  const bool halves = conv_kernels<float>().mr > 6;  // AVX-512: the direct sum has tiles of half vectors
  double vectors = ceil_div(out, kernels.lanes);     // of outputs, in the direct sum
  if (halves) vectors = ceil_div(2 * out, kernels.lanes) / 2.0;
  const double vectors_of_planes =
      static_cast<double>(round_up(flat, kernels.pixels[block_outs]) / kernels.lanes * blocks * block_outs);
  const double planes = vectors_of_planes * taps * in + kRow * axes[0].in * in + kImage;
  const double direct =
      kDirectProduct * used * vectors + kPixel * axes[0].out * axes[1].out + kClass * classes / images;
  return planes <= direct;
}

template <class T>
bool is_planar(const Correlation<T>& p) {
  return p.algorithms.has(ConvAlgorithm::planes) && has_few_channels(p) &&
         (p.geometry.groups > 1 || fills_planes(p));
}

template <class T>
bool has_few_channels(const Correlation<T>& p) {
  return planar_kernels().lanes > 0 && fits_planes(p);
}

template <class T>
bool fits_planes(const Correlation<T>& p) {
  if constexpr (sizeof(T) != sizeof(float)) return false;
  const Conv2dGeometry& g = p.geometry;
  if (!g.steps_by_one()) return false;
  const int64_t in = p.x.shape[1] / g.groups;
  const int64_t out = p.y.shape[1] / g.groups;
  // With groups: stores need a multiple of 4 channels. Small groups are left to the direct sum, which
  // computes several groups in one vector (SumForm::spans in direct.h).
  if (g.groups > 1 && (out % 4 || (out == 4 && in <= out))) return false;
  // With more outputs than this, the vectors of output channels of the direct sum are full enough.
  const int64_t most_outputs = in <= 4 ? 12 : 8;
  return in > 0 && in <= kMostInputs && in <= kInputsOfOutput * out && out <= most_outputs;
}

bool all_finite(const TensorView<const float>& w) {
  const int64_t* st = w.strides;
  uint32_t most = 0;  // the greatest bits without the sign; infinity and NaN have the greatest of all
  for (int64_t k = 0; k < w.shape[0]; ++k)
    for (int64_t c = 0; c < w.shape[1]; ++c)
      for (int64_t r = 0; r < w.shape[2]; ++r)
        for (int64_t s = 0; s < w.shape[3]; ++s) {
          uint32_t bits;
          std::memcpy(&bits, w.data + k * st[0] + c * st[1] + r * st[2] + s * st[3], sizeof bits);
          most = std::max(most, bits & 0x7fffffff);
        }
  return most < 0x7f800000;
}

PlanarSum::PlanarSum(const Correlation<float>& p, int64_t band_rows, Carver& carver, int threads)
    : kernels(planar_kernels()),
      problem(p),
      row_axis(p.axis(0)),
      column_axis(p.axis(1)),
      band_rows(band_rows),
      planes(row_axis, column_axis, p.x.shape[1] / p.geometry.groups, band_rows),
      in_(p.x.shape[1] / p.geometry.groups),
      out_(p.y.shape[1] / p.geometry.groups),
      taps_(p.w.shape[2] * p.w.shape[3]),
      blocks_(ceil_div(out_, kernels.outs)),
      block_outs_(ceil_div(out_, blocks_)),
      tile_(kernels.pixels[block_outs_]),
      weights_(carver.take<float>(p.geometry.groups * group_size())),
      bias_(carver.take<float>(p.geometry.groups * outs())),
      offsets_(carver.take<int64_t>(in_ * taps_)),
      inputs_(carver.take<float>(threads * round_up(planes.size(), 16))) {}

void PlanarSum::prepare() const {
  planes.list_offsets(/*channels_fastest=*/true, offsets_);
  for (int64_t group = 0; group < problem.geometry.groups; ++group) pack_group(group);
}

// Packs the weights of a group in the order of PlanarSums: [block of outputs][tap][input channel][output];
// the last block is filled up with zeros. Copies the bias.
void PlanarSum::pack_group(int64_t group) const {
  const Correlation<float>& p = problem;
  float* to = weights_ + group * group_size();
  const int64_t* st = p.w.strides;
  const int64_t rows_of_group = p.transposed ? in_ : out_;  // of the first dimension of w
  const float* const w = p.w.data + group * st[0] * rows_of_group;
  const int64_t stride_c = p.transposed ? st[0] : st[1];
  const int64_t stride_k = p.transposed ? st[1] : st[0];
  for (int64_t first = 0; first < outs(); first += block_outs_)
    for (int64_t t = 0; t < taps_; ++t) {
      const int64_t tap = p.transposed ? taps_ - 1 - t : t;
      const int64_t at = tap / p.w.shape[3] * st[2] + tap % p.w.shape[3] * st[3];
      for (int64_t c = 0; c < in_; ++c)
        for (int64_t k = first; k < first + block_outs_; ++k) {
          *to = k < out_ ? w[at + c * stride_c + k * stride_k] : 0;
          ++to;
        }
    }
  for (int64_t k = 0; k < outs(); ++k) {
    const bool exists = p.bias.data && k < out_;
    bias_[group * outs() + k] = exists ? p.bias.data[(group * out_ + k) * p.bias.strides[0]] : 0;
  }
}

const float* PlanarSum::fill(const OpenTeam& team, const Band& band, bool first_of_thread,
                             int64_t group) const {
  float* const inputs = inputs_ + team.index() * round_up(planes.size(), 16);
  if (first_of_thread) std::fill_n(inputs, planes.size(), 0.0f);
  TensorView<const float> x = problem.x;
  x.data += group * in_ * x.strides[1];
  x.shape[1] = in_;
  planes.fill(x, band.image, band.first, band.count, inputs);
  return inputs;
}

// PlanarKernels::rows computes `most` neighbouring output rows of one channel in one call: rows of the plane
// that several output rows need are read once. If `most` does not divide the rows of the band, the last call
// begins earlier, so that some rows are computed twice.
bool PlanarSum::rows(const float* inputs, const Band& band, float* y) const {
  constexpr double kMostPixels = 1.3;  // the most pixels that tiles may compute for each pixel of a row
  const Correlation<float>& p = problem;
  const int64_t taps = row_axis.taps;
  const int64_t columns = column_axis.out;
  const int64_t most = kernels.shared_rows;
  if (taps > kMaxSharedTaps || !kernels.rows[taps] || row_axis.dilation != 1 || p.y.shape[1] != 1)
    return false;
  if (p.y.strides[3] != 1 || band.count < most ||
      round_up(columns, kernels.shared_pixels) > kMostPixels * columns)
    return false;
  PlanarRows all;
  all.x = inputs;
  all.pitch = planes.pitch;
  all.offsets = offsets_;
  all.count = in_ * column_axis.taps;
  all.w = weights_;
  all.bias = bias_[0];
  all.norm = p.norm;
  all.norm_step = 1;
  all.relu = p.relu;
  all.y = y;
  all.y_step = p.y.strides[2];
  all.pixels = columns;
  for (int64_t row = 0; row < band.count; row += most) {
    const int64_t first = std::min(row, band.count - most);
    PlanarRows t = all;
    t.x += first * t.pitch;
    t.y += first * t.y_step;
    kernels.rows[taps](t);
  }
  return true;
}

// A band has a multiple of `unit` rows, and if possible at least `least` units. The inputs and results of a
// unit take unit * (in_bytes + out_bytes) bytes, and a band also reads spread() further rows of inputs; 3/4
// of L1 hold `fits` units. An image is divided into at least so many bands that a band fits, and that all
// images have 2 * threads - 1 bands: about two for each thread, or one image for one thread. But a band has
// about four rows or more: 4 / unit units, where unit is 1 or 2.
int64_t planar_rows(const Correlation<float>& p, int threads, int64_t unit, int64_t least,
                    int64_t out_bytes) {
  const PlanarAxis row_axis(p.axis(0));
  const PlanarAxis column_axis(p.axis(1));
  const int64_t images = std::max<int64_t>(p.y.shape[0], 1);
  const int64_t units = std::max<int64_t>(row_axis.out / unit, 1);
  const int64_t in_bytes =
      p.x.shape[1] / p.geometry.groups * (column_axis.in + column_axis.taps) * sizeof(float);
  const int64_t fits = (caches.l1 * 3 / 4 - row_axis.spread() * in_bytes) /
                       (unit * std::max<int64_t>(in_bytes + out_bytes, 1));
  const int64_t bands = std::max(ceil_div(units, std::max(fits, least)), ceil_div(2 * threads - 1, images));
  return unit * ceil_div(units, std::min(bands, ceil_div(units, 4 / unit)));
}

// The entries of the pixels between two rows (`fill` below) are the place of the next row's first pixel.
// Their results are no pixels of y; they are stored there first, then overwritten, since stores are in the
// order of the entries.
void list_planar_places(const int64_t* strides, int64_t rows, int64_t columns, int64_t pitch,
                        int64_t* places) {
  for (int64_t row = 0; row < rows; ++row) {
    int64_t* const to = places + row * pitch;
    for (int64_t i = 0; i < columns; ++i) to[i] = row * strides[2] + i * strides[3];
    if (row + 1 < rows) std::fill(to + columns, to + pitch, (row + 1) * strides[2]);
  }
}

Planar::Planar(const Correlation<float>& p, Carver& carver, int threads)
    : sum_(p, planar_rows(p, threads, /*unit=*/1, /*least=*/8, /*out_bytes=*/0), carver, threads),
      sums_(carver.take<float>(threads * sums_size())),
      places_(carver.take<int64_t>(sum_.flat(sum_.band_rows))),
      direct_(p, carver, threads) {}

int64_t Planar::sums_size() const { return round_up(sum_.outs(), kChannelsAtOnce) * kTiles * sum_.tile(); }

void Planar::run(const Team& team) const {
  const Correlation<float>& p = sum_.problem;
  team.region(p.ns(), [&](const OpenTeam& team) {
    // Infinity or NaN times the zeros of the padding would be NaN; the direct sum has no products with
    // padding.
    if (!all_finite(p.w)) return direct_.run(team);
    if (team.index() == 0) {
      sum_.prepare();
      list_planar_places(p.y.strides, sum_.band_rows, sum_.column_axis.out, sum_.planes.pitch, places_);
    }
    team.barrier();
    sum_.for_my_bands(team, [&](const PlanarSum::Band& band, int64_t group, bool first_of_thread) {
      run_band(team, band, first_of_thread, group);
    });
    team.barrier();
  });
}

// Computes a band of output rows of one image: fills the planes, sums, and stores the sums as pixels.
void Planar::run_band(const OpenTeam& team, const PlanarSum::Band& band, bool first_of_thread,
                      int64_t group) const {
  const Correlation<float>& p = sum_.problem;
  const int64_t out = sum_.out_group();
  const int64_t* st = p.y.strides;
  float* const sums = sums_ + team.index() * sums_size();
  const float* const inputs = sum_.fill(team, band, first_of_thread, group);
  float* const y = p.y.data + band.image * st[0] + band.first * st[2] + group * out;
  if (sum_.rows(inputs, band, y)) return;
  const int64_t flat = sum_.flat(band.count);
  const int64_t most = kTiles * sum_.tile();
  const bool dense = out <= kChannelsAtOnce && st[3] == out && st[2] == out * sum_.column_axis.out;
  for (int64_t at = 0; at < flat; at += most) {
    const int64_t pixels = std::min(most, flat - at);
    const int64_t step = round_up(pixels, sum_.tile());
    sum_.sums(inputs, at, step, sums, group);
    sum_.kernels.store({sums, step, static_cast<int>(pixels), static_cast<int>(out), places_ + at, y,
                        p.norm_of(group * out), p.y.shape[1], p.relu, dense ? flat - at : 0});
  }
}

template bool has_few_channels(const Correlation<float>&);
template bool fits_planes(const Correlation<float>&);
template bool fits_planes(const Correlation<double>&);
template bool is_planar(const Correlation<float>&);
template bool is_planar(const Correlation<double>&);

}  // namespace ranvier
