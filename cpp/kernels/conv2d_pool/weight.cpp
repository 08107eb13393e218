// The gradients of conv2d_pool to weight and bias by lists (PooledWeightGradient), and the choice among the
// three algorithms: Winograd (conv2d/winograd/weight.h), lookups (lookup.h) and lists. See with_algorithm()
// at the end.
//
//   dw[k, :, r, s] = the sum over pooled pixels of dy[k] times the input pixel that tap (r, s) reads for the
//   output pixel that the maximum came from;   db[k] = the sum of dy[k]
#include "kernels/conv2d/winograd/weight.h"
#include "kernels/conv2d/by_algorithm.h"
#include "kernels/conv2d/direct/tile.h"
#include "kernels/conv2d_pool/blocks.h"
#include "kernels/conv2d_pool/conv2d_pool.h"
#include "kernels/conv2d_pool/lookup.h"
#include "kernels/matmul/tile.h"

namespace ranvier {
namespace {

// The most bytes of the input of a region, for one block of channels, which all output channels read. It is
// somewhat more than L1, since the filters, which come from L2 for each region, are then used for more
// pixels.
constexpr int64_t kSumRegionBytes = 40 << 10;
constexpr int64_t kMinPixels = 16;  // of a region: fewer would not pay for loading and storing a filter
constexpr int64_t kMaxPixels = 256;
constexpr int64_t kPixelsOfPart = 192;   // the fewest pooled pixels of a part
constexpr int64_t kUnit = 16;            // the fewest output channels that a thread computes
constexpr int64_t kListedChannels = 32;  // output channels whose lists are made at a time

// For each output channel it makes the list of the gradients in a region that are not zero. Each entry adds
// the patch of the input that it came from, times the gradient, to dw of the channel. Fixed parts of the
// regions have separate sums, which are added in order.
class PooledWeightGradient {
 public:
  PooledWeightGradient(const Conv2dPoolBackwardWeight& call, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  using Region = PooledRegion;
  // The input of a region: a copy in Scratch::x, or the memory of the caller where that is aligned to vectors
  // and needs no padding. block, image, row: from each to the next, in pixels.
  struct Input {
    const float* data;
    int64_t block, image, row;
  };
  struct Scratch {  // what each thread has
    float* x;       // [block][image][row][column][width], with zeros for the padding
    PixelLists pixels;
    PooledLists lists;
  };
  void choose_regions();
  // How many pixels of the input along axis d this many pooled pixels read.
  int64_t reach(int d, int64_t pooled) const {
    return pooled_reach(c_.geometry, c_.window, c_.taps, d, pooled);
  }
  Region region(int64_t i) const;
  Scratch take_scratch(Carver& carver) const;
  void accumulate_part(const OpenTeam& team, int64_t part, Range channels) const;
  bool is_on_vectors() const;
  Input input(const Region& region, const Scratch& s) const;
  void copy_region(const Region& region, const Scratch& s) const;
  void copy_row(const PooledBlock& block, int64_t image, int64_t y, int64_t x0, int64_t columns,
                float* to) const;
  void add_region(const Input& x, const PooledPixels& pixels, int64_t part, Range channels,
                  const Scratch& s) const;
  void combine(const OpenTeam& team) const;
  float* sums(int64_t part, int64_t block, int64_t k) const;

  Conv2dPoolBackwardWeight c_;
  int64_t out_;  // output channels
  PixelRows<uint8_t> where_;
  PooledBlocks blocks_;
  int64_t images_, rows_, columns_;  // the size of the largest region
  int64_t regions_;                  // how many there are; decided by the shapes alone
  int64_t parts_;                    // how many there are; decided by the shapes alone
  int64_t entries_;                  // the most entries of a list
  bool in_place_;                    // x is read where it is
  float *sums_, *bias_sums_;         // [part][block][k][filter], [part][k][lane]
  TeamScratch scratch_;
};

PooledWeightGradient::PooledWeightGradient(const Conv2dPoolBackwardWeight& call, Carver& carver, int threads)
    : c_(call),
      out_(call.dy.shape[1]),
      where_(call.where, 0, carver, /*spread=*/false),
      blocks_(call.x.shape[1], call.taps, call.geometry) {
  if (call.x.shape[1] == 0) c_.dw.data = nullptr;  // it has no elements
  choose_regions();
  const int64_t lanes = pooled_gradient_kernels().lanes;
  parts_ = partial_sums(call.dy.shape[0] * call.dy.shape[2] * call.dy.shape[3], regions_, kPixelsOfPart);
  entries_ = ceil_div(images_ * rows_ * columns_ + lanes, lanes) * lanes;
  const int64_t sums = c_.dw.data ? parts_ * out_ * blocks_.filter() : 0;
  sums_ = carver.take<float>(sums);
  bias_sums_ = carver.take<float>(c_.db.data ? parts_ * out_ * lanes : 0);
  in_place_ = is_on_vectors();
  scratch_ = TeamScratch([&](Carver& c) { take_scratch(c); }, carver, threads);
}

PooledWeightGradient::Scratch PooledWeightGradient::take_scratch(Carver& carver) const {
  const int64_t image_size = reach(0, rows_) * reach(1, columns_);  // also where this call's x is in place
  Scratch s;
  s.x = carver.take<float>(images_ * image_size * blocks_.pixel() +
                           kPooledVectors * pooled_gradient_kernels().lanes);
  s.pixels = PixelLists(images_ * rows_ * columns_, carver);
  s.lists = {carver.take<float>(kListedChannels * entries_), carver.take<int32_t>(kListedChannels * entries_),
             carver.take<int32_t>(kListedChannels), carver.take<int32_t>(kListedChannels),
             carver.take<int32_t>(kListedChannels)};
  return s;
}

// Sets images_, rows_ and columns_, the size of a region: the longer side is halved until the input of the
// region fits into kSumRegionBytes. If whole images are smaller than that, a region has several.
void PooledWeightGradient::choose_regions() {
  const int64_t n = c_.dy.shape[0];
  const int64_t height = c_.dy.shape[2];
  const int64_t width = c_.dy.shape[3];
  const auto bytes = [&] { return reach(0, rows_) * reach(1, columns_) * blocks_[0].width * 4; };
  images_ = 1;
  rows_ = std::max<int64_t>(height, 1);
  columns_ = std::max<int64_t>(width, 1);
  while (rows_ * columns_ > kMinPixels && (bytes() > kSumRegionBytes || rows_ * columns_ > kMaxPixels)) {
    int64_t& longer = rows_ > columns_ ? rows_ : columns_;
    longer = (longer + 1) / 2;
  }
  const int64_t in_image = ceil_div(height, rows_) * ceil_div(width, columns_);
  if (in_image == 1) {
    const int64_t fit = std::min(kSumRegionBytes / bytes(), kMaxPixels / (rows_ * columns_));
    images_ = std::clamp<int64_t>(fit, 1, std::max<int64_t>(n, 1));
  }
  regions_ = ceil_div(n, images_) * in_image;
}

PooledWeightGradient::Region PooledWeightGradient::region(int64_t i) const {
  const int64_t height = c_.dy.shape[2];
  const int64_t width = c_.dy.shape[3];
  const int64_t across = ceil_div(width, columns_);
  const int64_t down = ceil_div(height, rows_);
  const int64_t image = i / (across * down) * images_;
  const int64_t row = i / across % down * rows_;
  const int64_t column = i % across * columns_;
  return {image,  std::min(images_, c_.dy.shape[0] - image), row, std::min(rows_, height - row),
          column, std::min(columns_, width - column)};
}

float* PooledWeightGradient::sums(int64_t part, int64_t block, int64_t k) const {
  return sums_ + (part * blocks_.filter() + blocks_.before_filter(block)) * out_ + k * blocks_[block].filter;
}

void PooledWeightGradient::run(const Team& team) const {
  const double products = static_cast<double>(numel(c_.dy)) * c_.x.shape[1] * c_.taps[0] * c_.taps[1];
  team.region(kConvNsPerProduct * products, [&](const OpenTeam& team) {
    where_.copy_share(team);
    team.barrier();
    for_my_parts(team, parts_, ceil_div(out_, kUnit), [&](int64_t part, Range units) {
      accumulate_part(team, part, {units.begin * kUnit, std::min(units.end * kUnit, out_)});
    });
    team.barrier();
    combine(team);
    team.barrier();
  });
}

// Computes sums_ and bias_sums_ of a part for some output channels, region by region.
void PooledWeightGradient::accumulate_part(const OpenTeam& team, int64_t part, Range channels) const {
  Carver own = scratch_.of(team.index());
  const Scratch s = take_scratch(own);
  const int64_t count = channels.end - channels.begin;
  const int64_t lanes = pooled_gradient_kernels().lanes;
  for (int64_t i = 0; c_.dw.data && i < blocks_.count(); ++i)
    std::fill_n(sums(part, i, channels.begin), count * blocks_[i].filter, 0.0f);
  if (c_.db.data) std::fill_n(bias_sums_ + (part * out_ + channels.begin) * lanes, count * lanes, 0.0f);
  for (int64_t i = regions_ * part / parts_; i < regions_ * (part + 1) / parts_; ++i) {
    const Region r = region(i);
    const Input x = input(r, s);
    const PooledPixels pixels =
        list_pixels(c_.dy, where_, c_.geometry, c_.window, r, 0, x.image, x.row, s.pixels);
    for (int64_t k = channels.begin; k < channels.end; k += kListedChannels)
      add_region(x, pixels, part, {k, std::min(k + kListedChannels, channels.end)}, s);
  }
}

// True if the sums can read x in place: its channels are one block of whole vectors, it is aligned to
// vectors, and there is no padding.
bool PooledWeightGradient::is_on_vectors() const {
  const TensorView<const float>& x = c_.x;
  const int64_t lanes = pooled_gradient_kernels().lanes;
  const int64_t c = x.shape[1];
  if (blocks_.count() > 1 || c % lanes != 0 || x.strides[1] != 1 || x.strides[3] != c) return false;
  return x.strides[2] % c == 0 && x.strides[0] % c == 0 && c_.geometry.pad[0] + c_.geometry.pad[1] == 0 &&
         reinterpret_cast<uintptr_t>(x.data) % (lanes * sizeof(float)) == 0;
}

// The input of a region, in place, or copied to s.x.
PooledWeightGradient::Input PooledWeightGradient::input(const Region& region, const Scratch& s) const {
  const TensorView<const float>& x = c_.x;
  if (!in_place_) {
    const int64_t columns = reach(1, region.columns);
    const int64_t image = reach(0, region.rows) * columns;
    if (c_.dw.data) copy_region(region, s);
    return {s.x, region.images * image, image, columns};
  }
  const int64_t row = region.row * c_.window[0] * c_.geometry.stride[0];
  const int64_t column = region.column * c_.window[1] * c_.geometry.stride[1];
  return {x.data + region.image * x.strides[0] + row * x.strides[2] + column * x.strides[3], 0,
          x.strides[0] / x.strides[3], x.strides[2] / x.strides[3]};
}

// Copies the input of a region to s.x, block by block.
void PooledWeightGradient::copy_region(const Region& region, const Scratch& s) const {
  const Conv2dGeometry& g = c_.geometry;
  const int64_t rows = reach(0, region.rows);
  const int64_t columns = reach(1, region.columns);
  const int64_t y0 = region.row * c_.window[0] * g.stride[0] - g.pad[0];
  const int64_t x0 = region.column * c_.window[1] * g.stride[1] - g.pad[1];
  for (int64_t i = 0; i < blocks_.count(); ++i) {
    const PooledBlock block = blocks_[i];
    float* to = s.x + blocks_.before(i) * region.images * rows * columns;
    for (int64_t image = region.image; image < region.image + region.images; ++image)
      for (int64_t y = y0; y < y0 + rows; ++y, to += columns * block.width)
        copy_row(block, image, y, x0, columns, to);
  }
}

// Copies a part of row y of x: `columns` pixels from x0 on, of a block of channels, with zeros outside the
// image.
void PooledWeightGradient::copy_row(const PooledBlock& block, int64_t image, int64_t y, int64_t x0,
                                    int64_t columns, float* to) const {
  const TensorView<const float>& x = c_.x;
  const int64_t size = columns * block.width;
  if (y < 0 || y >= x.shape[2]) return void(std::fill_n(to, size, 0.0f));
  const int64_t begin = std::clamp<int64_t>(-x0, 0, columns);
  const int64_t end = std::clamp<int64_t>(x.shape[3] - x0, begin, columns);
  std::fill_n(to, begin * block.width, 0.0f);
  std::fill(to + end * block.width, to + size, 0.0f);
  const float* from = x.data + image * x.strides[0] + block.first * x.strides[1] + y * x.strides[2] +
                      (x0 + begin) * x.strides[3];
  const bool dense =
      block.width == x.shape[1] && x.strides[3] == block.width && (block.width == 1 || x.strides[1] == 1);
  if (end > begin && dense)
    std::copy_n(from, (end - begin) * block.width, to + begin * block.width);
  else
    matmul_kernels<float>().pack(end - begin, static_cast<int>(block.channels), static_cast<int>(block.width),
                                 from, x.strides[3], x.strides[1], to + begin * block.width, /*missing=*/0);
}

// Lists the gradients of a region by channel, and adds their products with x to the sums of a part.
void PooledWeightGradient::add_region(const Input& x, const PooledPixels& pixels, int64_t part,
                                      Range channels, const Scratch& s) const {
  PooledPixels in = pixels;
  in.dy += channels.begin * in.dy_k;
  in.where += channels.begin;
  in.channels = static_cast<int>(channels.end - channels.begin);
  for (int i = 0; i < in.channels; ++i) {
    const auto first = static_cast<int32_t>(i * entries_);
    s.lists.begin[i] = first;
    s.lists.end[i] = first;  // the kernel appends to the list
    s.lists.place[i] = i;
  }
  float* bias =
      c_.db.data ? bias_sums_ + (part * out_ + channels.begin) * pooled_gradient_kernels().lanes : nullptr;
  pooled_gradient_kernels().list_by_channel(in, s.lists, bias);
  for (int64_t i = 0; c_.dw.data && i < blocks_.count(); ++i) {
    const PooledBlock block = blocks_[i];
    const float* data = x.data + blocks_.before(i) * x.block;
    float* dw = sums(part, i, channels.begin);
    const int64_t image_row = x.row * block.width;
    blocks_.for_each_part(block, image_row, [&](const PooledPart& t) {
      PooledSums all{};
      all.lists = s.lists;
      all.count = in.channels;
      all.c = dw + t.in_filter;
      all.c_step = block.filter;
      all.c_row = block.filter / c_.taps[0];
      all.b = data + t.in_image;
      all.b_step = block.width;
      all.b_row = c_.geometry.dilation[0] * image_row;
      all.rows = t.rows;
      all.vectors = t.vectors;
      all.last = pooled_gradient_kernels().lanes;
      pooled_gradient_kernels().sum(all);
    });
  }
}

// Adds the sums of all parts for this thread's output channels, and stores dw and db.
void PooledWeightGradient::combine(const OpenTeam& team) const {
  const int64_t lanes = pooled_gradient_kernels().lanes;
  const int64_t r = c_.taps[0];
  const int64_t s = c_.taps[1];
  const Range mine = even_share(team, out_);
  for (int64_t i = 0; c_.dw.data && i < blocks_.count(); ++i) {
    const PooledBlock block = blocks_[i];
    float* all = sums(0, i, mine.begin);
    pooled_gradient_kernels().combine(all, parts_, out_ * blocks_.filter(),
                                      (mine.end - mine.begin) * block.filter);
    for (int64_t k = mine.begin; k < mine.end; ++k, all += block.filter)
      for (int64_t y = 0; y < r; ++y)
        for (int64_t x = 0; x < s; ++x) {
          const float* from = all + blocks_.tap(block, y, x);
          float* to = c_.dw.data + ((k * c_.x.shape[1] + block.first) * r + y) * s + x;
          for (int64_t c = 0; c < block.channels; ++c) to[c * r * s] = from[c];
        }
  }
  for (int64_t k = mine.begin; c_.db.data && k < mine.end; ++k) {
    pooled_gradient_kernels().combine(bias_sums_ + k * lanes, parts_, out_ * lanes, lanes);
    float total = 0;
    for (int64_t i = 0; i < lanes; ++i) total += bias_sums_[k * lanes + i];
    c_.db.data[k * c_.db.strides[0]] = total;
  }
}

template <class F>
void with_algorithm(const Conv2dPoolBackwardWeight& c, Carver& carver, int threads, const F& f) {
  if (c.dy.shape[1] == 0) return;
  const WinogradWeightCall call{c.dy, c.x, c.where, c.dw, c.db, {c.geometry.pad[0], c.geometry.pad[1]}};
  if (c.window[0] == 2 && c.window[1] == 2 && winograd_weight_pays(c.algorithms, c.geometry, c.taps, call))
    return f(WinogradWeight(call, carver, threads));
  if (pooled_lookup_pays(c)) return f(PooledLookup(c, carver, threads));
  f(PooledWeightGradient(c, carver, threads));
}

}  // namespace

RANVIER_BY_ALGORITHM(Conv2dPoolBackwardWeight)

}  // namespace ranvier
