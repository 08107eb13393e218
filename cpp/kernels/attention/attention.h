// attention: y = softmax(scale q k^T + masks) v, for each query the mean of the values by how well their keys
// match it.
//
//   query q (..., l, e), key k (..., s, e), value v (..., s, d), y (..., l, d), masks (..., l, s), weights
//   (..., s, l): all with the same leading dimensions, any strides, also 0 in what is read. query, key, value
//   and y may be stored as bfloat16 where bfloat16() is pairs, with more than kFewQueries queries, values, no
//   weights, and nothing that is added to the scores.
//
// A thread computes a block of queries, one block of keys after another: their scores in a buffer, the
// softmax by the largest score so far, and its product with the values. Where a larger score
// comes, sums and y so far are multiplied by exp(old - new) (Milakov and Gimelshein, "Online normalizer
// calculation for softmax", 2018; Dao and others, "FlashAttention", 2022). All are divided by the sums at the
// end. The bits depend on the shapes and memory orders, not on threads or on whether weights are kept.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

constexpr int kAttentionMasks = 2;

struct AttentionSettings {
  double scale, of_nothing;  // of_nothing: the weights of a query without a visible key, 0 or NaN
  bool is_causal;            // query i, which is the (first + i)th of all, sees the keys 0 ... first + i
  int64_t first;
  bool hides;   // true in `flags` hides a key, else it shows it
  bool medium;  // the factors of products are rounded to bfloat16, as in Matmul
  // The dtype of half inputs, computed in float: exp(score - top) is that of PyTorch's kernel, whose error is
  // 2^-14, and is rounded to halves before its product with the values, unless weights are kept.
  DType half = DType::float32;
};

template <class T>
struct AttentionForward {
  RANVIER_CALL("attention_forward", query, key, value, flags, added, weights, y);
  size_t workspace_bytes(int threads) const;
  AttentionSettings settings;
  TensorView<const T> query, key;
  TensorView<const T> value;                      // or data null: the weights only
  TensorView<const bool> flags[kAttentionMasks];  // each may have data null
  TensorView<const T> added[kAttentionMasks];     // to the scores, likewise
  TensorView<T> weights;                          // dense along the queries, or data null
  TensorView<T> y;  // dense along its last dimension, or data null without values
};

// The gradients of query, key and value, dq (..., l, e), dk (..., s, e) and dv (..., s, d), each of which may
// have data null; dy (..., l, d). With the gradient dw of the weights, that of the scores is
// w (dw - sum of w dw over keys).
template <class T>
struct AttentionBackward {
  RANVIER_CALL("attention_backward", query, key, value, weights, dy, dq, in_place(dk), in_place(dv));
  size_t workspace_bytes(int threads) const;
  AttentionSettings settings;  // is_causal: the weights of keys after a query are not read
  bool adds;                   // to dk and dv, or the keys that no query sees are left as they are
  TensorView<const T> query, key, value, weights, dy;
  TensorView<T> dq, dk, dv;
};

// Some new tokens of sequences whose keys and values are kept: sequence i has lengths[i] tokens so far. The
// new keys and values are written after these; query t sees the keys 0 ... lengths[i] + t. Every query has
// the bits that it has alone, and those that AttentionForward gives it in a causal call of more than
// kFewQueries queries: blocks of as many keys, and each sum one chain from the first key on (of e up to
// matmul's kc).
//
//   query, key (n, h, l, e), value (n, h, l, d), y (n, h, l, d): any strides, y dense along d
//   keys (n, h, e, room) dense along room, values (n, h, most, d) dense along d, l <= most <= room
//   lengths (n): 0 <= lengths[i] <= most - l, which the caller checks by a separate call; with `advances`
//   they grow by l, at the end. room is a multiple of kCacheRoom: whole vectors of keys are readable.
constexpr int64_t kCacheRoom = 64;
template <class T>
struct AttentionCached {
  RANVIER_CALL("attention_cached", query, key, value, in_place(keys), in_place(values),
               in_place(lengths, true, advances), y);
  double scale;
  bool advances;
  TensorView<const T> query, key, value;
  TensorView<T> keys, values;
  TensorView<int64_t> lengths;
  TensorView<T> y;
};

// positions[i][t] = lengths[i] + t: the places of l new tokens in their sequences.
struct CachePositions {
  RANVIER_CALL("cache_positions", lengths, positions);
  TensorView<const int64_t> lengths;  // (n)
  TensorView<int64_t> positions;      // (n, l), C-contiguous
};

constexpr int64_t kAttentionKeys = 384;  // the most keys of a block; they decide the bits

// Scores of some keys and `rows` queries become exp(score - top). The queries are side by side; or the keys,
// where there are at most kFewQueries of them.
constexpr int64_t kFewQueries = 8;

template <class T>
struct AttentionBlock {
  int64_t keys, rows, step, line;  // step: from key to key; line: from query to query
  T* scores;
  // Whole vectors of what each query has so far: its largest score, the sum of exp(score - top), and what
  // that was multiplied by for this block.
  T *top, *sum, *factor;
  // For this many keys, a multiple of the lanes, exp is computed as in PyTorch's kernel for halves.
  int64_t fast = 0;
};

// y[i][j] = x[i][j] factor[i], or factor[j], of which whole vectors are readable.
template <class T>
struct AttentionRows {
  int64_t rows, columns;
  const T* x;
  int64_t step_x;
  T* y;
  int64_t step_y;
  const T* factor;
};

// x[k][j] = (x[k][j] - sum over keys of x w) w[k][j] scale for `rows` queries j that are side by side.
template <class T>
struct AttentionGradient {
  int64_t keys, rows;
  T* x;
  int64_t step_x;
  const T* w;
  int64_t step_w;
  T scale;
};

// Queries of one head, of which the last sees `keys` keys, the one before one less, and so on.
template <class T>
struct CachedQueries {
  int64_t rows, keys, e, d;
  T scale;
  const T* q;  // q[r * step_q + i * lane_q]
  int64_t step_q, lane_q;
  const T *k, *v;  // element i of key j at k[i * step_k + j], that of its value at v[j * step_v + i]
  int64_t step_k, step_v;
  T* y;
  int64_t step_y;
};

template <class T>
struct AttentionKernels {
  void (*update)(const AttentionBlock<T>&);
  void (*scale_rows)(const AttentionRows<T>&);
  void (*scale_columns)(const AttentionRows<T>&);
  void (*gradient)(const AttentionGradient<T>&);
  void (*cached)(const CachedQueries<T>&);
};

RANVIER_TABLES(AttentionKernels, attention_kernels)

}  // namespace ranvier
