// Fourier (fourier.h): computes the roots of unity, divides the rows among the threads, and transforms as
// many rows at a time as a vector has lanes.
#include "kernels/fourier/fourier.h"

#include <algorithm>
#include <cmath>

#include "base/carve.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

constexpr int64_t kMostBytes = 64;  // the bytes of the longest vector
constexpr int64_t kBlock = 64;      // roots of a block: see fill_roots()

// roots: n complex numbers. rows: two buffers for each thread (a and b of FourierRows).
template <class T>
struct FourierWorkspace {
  T *roots, *rows;
  int64_t each;  // elements of a thread's rows
};

// The workspace of transforms of n points. Each of a thread's two buffers has n + 1 pairs of vectors, and for
// transposes as many vectors more as a vector has lanes (fourier.h). This is counted for the longest vectors.
template <class T>
FourierWorkspace<T> carve(Carver& carver, int64_t n, int threads) {
  const int64_t vectors = 2 * n + 2 + kMostBytes / int64_t(sizeof(T));  // of one buffer
  const int64_t each = 2 * vectors * kMostBytes / int64_t(sizeof(T));
  T* roots = carver.take<T>(2 * n);
  return {roots, carver.take<T>(threads * each), each};
}

struct Root {
  double re, im;
};
// exp(-2 pi i t / n)
Root root(int64_t t, int64_t n) {
  const double angle = -6.28318530717958647693 * double(t) / double(n);
  return {std::cos(angle), std::sin(angle)};
}

// roots[t] = exp(-2 pi i t / n), in blocks of kBlock: sine and cosine are computed for the first root of each
// block and for the roots of the first block; any other root is a product of two of these.
template <class T>
void fill_roots(const Team& team, int64_t n, T* roots) {
  const int64_t blocks = (n + kBlock - 1) / kBlock;
  team.parallel_for(blocks, 3.0 * double(n), [&](int64_t begin, int64_t end) {
    Root first[kBlock];
    const int64_t known = std::min(kBlock, n);
    for (int64_t s = 0; s < known; ++s) first[s] = root(s, n);
    for (int64_t q = begin; q < end; ++q) {
      const Root start = root(q * kBlock, n);
      for (int64_t s = 0; s < std::min(kBlock, n - q * kBlock); ++s) {
        T* to = roots + 2 * (q * kBlock + s);
        to[0] = T(start.re * first[s].re - start.im * first[s].im);
        to[1] = T(start.re * first[s].im + start.im * first[s].re);
      }
    }
  });
}

}  // namespace

template <class T>
size_t Fourier<T>::workspace_bytes(int threads) const {
  Carver counts(nullptr);  // only counts bytes
  carve<T>(counts, n, threads);
  return counts.used();
}

template <class T>
void Fourier<T>::run(const Team& team, void* workspace) const {
  const auto& kernels = fourier_kernels<T>();
  Carver carver(workspace);
  const FourierWorkspace<T> memory = carve<T>(carver, n, team.threads());
  const bool real = kind == FourierKind::rfft;
  const int of_row = real ? 1 : 2;  // dimensions of x: its points, and re and im if they are complex
  const int outer = x.ndim - of_row;
  int64_t count = 1;
  for (int d = 0; d < outer; ++d) count *= x.shape[d];
  if (count == 0) return;
  const int64_t size = numel(y) / count;  // elements of a row of y
  const int64_t lanes = kernels.lanes;
  const int64_t width = real ? 1 : 2;  // elements of a point of x
  const bool columns = x.strides[outer] != width && x.shape[outer] != 1;
  const double ns = double(n) * (2 + std::log2(double(n))) * 0.1;  // the time of a row, roughly
  team.region(ns * double(count), [&](const OpenTeam& team) {
    fill_roots(team, n, memory.roots);
    const int64_t groups = (count + lanes - 1) / lanes;
    team.parallel_for(groups, 0, [&](const OpenTeam& team, int64_t begin, int64_t end) {
      FourierRows<T> rows{};
      rows.kind = kind;
      rows.n = n;
      rows.scale = T(scale);
      rows.edge = T(edge);
      rows.window = window.data;
      rows.columns = columns;
      rows.length = x.shape[outer];
      rows.step = x.strides[outer];
      rows.roots = memory.roots;
      rows.a = memory.rows + team.index() * memory.each;
      rows.b = rows.a + memory.each / 2;
      for (int64_t first = begin * lanes; first < std::min(count, end * lanes); first += lanes) {
        rows.count = int(std::min(lanes, count - first));
        rows.y = y.data + first * size;
        rows.adjacent = true;
        for (int i = 0; i < lanes; ++i) {
          int64_t place = i < rows.count ? first + i : first;  // lanes without a row repeat the first row
          int64_t offset = 0;
          for (int d = outer - 1; d >= 0; --d) {
            offset += place % x.shape[d] * x.strides[d];
            place /= x.shape[d];
          }
          rows.rows[i] = x.data + offset;
          rows.adjacent = rows.adjacent && rows.rows[i] - rows.rows[0] == i * width;
        }
        kernels.run(rows);
      }
    });
  });
}

RANVIER_INSTANTIATE(Fourier);

}  // namespace ranvier
