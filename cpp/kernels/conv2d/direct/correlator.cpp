// Correlator: computes all tiles of a direct sum (direct.h) in an order that keeps weights and inputs in the
// caches, and shares them among the threads. The loops, from the outside: blocks of images, groups of panels
// of weights, regions of output pixels, chunks of tiles, panels, tiles.
#include <algorithm>

#include "base/caches.h"
#include "kernels/conv2d/direct/direct.h"

namespace ranvier {
namespace {

constexpr int64_t kCacheLine = 64;
constexpr int64_t kTileOverhead = 12;  // the time of a tile's pointers and stores, in steps of products

}  // namespace

template <class T>
Correlator<T>::Correlator(const Correlation<T>& p, Carver& carver, int threads)
    : sum_(p, carver, threads, /*tiles_alone=*/true), stream_(streams()) {
  const int64_t group_columns = sum_.panels_at_once * sum_.panels.width;
  const int64_t pixel_bytes = (p.x.shape[1] + std::min(group_columns, p.y.shape[1])) * sizeof(T);
  chunk_ = std::max<int64_t>(caches.l2 / 16 / (pixel_bytes * sum_.tile_rows), 1);
}

// True if results are stored past the caches: the output is large, and the part of a pixel that a panel
// stores is whole cache lines.
template <class T>
bool Correlator<T>::streams() const {
  constexpr int64_t line = kCacheLine / sizeof(T);
  const TensorView<T>& y = sum_.problem.y;
  if (sum_.form == SumForm::dots || numel(y) * static_cast<int64_t>(sizeof(T)) < caches.l3 / 2) return false;
  // All distances at which a panel of a pixel may begin are multiples of a line if their bitwise or is, as a
  // line is a power of two.
  const int64_t panel_step = sum_.form == SumForm::spans ? sum_.panels.width : sum_.out_group;
  const int64_t steps = panel_step | y.shape[1] | y.strides[0] | y.strides[2] | y.strides[3];
  return steps % line == 0 && reinterpret_cast<uintptr_t>(y.data) % kCacheLine == 0;
}

template <class T>
void Correlator<T>::run(const Team& team) const {
  team.region(sum_.problem.ns(), [&](const OpenTeam& team) {
    sum_.prepare(team);
    team.barrier();
    compute(team);
    if (stream_) conv_kernels<T>().stream_end();
    team.barrier();
  });
}

// A weight here is the work of a tile or block, in steps of products; threads take even shares of it
// (share.h).
template <class T>
int64_t Correlator<T>::tile_weight(const Region& region) const {
  return region.rows.tap_count * region.columns.tap_count * sum_.steps + kTileOverhead;
}

template <class T>
int64_t Correlator<T>::block_weight(int64_t images) const {
  int64_t weight = 0;
  for (int64_t i = 0; i < sum_.rows.classes(); ++i)
    for (int64_t j = 0; j < sum_.columns.classes(); ++j) {
      const Region region{sum_.rows[i], sum_.columns[j], 0, images};
      weight += sum_.tiles(region) * tile_weight(region);
    }
  return weight * sum_.panels.count();
}

// Computes this thread's share. Shares are consecutive parts of the work in the order of run_share(), so a
// thread gets whole images where there are many, else panels, else tiles.
template <class T>
void Correlator<T>::compute(const OpenTeam& team) const {
  const int64_t images = sum_.problem.y.shape[0];
  const int64_t block = sum_.images_at_once;
  const int64_t weight = images / block * block_weight(block) + block_weight(images % block);
  // Where weights are packed late, chunks are whole groups of panels, so that few groups are packed twice.
  const int64_t chunk = sum_.packs_late
                            ? std::max<int64_t>(weight / sum_.panels.count() * sum_.panels_at_once, 1)
                            : Chunks::size(team, weight);
  int64_t packed = -1;
  for (Chunks c(team, weight, chunk); c.next() && !interrupted(team);)
    run_share(team, Share({c.begin, c.end}), packed);
}

// Walks through all work in order, and computes what is in `share`. packed: the first panel of the group that
// this thread has packed last, or -1.
template <class T>
void Correlator<T>::run_share(const OpenTeam& team, Share share, int64_t& packed) const {
  const int64_t images = sum_.problem.y.shape[0];
  const int64_t block = sum_.images_at_once;
  const int64_t group = sum_.panels_at_once;
  const int64_t whole = block_weight(block);
  const int64_t rest = block_weight(images % block);
  for (int64_t n = 0; n < images; n += block) {
    const int64_t count = std::min(block, images - n);
    const int64_t weight = count == block ? whole : rest;
    if (share.skip(weight)) continue;
    for (int64_t panel = 0; panel < sum_.panels.count(); panel += group) {
      const Range panels{panel, std::min(panel + group, sum_.panels.count())};
      for (int64_t i = 0; i < sum_.rows.classes(); ++i)
        for (int64_t j = 0; j < sum_.columns.classes(); ++j) {
          const Region region{sum_.rows[i], sum_.columns[j], n, count};
          const int64_t items = sum_.tiles(region) * (panels.end - panels.begin);
          const Range mine = share.take(items, tile_weight(region));
          if (mine.empty()) continue;
          if (sum_.packs_late && packed != panel) {
            sum_.pack_group(team, panels);
            packed = panel;
          }
          run_region(team, region, panels, mine);
        }
    }
  }
}

// Computes the items [items.begin, items.end) of a region and a group of panels. An item is a tile of a
// panel; they are numbered chunk by chunk, within a chunk panel by panel.
template <class T>
void Correlator<T>::run_region(const OpenTeam& team, const Region& region, Range panels, Range items) const {
  const Taps taps = sum_.taps(team, region);
  const Correlation<T>& p = sum_.problem;
  const int64_t tiles = sum_.tiles(region);
  const int64_t chunk_items = chunk_ * (panels.end - panels.begin);
  for (int64_t item = items.begin; item < items.end && !interrupted(team);) {
    const int64_t first = item / chunk_items * chunk_;
    const int64_t count = std::min(chunk_, tiles - first);
    const int64_t panel = panels.begin + item % chunk_items / count;
    const int64_t tile = item % chunk_items % count;
    const int64_t run = std::min(count - tile, items.end - item);
    typename DirectSum<T>::Sink sink;
    sink.y = p.y.data + sum_.panels.first(panel);
    sink.stride_n = p.y.strides[0];
    sink.stride_h = p.y.strides[2];
    sink.stride_w = p.y.strides[3];
    sink.columns = sum_.panels.columns(panel);
    sink.bias = sum_.bias(panel);
    sink.norm = sum_.norm(panel);
    sink.relu = p.relu;
    sink.stream = stream_;
    const typename DirectSum<T>::Fetch fetch = next_inputs(region, panels, panel, taps);
    sum_.run_tiles(region, panel, {first + tile, first + tile + run}, taps, fetch, sink);
    item += run;
  }
}

// What a tile prefetches: the input of the next chunk, while the tiles of this chunk are computed. A tile
// prefetches as much as it reads of new pixels itself, and each panel of the group a part of that. Rows of
// the input follow each other in memory, so this input is a fixed distance after the last tap of the tile.
template <class T>
typename DirectSum<T>::Fetch Correlator<T>::next_inputs(const Region& region, Range panels, int64_t panel,
                                                        const Taps& taps) const {
  int64_t steps = 0;
  for (int64_t i = 0; i < taps.count; ++i) steps += taps.segments[i].n;
  if (steps == 0 || sum_.form == SumForm::dots) return {0, 0};
  const ConvSegment& last = taps.segments[taps.count - 1];
  const int64_t pixels = ceil_div(region.pixels(), sum_.tiles(region));  // the pixels of a tile
  const int64_t new_values = pixels * region.rows.base_step * region.columns.base_step * sum_.x.stride_w;
  const int64_t part = new_values / (panels.end - panels.begin);
  const int64_t from = last.a + last.n - sum_.in_group + chunk_ * new_values;
  return {from + (panel - panels.begin) * part, part * static_cast<int64_t>(sizeof(T)) / steps};
}

template class Correlator<float>;
template class Correlator<double>;

}  // namespace ranvier
