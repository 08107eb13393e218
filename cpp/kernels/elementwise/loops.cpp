// run_loops() (loops.h): arrays in C order are one long row; other arrays go to run_strided() (strided.cpp).
// If an array has 16-bit floats, each row is computed in blocks of float (run_halves).
#include "kernels/elementwise/loops.h"

#include <algorithm>

#include "kernels/copy/copy.h"

namespace ranvier::elementwise {
namespace {

// Nanoseconds on one thread: to read or write a byte, and to convert a 16-bit float.
constexpr double kNsPerByte = 0.03;
constexpr double kNsPerHalf = 0.1;

// Runs f if each array is in C order or repeats one element, else returns false. This short way matters for
// small calls, in which a loop nest would take as long as the rest.
bool run_row(const Team& team, int operands, const Array* x, const Array& y, int ndim, const int64_t* shape,
             ElementwiseFunction f, double ns, const void* attributes) {
  int64_t size = 1;  // of the dimensions so far, and so the stride of the next one in C order
  for (int d = ndim - 1; d >= 0; --d) {
    if (shape[d] != 1 && y.strides[d] != size) return false;
    size *= shape[d];
  }
  ElementRow row{};
  row.attributes = attributes;
  for (int k = 0; k < operands; ++k) {
    bool same = true;      // the strides of y
    bool repeated = true;  // one element
    for (int d = 0; d < ndim; ++d) {
      if (shape[d] == 1) continue;
      same = same && x[k].strides[d] == y.strides[d];
      repeated = repeated && x[k].strides[d] == 0;
    }
    if (!same && !repeated) return false;
    row.step[k] = !repeated;
  }
  team.parallel_for(size, ns, [&](int64_t begin, int64_t end) {
    ElementRow part = row;
    for (int k = 0; k < operands; ++k) part.x[k] = x[k].data + row.step[k] * begin * x[k].item;
    part.n = end - begin;
    part.y = const_cast<char*>(y.data) + begin * y.item;
    f(part);
  });
  return true;
}

// Runs f in one of the two ways. ns: of all elements.
void run_arrays(const Team& team, int operands, const Array* x, const Array& y, int ndim,
                const int64_t* shape, ElementwiseFunction f, double ns, const void* attributes) {
  if (!run_row(team, operands, x, y, ndim, shape, f, ns, attributes))
    run_strided(team, operands, x, y, ndim, shape, f, ns, attributes);
}

// The attributes of run_halves(): the inner loop, which takes floats, its own attributes, and how arrays are
// stored.
struct OfHalves {
  ElementwiseFunction function;
  const void* attributes;
  int operands;
  Stored x[kElementOperands], y;
  int item[kElementOperands], y_item;
};

// An inner loop for rows with 16-bit floats. Block by block, operands of 16 bits are widened to floats,
// own.function computes, and a result of 16 bits is rounded.
void run_halves(const ElementRow& r) {
  constexpr int64_t kBlock = 1024;  // the blocks of all operands stay in L1
  const auto& own = *static_cast<const OfHalves*>(r.attributes);
  alignas(64) float blocks[kElementOperands + 1][kBlock];
  ElementRow part = r;
  part.attributes = own.attributes;
  const auto is_half = [&](int k) { return own.x[k] != Stored::whole; };
  for (int k = 0; k < own.operands; ++k)
    if (is_half(k) && !r.step[k]) {
      widen(own.x[k], r.x[k], 1, blocks[k]);
      part.x[k] = blocks[k];
    }
  const bool rounds = own.y != Stored::whole;
  if (rounds) part.y = blocks[kElementOperands];
  for (int64_t i = 0; i < r.n; i += kBlock) {
    part.n = std::min(kBlock, r.n - i);
    for (int k = 0; k < own.operands; ++k) {
      if (!r.step[k]) continue;
      const char* x = static_cast<const char*>(r.x[k]) + i * own.item[k];
      if (is_half(k)) widen(own.x[k], x, part.n, blocks[k]);
      part.x[k] = is_half(k) ? reinterpret_cast<const char*>(blocks[k]) : x;
    }
    if (!rounds) part.y = static_cast<char*>(r.y) + i * own.y_item;
    own.function(part);
    if (rounds) round(blocks[kElementOperands], part.n, own.y, static_cast<char*>(r.y) + 2 * i);
  }
}

}  // namespace

void run_loops(const Team& team, int operands, const Array* x, const Array& y, int ndim, const int64_t* shape,
               ElementwiseFunction f, double ns, const void* attributes) {
  OfHalves own{f, attributes, operands, {}, y.stored, {}, y.item};
  bool halves = y.stored != Stored::whole;
  ns += kNsPerByte * y.item + kNsPerHalf * halves;
  for (int k = 0; k < operands; ++k) {
    const bool half = x[k].stored != Stored::whole;
    ns += kNsPerByte * x[k].item + kNsPerHalf * half;
    own.x[k] = x[k].stored;
    own.item[k] = x[k].item;
    halves = halves || half;
  }
  for (int d = 0; d < ndim; ++d) ns *= static_cast<double>(shape[d]);
  if (halves)
    run_arrays(team, operands, x, y, ndim, shape, run_halves, ns, &own);
  else
    run_arrays(team, operands, x, y, ndim, shape, f, ns, attributes);
}

}  // namespace ranvier::elementwise
