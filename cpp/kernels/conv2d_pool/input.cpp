// The gradient of conv2d_pool to the input, by sums over the gradients that are not zero
// (PooledInputGradient), or by Winograd's algorithm (winograd.h). with_algorithm() at the end chooses.
#include "kernels/conv2d/by_algorithm.h"
#include "kernels/conv2d/direct/tile.h"
#include "kernels/conv2d_pool/blocks.h"
#include "kernels/conv2d_pool/conv2d_pool.h"
#include "kernels/conv2d_pool/winograd.h"
#include "kernels/matmul/tile.h"

namespace ranvier {
namespace {

// The most bytes of the filters of a group of output channels, so that all pixels of a band read them from a
// cache. Lists read whole filters, from L2; patches read a few rows of taps of each filter, from L1.
constexpr int64_t kSumListedBytes = 128 << 10, kSumPatchBytes = 20 << 10;
constexpr int64_t kBandPixels = 64;  // the pooled pixels of a band, roughly

// How many rows of taps are summed together, if `left` rows are left: four are two and two.
int64_t patch_rows(int64_t left) { return left == 4 ? 2 : std::min<int64_t>(left, 3); }

// True if patches are used: there is compiled code for all rows of taps (patches.h), and a pixel of dx fills
// more than half of a vector.
bool patches_fit(const Conv2dPoolBackwardInput& call) {
  const Conv2dGeometry& g = call.geometry;
  if (g.stride[0] * g.stride[1] * g.dilation[0] * g.dilation[1] != 1) return false;
  if (2 * call.dx.shape[1] <= pooled_gradient_kernels().lanes) return false;
  for (int64_t left = call.w.shape[2]; left > 0; left -= patch_rows(left))
    if (!pooled_gradient_kernels().find_patches(patch_rows(left), call.w.shape[3], call.window[0],
                                                call.window[1]))
      return false;
  return true;
}

// For each pooled pixel and each offset in its window, finds the output channels whose maximum was there, and
// adds the sum of their filters times their gradients to the patch of dx from which this element of z was
// computed. Where the patches of all offsets of a window fit into registers, they are summed together
// (`patches`, which is 1.5 to 1.7 times as fast with AVX-512); else one after another (`lists`).
//
// The loops, from the outside: images and blocks of input channels (shared by the threads), bands of rows of
// pooled pixels, groups of output channels, offsets.
class PooledInputGradient {
 public:
  PooledInputGradient(const Conv2dPoolBackwardInput& call, Carver& carver, int threads);
  void run(const Team& team) const;

 private:
  struct Scratch {  // what each thread has
    float* dx;      // [block][row][column][width], with the padding
    PixelLists pixels;
    PooledLists lists;
    int64_t* end_of_group;  // the number of lists up to the end of each group of channels
    uint32_t* masks;        // [mask of channels][pixel][offset]
  };
  Scratch take_scratch(Carver& carver) const;
  void order_weights(const OpenTeam& team) const;
  void image(int64_t n, Range blocks, const Scratch& s) const;
  void band(int64_t n, Range rows, Range blocks, const Scratch& s) const;
  void add_lists(PooledPixels in, Range blocks, const Scratch& s) const;
  void add_patches(const PooledPixels& in, Range rows, Range blocks, const Scratch& s) const;
  PooledPixels band_pixels(int64_t n, Range rows, const Scratch& s) const;
  void finish(int64_t n, int64_t block, const float* sums) const;

  Conv2dPoolBackwardInput c_;
  int64_t out_, taps_[2];
  PixelRows<float> dy_;
  PixelRows<uint8_t> where_;
  bool patches_;  // see patches_fit(); else lists
  PooledBlocks blocks_;
  int64_t height_, width_;           // the size of dx with its padding, in pixels
  int64_t group_;                    // output channels of a group
  int64_t groups_;                   // the number of groups
  int64_t masked_;                   // output channels of a mask
  int64_t band_rows_;                // rows of pooled pixels in a band
  int64_t entries_, lists_, masks_;  // how many entries, lists and masks a band has at most
  float* filters_;                   // [block][k][filter]
  TeamScratch scratch_;
};

PooledInputGradient::PooledInputGradient(const Conv2dPoolBackwardInput& call, Carver& carver, int threads)
    : c_(call),
      out_(call.dy.shape[1]),
      taps_{call.w.shape[2], call.w.shape[3]},
      dy_(call.dy, 0, carver, /*spread=*/false),
      where_(call.where, 0, carver, /*spread=*/false),
      patches_(patches_fit(call)),
      blocks_(call.dx.shape[1], taps_, call.geometry, patches_ ? pooled_gradient_kernels().lanes : 0) {
  const Conv2dGeometry& g = call.geometry;
  const int64_t lanes = pooled_gradient_kernels().lanes;
  const int64_t pooled_rows = call.dy.shape[2];
  const int64_t pooled_columns = call.dy.shape[3];
  // The pixels that windows read, with the padding; or all of dx if that is more.
  const auto padded_size = [&](int d) {
    const int64_t pooled = pooled_reach(g, call.window, taps_, d, call.dy.shape[2 + d]);
    return std::max(pooled, g.pad[d] + call.dx.shape[2 + d]);
  };
  height_ = padded_size(0);
  width_ = padded_size(1);
  const int64_t group_bytes = patches_ ? kSumPatchBytes / patch_rows(taps_[0]) * taps_[0] : kSumListedBytes;
  const int64_t filter_bytes = blocks_[0].filter * static_cast<int64_t>(sizeof(float));
  group_ = std::max<int64_t>(group_bytes / filter_bytes / lanes, 1) * lanes;
  // Patches go through one mask for each group; lists are made from whole masks.
  const int64_t whole_masks = ceil_div(group_, kPooledBits) * kPooledBits;
  group_ = patches_ ? std::min<int64_t>(group_, kPooledBits) : whole_masks;
  masked_ = std::min<int64_t>(group_, kPooledBits);
  groups_ = ceil_div(out_, group_);
  band_rows_ = std::clamp<int64_t>(kBandPixels / std::max<int64_t>(pooled_columns, 1), 1,
                                   std::max<int64_t>(pooled_rows, 1));
  const int64_t pixels = band_rows_ * pooled_columns;
  entries_ = patches_ ? 0 : pixels * out_ + lanes;  // a vector more: compress_store() writes whole ones
  lists_ = patches_ ? 0 : groups_ * pixels * std::min(group_, call.window[0] * call.window[1]);
  masks_ = ceil_div(out_, masked_) * pixels * call.window[0] * call.window[1];
  filters_ = carver.take<float>(out_ * blocks_.filter());
  scratch_ = TeamScratch([&](Carver& c) { take_scratch(c); }, carver, threads);
}

PooledInputGradient::Scratch PooledInputGradient::take_scratch(Carver& carver) const {
  const int64_t pixels = band_rows_ * c_.dy.shape[3];
  Scratch s;
  s.dx = carver.take<float>(height_ * width_ * blocks_.pixel() +
                            kPooledVectors * pooled_gradient_kernels().lanes);
  s.pixels = PixelLists(pixels, carver);
  s.lists = {carver.take<float>(entries_), carver.take<int32_t>(entries_), carver.take<int32_t>(lists_),
             carver.take<int32_t>(lists_), carver.take<int32_t>(lists_)};
  s.end_of_group = carver.take<int64_t>(groups_);
  s.masks = carver.take<uint32_t>(masks_);
  return s;
}

// Each thread computes whole images, and some blocks of channels of an image that it shares with other
// threads.
void PooledInputGradient::run(const Team& team) const {
  const double products = static_cast<double>(numel(c_.dy)) * c_.dx.shape[1] * taps_[0] * taps_[1];
  team.region(kConvNsPerProduct * products, [&](const OpenTeam& team) {
    dy_.copy_share(team);
    where_.copy_share(team);
    order_weights(team);
    team.barrier();
    Carver own = scratch_.of(team.index());
    const Scratch s = take_scratch(own);
    const Range mine = even_share(team, c_.dx.shape[0] * blocks_.count());
    for (int64_t i = mine.begin; i < mine.end;) {
      const int64_t n = i / blocks_.count();
      const int64_t first = i % blocks_.count();
      const int64_t last = std::min(blocks_.count(), first + mine.end - i);
      image(n, {first, last}, s);
      i += last - first;
    }
    team.barrier();
  });
}

// Copies this thread's share of the filters to filters_. If there is one image, these are the filters that
// the thread will use.
void PooledInputGradient::order_weights(const OpenTeam& team) const {
  const TensorView<const float>& w = c_.w;
  const Range mine = even_share(team, blocks_.count() * out_);
  for (int64_t i = mine.begin; i < mine.end; ++i) {
    const int64_t index = i / out_;
    const int64_t k = i % out_;
    const PooledBlock block = blocks_[index];
    float* filter = filters_ + blocks_.before_filter(index) * out_ + k * block.filter;
    std::fill_n(filter, block.filter, 0.0f);
    const float* from = w.data + k * w.strides[0] + block.first * w.strides[1];
    for (int64_t r = 0; r < taps_[0]; ++r)
      for (int64_t s = 0; s < taps_[1]; ++s) {
        float* to = filter + blocks_.tap(block, r, s);
        const float* tap = from + r * w.strides[2] + s * w.strides[3];
        for (int64_t c = 0; c < block.channels; ++c) to[c] = tap[c * w.strides[1]];
      }
  }
}

// Computes dx of image n for some blocks of channels.
void PooledInputGradient::image(int64_t n, Range blocks, const Scratch& s) const {
  const int64_t positions = height_ * width_;
  const int64_t rows = c_.dy.shape[2];
  const int64_t last = blocks.end - 1;
  const int64_t size = blocks_.before(last) + blocks_[last].width;
  std::fill(s.dx + blocks_.before(blocks.begin) * positions, s.dx + size * positions, 0.0f);
  for (int64_t row = 0; row < rows; row += band_rows_)
    band(n, {row, std::min(row + band_rows_, rows)}, blocks, s);
  for (int64_t i = blocks.begin; i < blocks.end; ++i) finish(n, i, s.dx + blocks_.before(i) * positions);
}

// Adds the products of a band of rows of pooled pixels to the sums of some blocks.
void PooledInputGradient::band(int64_t n, Range rows, Range blocks, const Scratch& s) const {
  PooledPixels in = band_pixels(n, rows, s);
  uint32_t* masks = s.masks;
  for (int64_t k = 0; k < out_; k += masked_, masks += in.pixels * in.window_elements) {
    in.channels = static_cast<int>(std::min(k + masked_, out_));
    pooled_gradient_kernels().mask_offsets(in, static_cast<int>(k), masks);
  }
  if (patches_) {
    add_patches(in, rows, blocks, s);
  } else {
    add_lists(in, blocks, s);
  }
}

// The same by lists: makes the lists of all groups of output channels, then sums over them, block by block.
void PooledInputGradient::add_lists(PooledPixels in, Range blocks, const Scratch& s) const {
  PooledLists lists = s.lists;
  int64_t entries = 0;
  int64_t count = 0;  // entries and number of the lists of all groups so far
  for (int64_t group = 0; group < groups_; ++group) {
    const int first = static_cast<int>(group * group_);
    in.channels = static_cast<int>(std::min((group + 1) * group_, out_));
    lists.begin = s.lists.begin + count;
    lists.end = s.lists.end + count;
    lists.place = s.lists.place + count;
    const uint32_t* masks = s.masks + first / masked_ * in.pixels * in.window_elements;
    count += pooled_gradient_kernels().list_by_offset(in, first, masks, lists, &entries);
    s.end_of_group[group] = count;
  }
  for (int64_t i = blocks.begin; i < blocks.end; ++i) {
    const PooledBlock block = blocks_[i];
    float* dx = s.dx + blocks_.before(i) * height_ * width_;
    const float* filters = filters_ + blocks_.before_filter(i) * out_;
    const int64_t image_row = width_ * block.width;
    int64_t first = 0;  // the first list of a group
    for (int64_t group = 0; group < groups_; ++group) {
      const int64_t count_of_group = s.end_of_group[group] - first;
      lists.begin = s.lists.begin + first;
      lists.end = s.lists.end + first;
      lists.place = s.lists.place + first;
      blocks_.for_each_part(block, image_row, [&](const PooledPart& t) {
        PooledSums sums{};
        sums.lists = lists;
        sums.count = count_of_group;
        sums.c = dx + t.in_image;
        sums.c_step = block.width;
        sums.c_row = c_.geometry.dilation[0] * image_row;
        sums.b = filters + t.in_filter;
        sums.b_step = block.filter;
        sums.b_row = block.filter / taps_[0];
        sums.rows = t.rows;
        sums.vectors = t.vectors;
        sums.last = t.last;
        pooled_gradient_kernels().sum(sums);
      });
      first = s.end_of_group[group];
    }
  }
}

// The same by patches: see PooledPatches.
void PooledInputGradient::add_patches(const PooledPixels& in, Range rows, Range blocks,
                                      const Scratch& s) const {
  const int64_t masks = in.pixels * in.window_elements;
  PooledPatches p{};
  p.rows = rows.end - rows.begin;
  p.columns = c_.dy.shape[3];
  p.dy_row = dy_.stride_h;
  p.dy_column = dy_.stride_w;
  for (int64_t i = blocks.begin; i < blocks.end; ++i) {
    const PooledBlock block = blocks_[i];
    float* dx = s.dx + (blocks_.before(i) * height_ + rows.begin * c_.window[0] * block.width) * width_;
    p.filter = block.filter;
    p.dx_row = width_ * block.width;
    for (int64_t group = 0; group < groups_; ++group)
      for (int64_t r = 0, step; r < taps_[0]; r += step) {
        step = patch_rows(taps_[0] - r);
        p.masks = s.masks + group * masks;
        p.dy = in.dy + in.dy_at[0] + group * group_;
        p.filters = filters_ + blocks_.before_filter(i) * out_ + group * group_ * block.filter +
                    r * (block.filter / taps_[0]);
        p.dx = dx + r * p.dx_row;
        pooled_gradient_kernels().find_patches(step, taps_[1], c_.window[0], c_.window[1])(p);
      }
  }
}

// Lists the pooled pixels of a band.
PooledPixels PooledInputGradient::band_pixels(int64_t n, Range rows, const Scratch& s) const {
  const int64_t columns = c_.dy.shape[3];
  const int64_t corner = rows.begin * c_.window[0] * c_.geometry.stride[0] * width_;
  const TensorView<const float> dy{dy_.data, 4, {}, {dy_.stride_n, 1, dy_.stride_h, dy_.stride_w}};
  return list_pixels(dy, where_, c_.geometry, c_.window,
                     {n, 1, rows.begin, rows.end - rows.begin, 0, columns}, corner, 0, width_, s.pixels);
}

// Copies the sums of block i, without the padding, to dx, 0 where saved <= 0.
void PooledInputGradient::finish(int64_t n, int64_t i, const float* sums) const {
  const TensorView<float>& dx = c_.dx;
  const TensorView<const float>& saved = c_.saved;
  const PooledBlock block = blocks_[i];
  PooledGradientRow row{};
  row.sum_w = block.width;
  row.dx_w = dx.strides[3];
  row.saved_w = saved.strides[3];
  row.saved_c = saved.strides[1];
  row.pixels = dx.shape[3];
  row.channels = block.channels;
  if (block.channels == 1) row.saved_c = 1;  // the stride of one channel is not used; 1 may make it dense
  const bool dense = row.sum_w == block.channels && row.dx_w == block.channels &&
                     (!saved.data || (row.saved_w == block.channels && row.saved_c == 1));
  if (dense) {
    row.channels *= row.pixels;
    row.pixels = 1;
  }
  for (int64_t y = 0; y < dx.shape[2]; ++y) {
    row.sum = sums + ((y + c_.geometry.pad[0]) * width_ + c_.geometry.pad[1]) * block.width;
    row.dx = dx.data + n * dx.strides[0] + block.first * dx.strides[1] + y * dx.strides[2];
    const int64_t first_saved = n * saved.strides[0] + block.first * saved.strides[1] + y * saved.strides[2];
    row.saved = saved.data ? saved.data + first_saved : nullptr;
    pooled_gradient_kernels().finish(row);
  }
}

template <class F>
void with_algorithm(const Conv2dPoolBackwardInput& c, Carver& carver, int threads, const F& f) {
  if (numel(c.dx) == 0) return;
  if (PooledWinogradInput::pays(c)) return f(PooledWinogradInput(c, carver, threads));
  f(PooledInputGradient(c, carver, threads));
}

}  // namespace

RANVIER_BY_ALGORITHM(Conv2dPoolBackwardInput)

}  // namespace ranvier
