// attention: y = softmax(scale q k^T + masks) v. Each query gets the mean of the values, weighted by how well
// their keys match the query.
//
//   query q (..., l, e), key k (..., s, e), value v (..., s, d), y (..., l, d), masks (..., l, s), weights
//   (..., s, l): all have the same leading dimensions and any strides; arrays that are read may have stride
//   0. query, key, value and y may be stored as bfloat16 if bfloat16() (base/precision.h) is `pairs`, there
//   are more than kFewQueries queries, value has data, and weights and added have none.
//
// A thread computes a block of queries, one block of keys after another. For each block of keys it computes
// the scores in a buffer, exp(score - top), where top is the largest score of the query so far, and the
// product with the values. If a block has a larger score, the sums and y so far are multiplied by exp(old top
// - new top) (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018; Dao and others,
// "FlashAttention", 2022). At the end y is divided by the sums. The bits depend on shapes and memory orders,
// not on threads or on whether weights are kept.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

constexpr int kAttentionMasks = 2;  // masks of each kind, at most

struct AttentionSettings {
  double scale, of_nothing;  // of_nothing: the weights of a query that sees no key, 0 or NaN
  bool is_causal;            // query i sees the keys 0 ... first + i only
  int64_t first;
  bool hides;   // what true in `flags` means: the key is hidden, or (if not `hides`) visible
  bool medium;  // the factors of products are rounded to bfloat16, as in Matmul
  // If the inputs were float16 or bfloat16 and are computed in float, their dtype. Then exp(score - top) is
  // computed as in PyTorch's kernel, with an error of 2^-14, and is rounded to this dtype before its product
  // with the values, unless weights are kept.
  DType half = DType::float32;
};

template <class T>
struct AttentionForward {
  RANVIER_CALL("attention_forward", query, key, value, flags, added, weights, y);
  size_t workspace_bytes(int threads) const;
  AttentionSettings settings;
  TensorView<const T> query, key;
  TensorView<const T> value;                      // or data null, if only the weights are wanted
  TensorView<const bool> flags[kAttentionMasks];  // which keys are visible; each may have data null
  // Numbers that are added to the scores; each may have data null.
  TensorView<const T> added[kAttentionMasks];
  TensorView<T> weights;  // contiguous along the queries, or data null
  TensorView<T> y;        // contiguous along the last dimension; data null if value has none
};

// The gradients of query, key and value: dq (..., l, e), dk (..., s, e) and dv (..., s, d), each of which may
// have data null; dy (..., l, d). With the weights w and their gradient dw, the gradient of the scores is w
// (dw - sum of w dw over keys).
template <class T>
struct AttentionBackward {
  RANVIER_CALL("attention_backward", query, key, value, weights, dy, dq, in_place(dk), in_place(dv));
  size_t workspace_bytes(int threads) const;
  AttentionSettings settings;  // with is_causal the weights of keys after a query are not read
  bool adds;                   // results are added to dk and dv; else keys that no query sees are not written
  TensorView<const T> query, key, value, weights, dy;
  TensorView<T> dq, dk, dv;
};

// Attention with a cache: each of n sequences gets l new tokens, and the keys and values of its earlier
// tokens are kept in `keys` and `values`. Sequence i has lengths[i] tokens so far. The new keys and values
// are written behind these; new query t sees the keys 0 ... lengths[i] + t. The bits of a query do not depend
// on how many queries a call has. They are those of a causal AttentionForward of more than kFewQueries
// queries, since blocks have as many keys, and each sum is one chain from the first key on (for e up to kc of
// matmul).
//
//   query, key (n, h, l, e), value (n, h, l, d), y (n, h, l, d): any strides, y contiguous along d
//   keys (n, h, e, room) contiguous along room, values (n, h, most, d) contiguous along d, l <= most <= room
//   lengths (n): 0 <= lengths[i] <= most - l, which the caller checks by a separate call. With `advances` l
//   is added to them at the end. room is a multiple of kCacheRoom, so that whole vectors of keys are
//   readable.
constexpr int64_t kCacheRoom = 64;  // keys: a multiple of the lanes of all levels
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

// positions[i, t] = lengths[i] + t: the places of l new tokens in their sequences.
struct CachePositions {
  RANVIER_CALL("cache_positions", lengths, positions);
  TensorView<const int64_t> lengths;  // (n)
  TensorView<int64_t> positions;      // (n, l), C-contiguous
};

constexpr int64_t kAttentionKeys = 384;  // the most keys of a block; the bits depend on this number
constexpr int64_t kFewQueries = 8;       // with so few queries, vectors run along the keys

// The scores of a block of keys and `rows` queries, which AttentionKernels::update turns into exp(score -
// top). The scores of a key are contiguous (line = 1); with at most kFewQueries queries, those of a query are
// (step = 1).
template <class T>
struct AttentionBlock {
  int64_t keys, rows;
  int64_t step;  // from the score of a key to that of the next key
  int64_t line;  // from the score of a query to that of the next query
  T* scores;
  // For each query: its largest score so far, the sum of exp(score - top) so far, and exp(old top - new top),
  // by which earlier results have to be multiplied. Whole vectors are read and written.
  T *top, *sum, *factor;
  // For the first `fast` keys, a multiple of the lanes, exp is computed as in PyTorch's kernel for halves.
  int64_t fast = 0;
};

// scale_rows: y[i, j] = x[i, j] factor[i]; scale_columns: y[i, j] = x[i, j] factor[j], where whole vectors of
// factors are readable.
template <class T>
struct AttentionRows {
  int64_t rows, columns;
  const T* x;
  int64_t step_x;
  T* y;
  int64_t step_y;
  const T* factor;
};

// x[k, j] = (x[k, j] - sum over keys k of x[k, j] w[k, j]) w[k, j] scale, for `rows` queries j, whose numbers
// are contiguous.
template <class T>
struct AttentionGradient {
  int64_t keys, rows;
  T* x;
  int64_t step_x;
  const T* w;
  int64_t step_w;
  T scale;
};

// Queries of one head with a cache. The last query sees `keys` keys, the one before it one less, and so on.
template <class T>
struct CachedQueries {
  int64_t rows, keys, e, d;
  T scale;
  const T* q;  // element i of query r is q[r * step_q + i * lane_q]
  int64_t step_q, lane_q;
  const T* k;  // element i of key j is k[i * step_k + j]
  const T* v;  // element i of the value of key j is v[j * step_v + i]
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
