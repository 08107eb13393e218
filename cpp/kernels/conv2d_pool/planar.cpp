// The forward pass of conv2d_pool with few channels: see planar.h. A thread computes bands of rows by planes,
// and pools each band while it is in L1.
#include "kernels/conv2d_pool/planar.h"

#include <algorithm>
#include <cstring>

#include "kernels/conv2d_pool/tile.h"

namespace ranvier {
namespace {

constexpr int64_t kChannelsAtOnce = 8;  // channels that are stored together
constexpr int64_t kSpace = 32;          // space after an array, as whole vectors are read and written

// The rows of a band of the convolution, two for each row of windows: so many that their sums stay in L1.
int64_t rows_at_once(const Correlation<float>& p, int threads) {
  const int64_t pitch = p.y.shape[3] + p.w.shape[3];
  return planar_rows(p, threads, /*unit=*/2, /*least=*/2,
                     p.y.shape[1] * pitch * static_cast<int64_t>(sizeof(float)));
}

}  // namespace

// True if vectors of output channels would have more unused lanes than rows of planes have unused pixels
// between them.
bool PooledPlanar::pays(const Correlation<float>& p) {
  constexpr double kGain = 1.15;
  if (!is_planar(p)) return false;
  const int64_t out = p.y.shape[1];
  const int64_t lanes = planar_kernels().lanes;
  const int64_t pitch = Planes(p.axis(0), p.axis(1), p.x.shape[1], 1).pitch;
  return out * pitch <= kGain * round_up(out, lanes) * p.y.shape[3];
}

PooledPlanar::PooledPlanar(const Conv2dPoolForward& c, const Correlation<float>& p, Carver& carver,
                           int threads)
    : call_(c),
      sum_(p, rows_at_once(p, threads), carver, threads),
      out_(c.y.shape[1]),
      groups_(ceil_div(out_, 4)),
      places_(carver.take<int64_t>(sum_.band_rows / 2 * c.y.shape[3])),
      z_(carver.take<float>(threads * (sum_.outs() * z_step() + kSpace))),
      pooled_(carver.take<float>(threads * round_up(out_, kChannelsAtOnce) * pooled_step())),
      offsets_(carver.take<uint32_t>(threads * groups_ * pooled_step())) {}

int64_t PooledPlanar::z_step() const { return round_up(sum_.flat(sum_.band_rows), sum_.tile()); }
int64_t PooledPlanar::pooled_step() const {
  return round_up(sum_.band_rows / 2 * call_.y.shape[3] + kSpace, kSpace);
}

void PooledPlanar::run(const Team& team) const {
  const Correlation<float>& p = sum_.problem;
  team.region(p.ns(), [&](const OpenTeam& team) {
    if (team.index() == 0) {
      sum_.prepare();
      list_planar_places(call_.y.strides, sum_.band_rows / 2, call_.y.shape[3], call_.y.shape[3], places_);
    }
    team.barrier();
    sum_.for_my_bands(team, [&](const PlanarSum::Band& band, int64_t, bool first_of_thread) {
      run_band(team, band, first_of_thread);
    });
    team.barrier();
  });
}

// Computes a band of rows: the sums of the convolution by planes, pooled as planes, then stored as pixels.
void PooledPlanar::run_band(const OpenTeam& team, const PlanarSum::Band& band, bool first_of_thread) const {
  const int64_t columns = call_.y.shape[3];
  const int64_t windows = band.count / 2 * columns;
  const int64_t* st = call_.y.strides;
  float* const z = z_ + team.index() * (sum_.outs() * z_step() + kSpace);
  float* const pooled = pooled_ + team.index() * round_up(out_, kChannelsAtOnce) * pooled_step();
  uint32_t* const offsets = offsets_ + team.index() * groups_ * pooled_step();
  const float* const inputs = sum_.fill(team, band, first_of_thread);
  const int64_t step = round_up(sum_.flat(band.count), sum_.tile());
  sum_.sums(inputs, 0, step, z);
  PooledPlanes t{};
  t.z = z;
  t.z_step = step;
  t.pitch = sum_.planes.pitch;
  t.rows = band.count / 2;
  t.windows = columns;
  t.channels = out_;
  t.norm = sum_.problem.norm;
  t.norm_step = out_;
  t.y = pooled;
  t.where = call_.where.data ? offsets : nullptr;
  t.step = pooled_step();
  pooled_kernels().planes(t);
  const bool dense = out_ <= kChannelsAtOnce && st[3] == out_ && st[2] == out_ * columns;
  const int64_t to = band.image * st[0] + band.first / 2 * st[2];
  sum_.kernels.store({pooled, t.step, static_cast<int>(windows), static_cast<int>(out_), places_,
                      call_.y.data + to, nullptr, 0, call_.conv.activation == Conv2dActivation::relu,
                      dense ? windows : 0});
  if (t.where) store_offsets(offsets, windows, call_.where.data + to);
}

// Stores the offsets of a band: a word has the offsets of a window for four channels, one in each byte.
void PooledPlanar::store_offsets(const uint32_t* words, int64_t windows, uint8_t* to) const {
  for (int64_t k = 0; k < out_; k += 4, words += pooled_step(), to += 4) {
    const int64_t n = std::min<int64_t>(out_ - k, 4);
    for (int64_t i = 0; i < windows; ++i) {
      uint8_t* const at = to + places_[i];
      if (n == 4) {
        std::memcpy(at, words + i, 4);
      } else {
        for (int64_t c = 0; c < n; ++c) at[c] = static_cast<uint8_t>(words[i] >> 8 * c);
      }
    }
  }
}

}  // namespace ranvier
