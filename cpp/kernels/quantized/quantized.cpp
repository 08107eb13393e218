// Products of quantized matrices (quantized.h has the formula and the layout of w): makes integers of the
// rows of x (IntegerRows), divides blocks of rows by panels of w among the threads, and calls the kernels of
// the level for each (Product). Rows that do not fit into integers are computed in float32 (run_in_floats()).
// Then QuantizedMatrix::unpack and QuantizedRows, which give rows of w as floats.
#include "kernels/quantized/quantized.h"

#include <algorithm>
#include <cstring>

#include "base/carve.h"
#include "base/half.h"
#include "base/integers.h"
#include "base/parallel.h"
#include "base/precision.h"
#include "base/rows.h"

namespace ranvier {
namespace {

constexpr double kNsPerCode = 0.03, kNsPerProduct = 0.006;  // reading a code; a product in a tile
constexpr double kNsPerNumber = 0.3;                        // making an integer, or a float of a code
constexpr int64_t kFewRows = 4;     // each thread makes their integers itself, and reads one panel at a time
constexpr int64_t kBlockRows = 48;  // rows of x that meet the same panels in turn
constexpr int64_t kManyBlocks = 4;  // for each thread
constexpr int64_t kTogether = 16;   // tiles of columns that are finished at once, while L2 has them
constexpr int64_t kStep = 64;       // integers of a row that a tile of AMX reads at once
constexpr int64_t kIntegerBytes = 2;  // those of any level: a replay may be at another one

const QuantizedKernel& kernel_of(const QuantizedMatrix& w) {
#if RANVIER_HAS_v4
  const ByteProducts by = byte_products();
  if (by >= ByteProducts::tiles && w.kind == QuantizedKind::int8)
    return v4::quantized_amx[by == ByteProducts::emulated];
  if (by >= ByteProducts::vnni) return v4::quantized_vnni.of[static_cast<int>(w.kind)];
#endif
  return quantized_kernels().of[static_cast<int>(w.kind)];
}

// The integers of rows of x, from row `first` on, cut from a workspace.
struct IntegerRows {
  int64_t row_bytes, groups;
  char* q;
  float* scale;
  int32_t* zero_sum;
  bool* fits;  // false: the row is computed in float32
  int64_t first = 0;

  IntegerRows(const QuantizedMatrix& w, int64_t rows, Carver& carver)
      : row_bytes(round_up(w.padded() * kIntegerBytes + kStep * kIntegerBytes, 64)),
        groups(w.groups()),
        q(carver.take<char>(rows * row_bytes)),
        scale(carver.take<float>(rows * groups)),
        zero_sum(carver.take<int32_t>(rows * groups)),
        fits(carver.take<bool>(rows)) {}

  // Makes rows [begin, end) of x.
  void make(const QuantizedMatrix& w, const float* x, int64_t begin, int64_t end) const {
    const int32_t zero = w.kind == QuantizedKind::q4_0 ? 8 : 128;
    const QuantizedKernel& kernel = kernel_of(w);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t at = i - first;
      QuantizedLine line;
      line.k = w.k;
      line.padded = round_up(w.padded(), kStep);
      line.group = w.group();
      line.x = x + i * w.k;
      line.q = q + at * row_bytes;
      line.scale = scale + at * groups;
      line.zero_sum = zero_sum + at * groups;
      line.zero = zero;
      fits[at] = kernel.quantize(line);
    }
  }
};

constexpr int64_t kGathered = 512;  // numbers of a row whose codes are gathered at a time: whole groups

// Copies the `bytes` of each of the 16 rows of a panel that belong to one row, for `count` pieces: a quad, or
// the scale of a group.
template <size_t bytes>
void gather(const uint8_t* from, int64_t from_step, uint8_t* to, int64_t to_step, int64_t count) {
  for (int64_t i = 0; i < count; ++i) std::memcpy(to + i * to_step, from + i * from_step, bytes);
}

// The bytes of `count` quads of int8, or groups, of a row of a panel of 16, as a panel of one row has them.
void gather_row(QuantizedKind kind, const uint8_t* panel, int64_t row, int64_t count, uint8_t* to) {
  if (kind == QuantizedKind::int8) return gather<4>(panel + 4 * row, kQuadBytes, to, 4, count);
  const int64_t quads = kind == QuantizedKind::q8_0 ? kGroup / 4 : kGroup / 8;
  const int64_t bytes = 2 + 4 * quads;
  gather<2>(panel + 2 * row, bytes * kPanel, to, bytes, count);
  for (int64_t group = 0; group < count; ++group) {
    const uint8_t* const codes = panel + group * bytes * kPanel + 2 * kPanel + 4 * row;
    gather<4>(codes, kQuadBytes, to + group * bytes + 2, 4, quads);
  }
}

}  // namespace

void QuantizedMatrix::unpack(int64_t j, float* y) const {
  const auto run = quantized_row_kernels().of[static_cast<int>(kind)];
  const uint8_t* codes = panels.data + j / panel * panel_bytes();
  const float factor = kind == QuantizedKind::int8 ? scale.data[j * scale.strides[0]] : 0.0f;
  if (panel == 1) return run({k, codes, factor, y});
  uint8_t gathered[kGathered / kGroup * (2 + kGroup)];
  const int64_t unit = kind == QuantizedKind::int8 ? 4 : kGroup;  // numbers of a quad or group
  for (int64_t begin = 0; begin < k; begin += kGathered) {
    const int64_t count = std::min(kGathered, k - begin);
    const int64_t units = ceil_div(count, unit);
    gather_row(kind, codes, j % kPanel, units, gathered);
    run({count, gathered, factor, y + begin});
    codes += units * (panel_bytes() / (padded() / unit));
  }
}

namespace {

// Rows of x and panels of w that one thread multiplies.
class Product {
 public:
  Product(const QuantizedMatmul& call, const IntegerRows& rows, float* unpacked)
      : call_(call), rows_(rows), unpacked_(unpacked), kernel_(kernel_of(call.w)) {}

  // Panels from `panel` on, and rows [first, last).
  void run(int64_t panel, int64_t panels, int64_t first, int64_t last) const {
    const QuantizedMatrix& w = call_.w;
    const int64_t j = panel * kPanel;
    for (int64_t i = first; i < last; i += kernel_.max_rows) {
      const int64_t at = i - rows_.first;
      QuantizedTile t;
      t.rows = int(std::min<int64_t>(kernel_.max_rows, last - i));
      t.panels = int(panels);
      t.columns = w.n - j;
      t.quads = w.padded() / 4;
      t.groups = rows_.groups;
      t.q = rows_.q + at * rows_.row_bytes;
      t.row_bytes = rows_.row_bytes;
      t.scale = rows_.scale + at * rows_.groups;
      t.zero_sum = rows_.zero_sum + at * rows_.groups;
      t.w = w.panels.data + panel * w.panel_bytes();
      t.panel_bytes = w.panel_bytes();
      t.w_scale = w.scale.data ? w.scale.data + j : nullptr;
      t.bias = call_.bias.data ? call_.bias.data + j : nullptr;
      t.y = call_.y.data + i * w.n + j;
      t.n = w.n;
      kernel_.tile(t);
    }
  }

  // Rows that are not integers, and the activation: for columns [begin, end) of rows [first, last).
  void finish(int64_t begin, int64_t end, int64_t first, int64_t last) const {
    const MatmulActivation& f = call_.activation;
    for (int64_t i = first; i < last; ++i) {
      if (!rows_.fits[i - rows_.first]) run_in_floats(i, begin, end);
      if (f.kind == Activation::none) continue;
      float* y = call_.y.data + i * call_.w.n + begin;
      activation_kernels<float>().forward[static_cast<int>(f.kind)](
          {end - begin, y, nullptr, y, 1, 0, 1, static_cast<float>(f.alpha), static_cast<float>(f.beta)});
    }
  }

 private:
  void run_in_floats(int64_t i, int64_t begin, int64_t end) const {
    const QuantizedMatrix& w = call_.w;
    const float* x = call_.x.data + i * w.k;
    for (int64_t j = begin; j < end; ++j) {
      w.unpack(j, unpacked_);
      float sum = 0;
      for (int64_t l = 0; l < w.k; ++l) sum += x[l] * unpacked_[l];
      call_.y.data[i * w.n + j] = call_.bias.data ? sum + call_.bias.data[j] : sum;
    }
  }

  const QuantizedMatmul& call_;
  const IntegerRows& rows_;
  float* const unpacked_;
  const QuantizedKernel& kernel_;
};

// The rows of x: all elements are rows of k, also where k is 0.
int64_t row_count(const QuantizedMatmul& call) {
  int64_t rows = 1;
  for (int d = 0; d + 1 < call.x.ndim; ++d) rows *= call.x.shape[d];
  return rows;
}

// Whether each thread makes the integers of the rows that it multiplies: of few, or of one block after
// another, while L2 has them. Else the threads make all integers together.
bool apart(int64_t rows, int threads) {
  return rows <= kFewRows || rows >= kManyBlocks * kBlockRows * threads;
}

// A thread's own memory: a row of w, and the integers of a block.
size_t own_bytes(const QuantizedMatmul& call, int64_t rows, int threads) {
  Carver carver(nullptr);
  carver.take<float>(call.w.k);
  if (apart(rows, threads)) IntegerRows(call.w, std::min(rows, kBlockRows), carver);
  return carver.used() + kApart;
}

}  // namespace

size_t QuantizedMatmul::workspace_bytes(int threads) const {
  const int64_t rows = row_count(*this);
  Carver carver(nullptr);
  if (!apart(rows, threads)) IntegerRows(w, rows, carver);
  return carver.used() + threads * own_bytes(*this, rows, threads);
}

void QuantizedMatmul::run(const Team& team, void* workspace) const {
  const int64_t rows = row_count(*this);
  const int64_t step = rows <= kFewRows ? 1 : kernel_of(w).max_panels;
  const int64_t units = ceil_div(w.panel_count(), step);
  const int64_t blocks = ceil_div(rows, kBlockRows);
  const double cost = double(w.n) * double(w.k) * (kNsPerCode + kNsPerProduct * double(rows));
  team.region(cost, [&](const OpenTeam& team) {
    const size_t bytes = own_bytes(*this, rows, team.threads());
    const bool is_apart = apart(rows, team.threads());
    char* const base = static_cast<char*>(workspace);
    Carver own(base + team.index() * bytes);
    Carver shared(base + team.threads() * bytes);
    float* const unpacked = own.take<float>(w.k);
    const int64_t rows_at_once = is_apart ? std::min(rows, kBlockRows) : rows;
    Carver& memory = is_apart ? own : shared;
    IntegerRows integers(w, rows_at_once, memory);
    if (!is_apart) {
      integers.make(w, x.data, team.share_begin(rows), team.share_end(rows));
      team.barrier();
    }
    int64_t made = -1;  // the block whose integers this thread has made
    const Product product(*this, integers, unpacked);
    const int64_t count = units * blocks;
    for (Chunks some(team, count, Chunks::size(team, count)); some.next() && !interrupted(team);)
      for (int64_t unit = some.begin; unit < some.end;) {
        const int64_t block = unit / units;
        const int64_t first = block * kBlockRows;
        const int64_t last = std::min(first + kBlockRows, rows);
        if (is_apart && block != made) {
          integers.first = first;
          made = block;
          integers.make(w, x.data, first, last);
        }
        const int64_t begin = unit % units * step;
        const int64_t tiles = std::min({some.end - unit, kTogether, units - unit % units});
        const int64_t end = std::min(begin + tiles * step, w.panel_count());
        for (int64_t panel = begin; panel < end; panel += step)
          product.run(panel, std::min(step, end - panel), first, last);
        product.finish(begin * kPanel, std::min(end * kPanel, w.n), first, last);
        unit += tiles;
      }
  });
}

void QuantizedRows::run(const Team& team, void*) const {
  const int64_t count = index.data ? numel(index) : w.n;
  team.parallel_for(count, kNsPerNumber * double(count) * double(w.k),
                    [&](const OpenTeam& team, int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end && !interrupted(team); ++i) {
                        const int64_t row = index.data ? inside(index.data[i], w.n) : i;
                        w.unpack(row, y.data + i * w.k);
                      }
                    });
}

}  // namespace ranvier
