// Products of int8 matrices by AMX (QuantizedKernel in quantized.h): tiles of up to 32 rows of x by 2 panels
// of the weight, 32 columns of y. Of the processor's eight tile registers, 0 to 3 are the sums, 4 and 5 have
// 16 rows of x each, 6 and 7 a panel each:
//
//              panel 0: 6   panel 1: 7
//   rows  0 ... 15: 4   0            1
//   rows 16 ... 31: 5   2            3
//
// A panel's quads are rows of such a register as they are in memory, so nothing is packed. quantized.cpp
// calls it for many rows. Compiled for level v4 alone. Sums of integers are exact, so the bits are those of
// VNNI. Tiles: AmxTiles (simd/amx.h), or EmulatedTiles for tests.
#if __AVX512BF16__
#include "simd/amx.h"
#include "kernels/quantized/tile.h"
#if RANVIER_EMULATED_TILES
#include "simd/amx_emulated.h"
#endif

namespace ranvier::RANVIER_ISA {

constexpr int kTileRows = 16;
constexpr int kMostRows = 2 * kTileRows;
constexpr int kWide = 2 * kPanel;   // columns of the sums
constexpr int64_t kStepQuads = 16;  // a step: 64 products of each sum, by one instruction
constexpr int64_t kStepBytes = kStepQuads * kQuadBytes;
// Fewer rows take less time by VNNI: a multiplication takes 16 cycles for any number of rows.
constexpr int kLeastRows = 4;

// sums[i][j] (kMostRows, kWide): the products of rows i of x and columns j of the panels, over `quads` of
// each. kTall: there are more than 16 rows; kBoth: there are two panels.
template <class Tiles, bool kTall, bool kBoth>
static void add_up(const QuantizedTile& t, const char* q, const uint8_t* w, int64_t quads, int32_t* sums) {
  const auto floats = [](const void* p) { return static_cast<const float*>(p); };  // tiles have no type
  const auto step = [&](const char* q, const uint8_t* first, const uint8_t* second) RANVIER_INLINED {
    Tiles::template load<4>(floats(q), t.row_bytes);
    if constexpr (kTall) Tiles::template load<5>(floats(q + kTileRows * t.row_bytes), t.row_bytes);
    Tiles::template load<6>(floats(first), kQuadBytes);
    Tiles::template multiply_bytes<0, 4, 6>();
    if constexpr (kTall) Tiles::template multiply_bytes<2, 5, 6>();
    if constexpr (kBoth) {
      Tiles::template load<7>(floats(second), kQuadBytes);
      Tiles::template multiply_bytes<1, 4, 7>();
      if constexpr (kTall) Tiles::template multiply_bytes<3, 5, 7>();
    }
  };
  Tiles::template zero<0>();
  Tiles::template zero<1>();
  Tiles::template zero<2>();
  Tiles::template zero<3>();
  const uint8_t* end = w + quads / kStepQuads * kStepBytes;
  for (; w < end; w += kStepBytes, q += 4 * kStepQuads) step(q, w, w + t.panel_bytes);
  if (const int64_t rest = quads % kStepQuads; rest > 0) {  // rows have zeros beyond, panels other memory
    alignas(64) uint8_t last[2][kStepBytes] = {};
    constexpr int kPanels = kBoth ? 2 : 1;
    for (int p = 0; p < kPanels; ++p)
      __builtin_memcpy(last[p], w + p * t.panel_bytes, static_cast<size_t>(rest * kQuadBytes));
    step(q, last[0], last[1]);
  }
  float* const to = reinterpret_cast<float*>(sums);
  constexpr int64_t kLine = kWide * sizeof(int32_t);
  Tiles::template store<0>(to, kLine);
  if constexpr (kBoth) Tiles::template store<1>(to + kPanel, kLine);
  if constexpr (kTall) Tiles::template store<2>(to + kTileRows * kWide, kLine);
  if constexpr (kTall && kBoth) Tiles::template store<3>(to + kTileRows * kWide + kPanel, kLine);
}

template <class Tiles>
static void tile_by_amx(const QuantizedTile& t) {
  if (t.rows < kLeastRows) return quantized_vnni.of[static_cast<int>(QuantizedKind::int8)].tile(t);
  typedef void (*Add)(const QuantizedTile&, const char*, const uint8_t*, int64_t, int32_t*);
  // [more than 16 rows][two panels]
  static constexpr Add adds[2][2] = {{add_up<Tiles, false, false>, add_up<Tiles, false, true>},
                                     {add_up<Tiles, true, false>, add_up<Tiles, true, true>}};
  const bool tall = t.rows > kTileRows;
  const TileScope scope;
  const int upper_rows = tall ? kTileRows : t.rows;
  Tiles::configure(upper_rows, t.rows - upper_rows);
  alignas(64) int32_t sums[kMostRows * kWide];
  FloatSums<1, 2> of_row[kMostRows];
  for (int64_t group = 0, begin = 0; group < t.groups; ++group, begin += kPiece / 4) {
    const int64_t left = t.quads - begin;
    const int64_t quads = left < kPiece / 4 ? left : kPiece / 4;
    adds[tall][t.panels > 1](t, t.q + 4 * begin, t.w + begin * kQuadBytes, quads, sums);
    for (int r = 0; r < t.rows; ++r)
      for (int p = 0; p < t.panels; ++p) {
        ivec<float> sum;
        __builtin_memcpy(&sum, sums + r * kWide + p * kPanel, sizeof sum);
        of_row[r].sums[0][p][0] += to_float(sum + t.zero_sum[r * t.groups + group]);
      }
  }
  QuantizedTile row = t;
  for (int r = 0; r < t.rows; ++r, row.y += t.n, row.scale += t.groups) of_row[r].store(row);
}

template <class Tiles>
static constexpr QuantizedKernel by_amx = {kMostRows, 2, quantize<int8_t, false>, tile_by_amx<Tiles>};
extern const QuantizedKernel quantized_amx[2] = {by_amx<AmxTiles>,
#if RANVIER_EMULATED_TILES
                                                 by_amx<EmulatedTiles>
#else
                                                 by_amx<AmxTiles>
#endif
};

}  // namespace ranvier::RANVIER_ISA
#endif
