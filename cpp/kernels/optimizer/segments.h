// What the optimizer's calls share (optimizer.cpp, clip.cpp, penalty.cpp, lbfgs.cpp, move.cpp), which work on
// lists of arrays: the division of a list among threads, sums whose order does not depend on the threads, and
// loops over arrays with any strides.
#pragma once
#include <algorithm>
#include <type_traits>

#include "base/integers.h"
#include "base/logical_walk.h"
#include "base/parallel.h"
#include "kernels/optimizer/optimizer.h"

namespace ranvier {

// Elements of a chunk. A strided array is copied chunk by chunk, and shares of threads begin at chunks.
constexpr int64_t kChunk = 256;

// An array with at least this many chunks for each thread is divided among all threads. The smaller arrays of
// a list are divided together, as one long array.
constexpr int64_t kLargeChunks = 16;

// Calls f(i, begin, end) for elements [begin, end) of array i, in all threads, so that all elements of
// `count` arrays, of size(i) elements each, are covered. Then one thread calls finish(), if it is given. Each
// thread has a part of each large array, as in the matrix products before and after, so that its part may
// still be in its caches.
template <class Size, class F, class... Finish>
void for_each_share(const Team& team, int count, double ns_per_element, const Size& size, const F& f,
                    const Finish&... finish) {
  const auto chunks = [&](int i) { return ceil_div(size(i), kChunk); };
  int64_t elements = 0;
  for (int i = 0; i < count; ++i) elements += size(i);
  team.region(ns_per_element * elements, [&](const OpenTeam& team) {
    const auto is_large = [&](int i) { return chunks(i) >= kLargeChunks * team.size(); };
    int64_t small = 0;  // chunks of all smaller arrays
    for (int i = 0; i < count; ++i)
      if (!is_large(i)) small += chunks(i);
    int64_t begin = team.share_begin(small);
    int64_t end = team.share_end(small);
    F own = f;  // a copy, since f may have members that it changes
    for (int i = 0; i < count; ++i) {
      const int64_t here = chunks(i);
      const bool large = is_large(i);
      const int64_t first = large ? team.share_begin(here) : std::max<int64_t>(begin, 0);
      const int64_t last = large ? team.share_end(here) : std::min(end, here);
      if (first < last) own(i, first * kChunk, std::min(last * kChunk, size(i)));
      if (!large) {
        begin -= here;
        end -= here;
      }
    }
    team.barrier();
    if (sizeof...(finish) == 0) return;
    if (team.index() == 0) (finish(), ...);
    team.barrier();
  });
}

// A sum over all arrays has a partial sum for each block of an array. So its order does not depend on the
// team.
constexpr int64_t kBlock = 16 * kChunk;  // elements of a block

inline int64_t blocks_of(int64_t n) { return ceil_div(n, kBlock); }

// The workspace for the partial sums of all blocks.
template <class T>
size_t partials_bytes(const TensorView<T>* arrays, int count) {
  int64_t blocks = 0;
  for (int i = 0; i < count; ++i) blocks += blocks_of(numel(arrays[i]));
  return sizeof(double) * blocks;
}

// partial[b] = f(i, begin, end) for each block b, which is elements [begin, end) of array i; threads divide
// the blocks. Then one thread calls finish(number of blocks).
template <class T, class F, class Finish>
void reduce_blocks(const Team& team, const TensorView<T>* arrays, int count, double ns_per_element,
                   double* partial, const F& f, const Finish& finish) {
  int64_t starts[kMaxSegments + 1] = {}, elements = 0;  // first block of each array
  for (int i = 0; i < count; ++i) {
    elements += numel(arrays[i]);
    starts[i + 1] = starts[i] + blocks_of(numel(arrays[i]));
  }
  const int64_t blocks = starts[count];
  team.region(ns_per_element * elements, [&](const OpenTeam& team) {
    team.parallel_for(blocks, 0, [&](int64_t begin, int64_t end) {
      int i = 0;
      for (int64_t block = begin; block < end; ++block) {
        while (block >= starts[i + 1]) ++i;
        const int64_t first = (block - starts[i]) * kBlock;
        partial[block] = f(i, first, std::min(first + kBlock, numel(arrays[i])));
      }
    });
    if (team.index() == 0) finish(blocks);
    team.barrier();
  });
}

// Calls f(offset) for elements [begin, end) of a view, in logical order.
template <class T, class F>
void for_each_offset(const TensorView<T>& v, int64_t begin, int64_t end, const F& f) {
  LogicalWalk<T> walk(v, begin);
  for (int64_t i = begin; i < end; ++i, walk.next()) f(walk.offset);
}

// Copies elements [begin, end) of a view to contiguous memory.
template <class T, class U>
void gather(const TensorView<T>& v, int64_t begin, int64_t end, U* dense) {
  for_each_offset(v, begin, end, [&](int64_t offset) {
    *dense = v.data[offset];
    ++dense;
  });
}

// Calls f(pointer, first, n) for elements [begin, end) of v, in pieces of at most `piece` elements: `pointer`
// has elements [first, first + n). A view that is not contiguous is copied; then `piece` is at most kChunk.
template <class T, class F>
void for_each_piece(const TensorView<T>& v, int64_t begin, int64_t end, int64_t piece, const F& f) {
  const bool dense = is_contiguous(v);
  std::remove_const_t<T> copy[kChunk];
  for (int64_t i = begin; i < end; i += piece) {
    const int64_t n = std::min(piece, end - i);
    if (!dense) gather(v, i, i + n, copy);
    T* elements = dense ? v.data + i : copy;
    f(elements, i, n);
  }
}

// Copies contiguous memory to elements [begin, end) of a view.
template <class T>
void scatter(const T* dense, const TensorView<T>& v, int64_t begin, int64_t end) {
  for_each_offset(v, begin, end, [&](int64_t offset) {
    v.data[offset] = *dense;
    ++dense;
  });
}

// Calls f(pointer, n), which changes n elements, for elements [begin, end) of v: in place if v is contiguous,
// else chunk by chunk in a copy, which is then copied back.
template <class T, class F>
void update_elements(const TensorView<T>& v, int64_t begin, int64_t end, const F& f) {
  if (is_contiguous(v)) return f(v.data + begin, end - begin);
  T dense[kChunk];
  for (int64_t i = begin; i < end; i += kChunk) {
    const int64_t stop = std::min(i + kChunk, end);
    gather(v, i, stop, dense);
    f(dense, stop - i);
    scatter(dense, v, i, stop);
  }
}

}  // namespace ranvier
