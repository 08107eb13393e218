// ConvRuns: makes the segments of a tile (ConvTile in tile.h) of runs of products. Where chains of a sum end
// depends on the runs alone, not on which of them follow each other in memory, so a sum has the same bits in
// any layout of its operands.
#pragma once
#include <algorithm>
#include <limits>

#include "base/integers.h"
#include "kernels/conv2d/direct/tile.h"

namespace ranvier {

// A longer run is cut into pieces of this length.
constexpr int64_t kConvPiece = 256;
// ConvTile::chain of a sum that is one chain.
constexpr int64_t kOneChain = std::numeric_limits<int64_t>::max();

// The most segments of a run of n products.
inline int64_t segments_of_run(int64_t n) { return std::max<int64_t>(ceil_div(n, kConvPiece), 1); }

struct ConvRuns {
  ConvSegment* segments;
  int64_t step_a, step_b;
  int64_t chain = kConvChain;  // ConvTile::chain
  int64_t count = 0;           // segments so far
  int64_t products = 0;        // products of the last chain so far

  void add(const ConvSegment& run) {
    const int64_t piece = chain == kOneChain ? run.n : kConvPiece;
    for (int64_t done = 0; done < run.n; done += piece)
      add_piece({run.a + done * step_a, run.b + done * step_b, std::min(piece, run.n - done)});
  }

 private:
  // A piece that goes on where the last segment ends becomes a part of it, unless a chain ends there.
  void add_piece(const ConvSegment& piece) {
    const bool begins_chain = products >= chain;
    products = begins_chain ? piece.n : products + piece.n;
    if (count > 0 && !begins_chain) {
      ConvSegment& last = segments[count - 1];
      if (piece.a == last.a + last.n * step_a && piece.b == last.b + last.n * step_b) {
        last.n += piece.n;
        return;
      }
    }
    segments[count++] = piece;
  }
};

}  // namespace ranvier
