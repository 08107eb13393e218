// The gradients of depthwise convolutions to weight and bias.
#include <algorithm>

#include "kernels/conv2d/depthwise.h"

namespace ranvier {
namespace {

constexpr int64_t kPixelsPerPart = 768;

}  // namespace

template <class T>
DepthwiseWeight<T>::DepthwiseWeight(const Conv2dBackwardWeight<T>& call, void* workspace, int team)
    : c_(call),
      taps_(call.taps[0] * call.taps[1]),
      carver_(workspace),
      blocks_(call.dy.shape[1]),
      x_(call.x, whole_vectors<T>(blocks_.channels), carver_, false),
      dy_(call.dy, whole_vectors<T>(blocks_.channels), carver_, false),
      rows_{call.dy.shape[2],          call.x.shape[2],      call.taps[0], call.geometry.stride[0],
            call.geometry.dilation[0], call.geometry.pad[0], false},
      columns_({call.dy.shape[3], call.x.shape[3], call.taps[1], call.geometry.stride[1],
                call.geometry.dilation[1], call.geometry.pad[1], false},
               carver_) {
  const int64_t rows = call.dy.shape[0] * call.dy.shape[2], lanes = conv_kernels<T>().lanes;
  parts_ =
      std::clamp<int64_t>(rows * call.dy.shape[3] / kPixelsPerPart, 1, Conv2dBackwardWeight<T>::kMaxPartials);
  while (parts_ & (parts_ - 1)) parts_ &= parts_ - 1;  // a power of two: even shares for even teams
  parts_ = std::clamp<int64_t>(parts_, 1, std::max<int64_t>(rows, 1));
  sums_ = carver_.take<T>(parts_ * blocks_.count * taps_ * lanes + lanes);
  bias_sums_ = carver_.take<T>(parts_ * blocks_.count * lanes);
  row_taps_ = carver_.take<DepthwiseRowTap>(team * rows_.taps);
}

template <class T>
void DepthwiseWeight<T>::run(const Team& team) const {
  const double products = static_cast<double>(numel(c_.dy)) * (c_.dw.data ? taps_ : 1);
  team.region(2 * kConvNsPerProduct * products * (sizeof(T) / 4), [&](const OpenTeam& team) {
    if (team.index() == 0) columns_.build();
    x_.copy_share(team);
    dy_.copy_share(team);
    team.barrier();
    accumulate(team);
    team.barrier();
    combine(team);
    team.barrier();
  });
}

// A thread takes parts of its own, and of the part on the border some of its channels.
template <class T>
void DepthwiseWeight<T>::accumulate(const OpenTeam& team) const {
  Share share(team, parts_ * blocks_.count);
  for (int64_t part = 0; part < parts_; ++part) {
    const Range mine = share.take(blocks_.count, 1);
    if (!mine.empty()) accumulate_part(team, part, mine);
  }
}

template <class T>
void DepthwiseWeight<T>::accumulate_part(const OpenTeam& team, int64_t part, Range blocks) const {
  const int64_t lanes = conv_kernels<T>().lanes, height = c_.dy.shape[2], rows = c_.dy.shape[0] * height;
  const int64_t count = blocks.end - blocks.begin, at = part * blocks_.count;
  DepthwiseRowTap* row_taps = row_taps_ + team.index() * rows_.taps;
  DepthwiseWeightRow<T> d;
  d.pass = &columns_[0], d.rows = row_taps;
  d.width = c_.x.shape[3], d.x_stride = x_.stride_w, d.y_stride = dy_.stride_w;
  d.in_step = columns_.in_step(), d.out_step = 1;
  d.channels = blocks_.channels, d.panel = taps_ * lanes;
  d.first_block = blocks.begin, d.last_block = blocks.end;
  d.dw = sums_ + at * d.panel, d.db = c_.db.data ? bias_sums_ + at * lanes : nullptr;
  std::fill_n(d.dw + blocks.begin * d.panel, count * d.panel, T(0));
  std::fill_n(bias_sums_ + (at + blocks.begin) * lanes, count * lanes, T(0));
  const bool far = is_far(c_.x, c_.dy);
  for (int64_t row = rows * part / parts_; row < rows * (part + 1) / parts_ && !interrupted(team); ++row) {
    const int64_t n = row / height, p = row % height;
    d.row_count = c_.dw.data ? list_row_taps(rows_, p, x_.stride_h, c_.taps[1] * lanes, row_taps) : 0;
    d.x = x_.data + n * x_.stride_n;
    d.dy = dy_.data + n * dy_.stride_n + p * dy_.stride_h;
    set_next_row(d, rows_, row_taps, x_.stride_h, far ? d.dy + dy_.stride_h : nullptr);
    depthwise_kernels<T>().weight(d);
  }
}

// The last block's channels that the one before holds too are left to that.
template <class T>
void DepthwiseWeight<T>::combine(const OpenTeam& team) const {
  const int64_t lanes = conv_kernels<T>().lanes, panel = taps_ * lanes;
  const Range share = even_share(team, blocks_.count);
  for (int64_t block = share.begin; block < share.end; ++block) {
    const int64_t first = block * lanes, skip = first - blocks_.first_channel(block);
    const int columns = static_cast<int>(std::min(lanes, blocks_.channels - first));
    if (c_.dw.data)
      conv_kernels<T>().combine({sums_ + block * panel + skip, parts_, blocks_.count * panel, 1, taps_, 0,
                                 taps_, columns, static_cast<int>(lanes),
                                 c_.dw.data + first * c_.dw.strides[0], c_.dw.strides[0]});
    if (!c_.db.data) continue;
    for (int j = 0; j < columns; ++j) {
      T total = 0;
      for (int64_t part = 0; part < parts_; ++part)
        total += bias_sums_[(part * blocks_.count + block) * lanes + skip + j];
      c_.db.data[(first + j) * c_.db.strides[0]] = total;
    }
  }
}

template class DepthwiseWeight<float>;
template class DepthwiseWeight<double>;

}  // namespace ranvier
