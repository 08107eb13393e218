// Depthwise convolutions (depthwise.h): lists the taps of each pass, packs the weights as vectors of
// channels, shares the output rows among the threads, and joins the partial sums of dw. The loops over a row
// are in rows.isa.cpp.
#include "kernels/conv2d/depthwise/depthwise.h"

#include <algorithm>
#include <type_traits>

#include "base/caches.h"

namespace ranvier {
namespace {

constexpr double kWaits = 2;  // it takes this many times as long as the products, waiting for memory

}  // namespace

// both_: one pass computes both phases of a gradient of stride 2, for the numbers of taps for which the level
// has such code (both_phases in rows.h).
DepthwiseColumns::DepthwiseColumns(const AxisGeometry& geometry, int64_t both_phases, Carver& carver)
    : g_(geometry),
      both_(g_.transposed && g_.stride == 2 && g_.dilation == 1 && g_.taps % 2 == 1 && g_.taps >= 3 &&
            g_.taps <= both_phases),
      count_(passes()),
      passes_(carver.take<DepthwisePass>(count_)),
      taps_(carver.take<DepthwiseTap>(geometry.taps)) {}

// One pass for each phase of the stride, where outputs of different phases use different taps.
int64_t DepthwiseColumns::passes() const { return g_.transposed && !both_ ? std::min(g_.stride, g_.out) : 1; }

void DepthwiseColumns::build() const {
  if (both_) {
    // Output t and tap s meet at column (t + s - before) / 2; a tile begins where that is whole for s = 1.
    const int64_t before = g_.taps - 1 - g_.pad;
    const int64_t begin = before % 2 == 0 ? -1 : 0;
    DepthwisePass pass{};
    pass.taps = taps_;
    pass.tap_count = g_.taps;
    pass.slides = true;
    pass.count = g_.out;
    pass.out_step = 1;
    pass.phases = 2;
    pass.begin = begin;
    pass.column = (begin + 1 - before) / 2;
    *passes_ = pass;
    return;
  }
  DepthwiseTap* next = taps_;
  for (int64_t first = 0; first < count_; ++first) {
    const int64_t step = in_step();
    const int64_t out_step = g_.transposed ? g_.stride : 1;
    const int64_t count = ceil_div(g_.out - first, out_step);
    DepthwisePass pass{};
    pass.taps = next;
    pass.first = first;
    pass.count = count;
    pass.out_step = out_step;
    pass.inner_end = count;
    pass.slides = true;
    pass.phases = 1;
    for (int64_t t = 0; t < g_.taps; ++t) {
      // The input that the pass's first output and this tap meet: see AxisGeometry (axis.h).
      int64_t input = t * g_.dilation - g_.pad;
      if (g_.transposed) {
        const int64_t times_stride = first + g_.pad - (g_.taps - 1 - t) * g_.dilation;
        if (times_stride % g_.stride != 0) continue;
        input = times_stride / g_.stride;
      }
      const int64_t begin = input < 0 ? ceil_div(-input, step) : 0;
      const int64_t end = input >= g_.in ? 0 : (g_.in - 1 - input) / step + 1;
      DepthwiseTap* tap = next + pass.tap_count;
      ++pass.tap_count;
      *tap = {t, input, std::min(begin, count), std::min(end, count)};
      pass.inner_begin = std::max(pass.inner_begin, tap->begin);
      pass.inner_end = std::min(pass.inner_end, tap->end);
      if (tap > next && (tap->tap != tap[-1].tap + 1 || tap->input != tap[-1].input + 1)) pass.slides = false;
    }
    if (pass.tap_count > 0) pass.column = next->input;
    next += pass.tap_count;
    passes_[first] = pass;
  }
}

template <class T>
DepthwiseBlocks<T>::DepthwiseBlocks(int64_t channels) : channels(channels) {
  const int64_t lanes = conv_kernels<T>().lanes;
  count = ceil_div(channels, lanes);
  splits = std::max<int64_t>(channels / lanes, 1);
}

template <class T>
int64_t DepthwiseBlocks<T>::first_channel(int64_t block) const {
  const int64_t lanes = conv_kernels<T>().lanes;
  return std::max<int64_t>(std::min(block * lanes, channels - lanes), 0);
}

template <class T>
Range DepthwiseBlocks<T>::chunk(int64_t i, int64_t chunks) const {
  const bool last = i + 1 == chunks;
  const int64_t end = last ? count : splits * (i + 1) / chunks;
  return {splits * i / chunks, end};
}

template <class T>
Depthwise<T>::Depthwise(const Correlation<T>& p, Carver& carver, int threads)
    : p_(p),
      taps_(p.w.shape[2] * p.w.shape[3]),
      blocks_(p.y.shape[1]),
      x_(p.x, whole_vectors<T>(blocks_.channels), carver, /*spread=*/false),
      rows_(p.axis(0)),
      columns_(p.axis(1), depthwise_kernels<T>().both_phases, carver) {
  const int64_t lanes = conv_kernels<T>().lanes;
  const int64_t items = std::max<int64_t>(p.y.shape[0] * p.y.shape[2], 1);
  const int64_t row_bytes = p.w.shape[2] * p.x.shape[3] * p.x.shape[1] * static_cast<int64_t>(sizeof(T));
  const int64_t for_threads = threads > 1 ? ceil_div(4 * threads, items) : 1;  // 4 items for each thread
  const int64_t for_l2 = ceil_div(row_bytes, caches.l2 / 2);
  chunks_ = std::max(for_l2, for_threads);
  chunks_ = std::clamp<int64_t>(chunks_, 1, blocks_.splits);
  weights_ = carver.take<T>(blocks_.count * taps_ * lanes);
  bias_ = carver.take<T>(blocks_.count * lanes);
  row_taps_ = carver.take<DepthwiseRowTap>(threads * rows_.taps);
}

template <class T>
void Depthwise<T>::run(const Team& team) const {
  team.region(kWaits * p_.ns(), [&](const OpenTeam& team) {
    prepare(team);
    team.barrier();
    compute(team);
    team.barrier();
  });
}

template <class T>
void Depthwise<T>::prepare(const OpenTeam& team) const {
  if (team.index() == 0) columns_.build();
  x_.copy_share(team);
  const Range share = even_share(team, blocks_.count);
  for (int64_t block = share.begin; block < share.end; ++block) pack_block(block);
}

// Packs the weights of a block of channels, [tap][lanes], and the bias; transposed: the taps are flipped.
template <class T>
void Depthwise<T>::pack_block(int64_t block) const {
  const int64_t lanes = conv_kernels<T>().lanes;
  const int64_t first = blocks_.first_channel(block);
  const int columns = static_cast<int>(std::min(lanes, blocks_.channels));
  T* to = weights_ + block * taps_ * lanes;
  T* bias = bias_ + block * lanes;
  for (int64_t c = 0; c < lanes; ++c) {
    const bool exists = p_.bias.data && c < columns;
    bias[c] = exists ? p_.bias.data[(first + c) * p_.bias.strides[0]] : T(0);
  }
  if (is_contiguous(p_.w)) {
    ConvPanel<T> panel;
    panel.w = p_.w.data + first * taps_;
    panel.stride_o = taps_;
    panel.stride_c = taps_;
    panel.channels = 1;
    panel.taps = taps_;
    panel.columns = columns;
    panel.width = static_cast<int>(lanes);
    panel.flipped = p_.transposed;
    panel.panel = to;
    return conv_kernels<T>().pack_panel(panel);
  }
  const int64_t* st = p_.w.strides;
  for (int64_t t = 0; t < taps_; ++t) {
    const int64_t tap = p_.transposed ? taps_ - 1 - t : t;
    const int64_t r = tap / p_.w.shape[3];
    const int64_t s = tap % p_.w.shape[3];
    for (int64_t c = 0; c < lanes; ++c) {
      *to = c < columns ? p_.w.data[(first + c) * st[0] + r * st[2] + s * st[3]] : T(0);
      ++to;
    }
  }
}

// True if y is stored past the caches: it is large (kLarge bytes where half of L3 is more), and made of whole
// cache lines.
template <class T>
bool Depthwise<T>::streams() const {
  constexpr int64_t line = 64 / sizeof(T), kLarge = 16 << 20;
  const int64_t* st = p_.y.strides;
  return depthwise_kernels<T>().streams &&
         numel(p_.y) * static_cast<int64_t>(sizeof(T)) >= std::min(caches.l3 / 2, kLarge) &&
         (p_.y.shape[1] | st[0] | st[2] | st[3]) % line == 0 &&
         reinterpret_cast<uintptr_t>(p_.y.data) % 64 == 0;
}

// Computes y. The items that the threads share are output rows of a chunk of channels, ordered by image,
// chunk and row.
template <class T>
void Depthwise<T>::compute(const OpenTeam& team) const {
  const int64_t lanes = conv_kernels<T>().lanes;
  const int64_t height = p_.y.shape[2];
  DepthwiseForwardRow<T> d;
  DepthwiseRowTap* row_taps = row_taps_ + team.index() * rows_.taps;
  d.rows = row_taps;
  d.width = p_.x.shape[3];
  d.x_stride = x_.stride_w;
  d.y_stride = p_.y.strides[3];
  d.in_step = columns_.in_step();
  d.channels = blocks_.channels;
  d.panel = taps_ * lanes;
  d.w = weights_;
  d.bias = bias_;
  d.relu = p_.relu;
  d.norm = p_.norm;
  d.norm_step = blocks_.channels;
  d.stream = streams();
  d.y_next = nullptr;
  d.new_rows = 0;
  const bool far = is_far(p_.x, p_.y);
  // Vectors of a whole line are stored without waiting for y until y is twice as large (Zen 5); vectors of
  // half a line waited for it (Zen 3: 8x96x56x56 with 3x3 taps took 1.9 ms, and 1.25 ms with the prefetch).
  const int64_t times = depthwise_kernels<T>().streams ? 2 : 1;
  const bool fetches_y = is_far(p_.x, p_.y, times) && !d.stream;
  const auto run_row = [&](int64_t item) {
    const int64_t row = item % height;
    const int64_t image = item / height / chunks_;
    const Range blocks = blocks_.chunk(item / height % chunks_, chunks_);
    d.first_block = blocks.begin;
    d.last_block = blocks.end;
    d.row_count = list_row_taps(rows_, row, x_.stride_h, p_.w.shape[3] * lanes, row_taps);
    d.x = x_.data + image * x_.stride_n;
    d.y = p_.y.data + image * p_.y.strides[0] + row * p_.y.strides[2];
    const T* next_y = fetches_y ? d.y + p_.y.strides[2] : nullptr;
    if (far) set_next_row<T>(d, rows_, row, x_.stride_h, next_y);
    for (int64_t i = 0; i < columns_.count(); ++i) {
      d.pass = &columns_[i];
      depthwise_kernels<T>().forward(d);
    }
  };
  const int64_t rows = p_.y.shape[0] * chunks_ * height;
  for (Chunks c(team, rows, Chunks::size(team, rows)); c.next();)
    for (int64_t item = c.begin; item < c.end && !interrupted(team); ++item) run_row(item);
  if (d.stream) conv_kernels<T>().stream_end();
}

template <class T>
DepthwiseWeight<T>::DepthwiseWeight(const Conv2dBackwardWeight<T>& call, Carver& carver, int threads)
    : c_(call),
      taps_(call.taps[0] * call.taps[1]),
      in_(call.x.shape[1] / call.geometry.groups),
      out_(call.dy.shape[1] / call.geometry.groups),
      blocks_(call.dy.shape[1]),
      x_(call.x, whole_vectors<T>(call.x.shape[1]), carver, /*spread=*/false),
      dy_(call.dy, whole_vectors<T>(blocks_.channels), carver, /*spread=*/false),
      rows_(axis_geometry(call.geometry, 0, call.dy.shape[2], call.x.shape[2], call.taps[0])),
      columns_(axis_geometry(call.geometry, 1, call.dy.shape[3], call.x.shape[3], call.taps[1]), 0, carver) {
  const int64_t rows = call.dy.shape[0] * call.dy.shape[2];
  const int64_t lanes = conv_kernels<T>().lanes;
  parts_ = partial_sums(rows * call.dy.shape[3], rows);
  sums_ = carver.take<T>(parts_ * blocks_.count * taps_ * in_ * lanes + lanes);
  bias_sums_ = carver.take<T>(parts_ * blocks_.count * lanes);
  row_taps_ = carver.take<DepthwiseRowTap>(threads * rows_.taps);
  const bool picks = out_ > 1;  // groups have several outputs, which share inputs
  x_first_ = carver.take<int64_t>(picks ? blocks_.count : 0);
  pick_ = picks ? carver.take<T>(blocks_.count * lanes) : nullptr;
}

template <class T>
void DepthwiseWeight<T>::run(const Team& team) const {
  team.region(kWaits * c_.ns(), [&](const OpenTeam& team) {
    if (team.index() == 0) {
      columns_.build();
      list_inputs();
    }
    x_.copy_share(team);
    dy_.copy_share(team);
    team.barrier();
    for_my_parts(team, parts_, blocks_.count,
                 [&](int64_t part, Range blocks) { accumulate_part(team, part, blocks); });
    team.barrier();
    combine(team);
    team.barrier();
  });
}

// Fills x_first_ and pick_ (see DepthwiseWeightRow in rows.h), so that no vector of x is read past the last
// channel.
template <class T>
void DepthwiseWeight<T>::list_inputs() const {
  using Integer = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  const int64_t lanes = conv_kernels<T>().lanes;
  const int64_t last = std::max<int64_t>(c_.x.shape[1] - lanes, 0);
  Integer* pick = static_cast<Integer*>(pick_);
  for (int64_t block = 0; pick && block < blocks_.count; ++block) {
    const int64_t first = blocks_.first_channel(block);
    x_first_[block] = std::min(first / out_ * in_, last);
    for (int64_t i = 0; i < lanes; ++i) {
      const int64_t output = std::min(first + i, blocks_.channels - 1);
      *pick = static_cast<Integer>(output / out_ * in_ - x_first_[block]);
      ++pick;
    }
  }
}

template <class T>
void DepthwiseWeight<T>::accumulate_part(const OpenTeam& team, int64_t part, Range blocks) const {
  const int64_t lanes = conv_kernels<T>().lanes;
  const int64_t height = c_.dy.shape[2];
  const int64_t rows = c_.dy.shape[0] * height;
  const int64_t count = blocks.end - blocks.begin;
  const int64_t at = part * blocks_.count;
  DepthwiseRowTap* row_taps = row_taps_ + team.index() * rows_.taps;
  DepthwiseWeightRow<T> d;
  d.pass = &columns_[0];
  d.rows = row_taps;
  d.width = c_.x.shape[3];
  d.x_stride = x_.stride_w;
  d.y_stride = dy_.stride_w;
  d.in_step = columns_.in_step();
  d.channels = blocks_.channels;
  d.panel = taps_ * in_ * lanes;
  d.inputs = in_;
  d.x_first = x_first_;
  d.pick = pick_;
  d.first_block = blocks.begin;
  d.last_block = blocks.end;
  d.dw = sums_ + at * d.panel;
  d.db = c_.db.data ? bias_sums_ + at * lanes : nullptr;
  std::fill_n(d.dw + blocks.begin * d.panel, count * d.panel, T(0));
  std::fill_n(bias_sums_ + (at + blocks.begin) * lanes, count * lanes, T(0));
  d.y_next = nullptr;
  d.new_rows = 0;
  const bool far = is_far(c_.x, c_.dy);
  for (int64_t row = rows * part / parts_; row < rows * (part + 1) / parts_ && !interrupted(team); ++row) {
    const int64_t n = row / height;
    const int64_t p = row % height;
    d.row_count = c_.dw.data ? list_row_taps(rows_, p, x_.stride_h, c_.taps[1] * in_ * lanes, row_taps) : 0;
    d.x = x_.data + n * x_.stride_n;
    d.dy = dy_.pixel(n, p, 0);
    if (far) set_next_row<T>(d, rows_, p, x_.stride_h, d.dy + dy_.stride_h);
    if (pick_) d.new_rows = 0;  // x_next would be prefetched for the channels of dy
    depthwise_kernels<T>().weight(d);
  }
}

// Adds the sums of the parts, and stores dw and db. Channels that the last two blocks have in common are
// stored from the first of these blocks.
template <class T>
void DepthwiseWeight<T>::combine(const OpenTeam& team) const {
  const int64_t lanes = conv_kernels<T>().lanes;
  const int64_t panel = taps_ * in_ * lanes;
  const Range share = even_share(team, blocks_.count);
  for (int64_t block = share.begin; block < share.end; ++block) {
    const int64_t first = block * lanes;
    const int64_t skip = first - blocks_.first_channel(block);
    const int columns = static_cast<int>(std::min(lanes, blocks_.channels - first));
    if (c_.dw.data) {
      ConvPartials<T> p;
      p.partial = sums_ + block * panel + skip;
      p.partials = parts_;
      p.stride_p = blocks_.count * panel;
      p.channels = in_;
      p.taps = taps_;
      p.begin = 0;
      p.end = taps_ * in_;
      p.columns = columns;
      p.width = static_cast<int>(lanes);
      p.w = c_.dw.data + first * c_.dw.strides[0];
      p.stride_o = c_.dw.strides[0];
      conv_kernels<T>().combine(p);
    }
    if (c_.db.data)
      add_partials(bias_sums_ + block * lanes + skip, parts_, blocks_.count * lanes, columns,
                   c_.db.data + first * c_.db.strides[0], c_.db.strides[0]);
  }
}

template struct DepthwiseBlocks<float>;
template struct DepthwiseBlocks<double>;
template class Depthwise<float>;
template class Depthwise<double>;
template class DepthwiseWeight<float>;
template class DepthwiseWeight<double>;

}  // namespace ranvier
