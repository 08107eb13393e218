// quantized: matrices of 8 or 4 bits, which products and embeddings read
//
//   quantized_matmul   y[i, j] = sum over l of x[i, l] w[j, l], plus bias[j]
//   quantized_rows     y[i] = row index[i] of w, as float32; without an index row i
//
// w (n, k) consists of panels of kPanel = 16 rows; the last panel is filled with rows whose results are
// dropped. A quad is the codes of 4 neighbours along k: 64 bytes, row by row. Codes are unsigned.
//
//   kind   value                           a panel in memory
//   int8   (code - 128) scale[j]           ceil(k / 4) quads; scale (n,) is another array
//   q8_0   (code - 128) scale[j, l / 32]   for each 32 of k: 16 scales of float16, 8 quads
//   q4_0   (code - 8) scale[j, l / 32]     for each 32 of k: 16 scales of float16, 4 lines of 64 bytes:
//                                          line q has quad q in the low halves of its bytes and quad q + 4
//                                          in the high halves
//
// Codes of l >= k have value 0. What is read row by row alone (quantized_rows) may have panels of one row
// each, so that a row's codes are neighbours: those of q8_0 and q4_0 are then GGUF's blocks, with codes that
// have no sign. The values of q8_0 and q4_0 are those of GGUF's types of these names.
//
// The product is one of integers. The numbers of a row of x, or of 32 neighbours of a row for q8_0 and q4_0,
// become integers of -127 ... 127: x is q * scale_x, scale_x = max |x| / 127, q = x * (127 / max |x|) rounded
// to nearest, ties to even. The sums of integers are exact. They become float32 for each group: all of k, in
// pieces of kPiece, or 32 of k. Their scaled sum is taken in the order of k. So the bits of y[i, j] depend on
// row i of x and row j of w alone (and on whether the level has FMA).
//
// A row with a group that has an infinity or NaN, or whose greatest number is at most 2^-110 and not 0 (127 /
// max |x| would overflow soon below), is computed in float32 from the values of w: it gives what they give.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/isa.h"
#include "base/views.h"
#include "kernels/matmul/matmul.h"

namespace ranvier {

enum class QuantizedKind { int8, q8_0, q4_0 };

constexpr int64_t kPanel = 16, kQuadBytes = 4 * kPanel, kGroup = 32;
constexpr int64_t kPiece = 32768;  // products of 8 by 8 bits whose sum and correction fit into 32 bits

// A matrix w (n, k).
struct QuantizedMatrix {
  QuantizedKind kind;
  int64_t n, k;
  TensorView<const uint8_t> panels;  // contiguous, (panels, bytes of a panel)
  TensorView<const float> scale;     // (n,), of int8 alone
  int64_t panel = kPanel;            // rows of a panel: kPanel, or 1

  int64_t group() const { return kind == QuantizedKind::int8 ? kPiece : kGroup; }
  int64_t groups() const { return (k + group() - 1) / group(); }
  // k with the zeros at its end.
  int64_t padded() const { return kind == QuantizedKind::int8 ? (k + 3) / 4 * 4 : groups() * kGroup; }
  int64_t panel_bytes() const {
    switch (kind) {
      case QuantizedKind::int8:
        return padded() * panel;
      case QuantizedKind::q8_0:
        return groups() * (2 + kGroup) * panel;
      default:
        return groups() * (2 + kGroup / 2) * panel;
    }
  }
  int64_t panel_count() const { return (n + panel - 1) / panel; }
  // Row j as k floats.
  void unpack(int64_t j, float* y) const;
};

// x (.., k), y (.., n): contiguous. The activation is applied to the finished product.
struct QuantizedMatmul {
  RANVIER_CALL("quantized_matmul", x, w.panels, w.scale, bias, y);
  size_t workspace_bytes(int threads) const;
  QuantizedMatrix w;
  TensorView<const float> x, bias;
  TensorView<float> y;
  MatmulActivation activation;
};

// y (.., k) contiguous, as many rows as the index has elements, or n.
struct QuantizedRows {
  RANVIER_CALL("quantized_rows", w.panels, w.scale, index, y);
  QuantizedMatrix w;
  TensorView<const int64_t> index;  // contiguous, values in [0, n); or data null
  TensorView<float> y;
};

// --- what the levels' kernels get

// Rows of x as integers: those of a level are bytes, or words of 16 bits.
struct QuantizedLine {
  int64_t k, padded, group;
  const float* x;
  void* q;            // padded integers
  float* scale;       // for each group
  int32_t* zero_sum;  // for each group: the sum of its integers, times -code of zero
  int32_t zero;       // the code whose value is 0
};

// Up to max_rows rows of x by up to max_panels panels.
struct QuantizedTile {
  int rows, panels;
  int64_t columns;  // of y that remain, from the first panel on
  int64_t quads, groups;
  const char* q;  // integers of the first row
  int64_t row_bytes;
  const float* scale;  // of the first row, (rows, groups)
  const int32_t* zero_sum;
  const uint8_t* w;
  int64_t panel_bytes;
  const float* w_scale;  // of the first panel; int8 alone
  const float* bias;     // of the first panel, or null
  float* y;              // of the first row and panel
  int64_t n;             // from one row of y to the next
};

struct QuantizedKernel {
  int max_rows, max_panels;
  bool (*quantize)(const QuantizedLine&);  // false if the row is to be computed in float32
  void (*tile)(const QuantizedTile&);
};
struct QuantizedKernels {
  QuantizedKernel of[3];  // by kind
};
RANVIER_TABLE(QuantizedKernels, quantized_kernels)

// A row as floats, from the bytes that it has in a panel of one row. codes: those of k numbers, then the rest
// of a quad or group; factor: the scale of int8.
struct QuantizedRow {
  int64_t k;
  const uint8_t* codes;
  float factor;
  float* y;
};
struct QuantizedRowKernels {
  void (*of[3])(const QuantizedRow&);  // by kind
};
RANVIER_TABLE(QuantizedRowKernels, quantized_row_kernels)

#if RANVIER_HAS_v4
namespace v4 {
extern const QuantizedKernels quantized_vnni;
extern const QuantizedKernel quantized_amx[2];  // of int8; [emulated]
}  // namespace v4
#endif

}  // namespace ranvier
