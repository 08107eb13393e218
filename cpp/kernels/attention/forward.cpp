// AttentionForward (attention.h describes the algorithm). A part is a block of queries of a group of heads
// (heads.h); each part is computed by one thread, one block of keys after another.
#include <algorithm>
#include <limits>

#include "base/carve.h"
#include "base/integers.h"
#include "base/parallel.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/heads.h"
#include "kernels/attention/stored_products.h"
#include "kernels/copy/copy.h"
#include "kernels/matmul/halves.h"

namespace ranvier {
namespace {

// The bits of results depend on these numbers, so they do not follow the caches of the machine.
// Keys of a block if there are few queries: many, since matmul cannot add to a c of so few rows.
constexpr int64_t kManyKeys = 4096;
// Queries of a block: kQueries, or with more than kAttentionKeys keys kManyQueries.
constexpr int64_t kQueries = 64, kManyQueries = 128;
constexpr int64_t kVector = 16;      // elements of the widest vector
constexpr double kNsPerScore = 0.4;  // the softmax of a score in float on one thread, roughly
constexpr double kNsPerRead = 0.1;   // reading an element of keys and values, for few queries

// The division of a call.
template <class T>
struct ForwardParts : AttentionParts {
  explicit ForwardParts(const AttentionForward<T>& c)
      : AttentionParts(AttentionHeads(c.query, c.key, c.value, c.flags[0], c.flags[1], c.added[0], c.added[1],
                                      c.weights, c.y),
                       c.query, c.key, value_size(c), {kQueries, kManyQueries, kAttentionKeys, kManyQueries},
                       c.settings),
        stored(c.query.stored != Stored::whole) {
    const int64_t most_keys = l <= kFewQueries ? kManyKeys : kAttentionKeys;
    keys = std::min(s, most_keys);
    if (s > keys) set_group(1);  // several blocks of keys: matmul adds to a single matrix only
  }
  int64_t count() const { return lead.outer * groups * blocks; }
  // The elements of a value; 0 for a call that computes the weights alone.
  static int64_t value_size(const AttentionForward<T>& c) {
    return c.value.data ? c.value.shape[c.value.ndim - 1] : 0;
  }

  int64_t keys;  // keys of a block
  bool stored;   // arrays are stored as bfloat16
};

// The workspace of one thread, for the largest part.
template <class T>
struct PartMemory {
  PartMemory(const ForwardParts<T>& parts, size_t scratch_bytes, Carver& carver)
      : stored(take_stored(parts, carver)) {
    rows = parts.most_rows();
    lines = round_up(rows, kVector);
    const int64_t blocks_of_keys = ceil_div(parts.s, std::max<int64_t>(parts.keys, 1));
    const int64_t scaled_size = parts.stored ? 0 : parts.group * rows * parts.e;
    const int64_t room_size = parts.stored ? 0 : rows * parts.d;
    scaled = carver.take<T>(scaled_size);
    scores = carver.take<T>(parts.group * rows * parts.keys);
    room = carver.take<T>(room_size);
    top = carver.take<T>(parts.group * lines);
    sum = carver.take<T>(parts.group * lines);
    factors = carver.take<T>(parts.group * lines * std::max<int64_t>(blocks_of_keys, 1));
    scratch = carver.take<char>(static_cast<int64_t>(scratch_bytes));
  }
  static StoredAttention take_stored(const ForwardParts<T>& parts, Carver& carver) {
    const int64_t rows = parts.stored ? parts.most_rows() : 0;
    const int64_t keys = parts.stored ? parts.keys : 0;
    return {parts.group, rows, keys, parts.e, parts.d, carver};
  }
  int64_t rows;   // queries of the largest part, which is the distance of rows in `scaled` and `scores`
  int64_t lines;  // elements of a head in top, sum and factors: `rows` rounded up to whole vectors
  StoredAttention stored;
  // scale q^T; the scores of a block of keys; for AttentionProduct; as in AttentionBlock; the factors of each
  // block of keys.
  T *scaled, *scores, *room, *top, *sum, *factors;
  char* scratch;  // for the matrix products
};

// A part: a block of queries of a group of heads, computed by calls of other kernels on one thread. The last
// block of queries, which sees the most keys, comes first.
template <class T>
struct Part : AttentionPart {
  Part(const AttentionForward<T>& call, const ForwardParts<T>& parts, const PartMemory<T>& buffers,
       int64_t index)
      : AttentionPart(parts, call.settings, index / parts.blocks, parts.blocks - 1 - index % parts.blocks),
        call(call),
        parts(parts),
        buffers(buffers) {}
  const AttentionForward<T>& call;
  const ForwardParts<T>& parts;
  const PartMemory<T>& buffers;

  // Rows of a buffer have the same distance in all parts, since the bits of a product depend on whether its
  // columns are contiguous.
  TensorView<T> scaled() const {  // (heads, e, rows)
    return {buffers.scaled, 3, {heads, parts.e, rows}, {parts.e * buffers.rows, buffers.rows, 1}};
  }
  TensorView<T> scores(int64_t n) const {  // (heads, n, rows)
    if (parts.l <= kFewQueries)
      return {buffers.scores, 3, {heads, n, rows}, {parts.keys * buffers.rows, 1, parts.keys}};
    return {buffers.scores, 3, {heads, n, rows}, {parts.keys * buffers.rows, buffers.rows, 1}};
  }
  // The factors of a block of keys (AttentionBlock).
  T* factor(int64_t block) const { return buffers.factors + block * parts.group * buffers.lines; }

  // The two products for keys [begin, begin + n): the scores, and the product of exp(score - top) and the
  // values, which is added to the results of earlier blocks.
  AttentionProduct<T> scores_product(int64_t begin, int64_t n) const {
    return {of(call.key, begin, n), as_const(scaled()), scores(n), parts.medium};
  }
  AttentionProduct<T> result_product(int64_t begin, int64_t n) const {
    return {transposed(as_const(scores(n))),
            of(call.value, begin, n),
            result(),
            parts.medium,
            begin > 0,
            buffers.room};
  }
  // The workspace of the matrix products for keys [begin, begin + n): of the first and the last block of
  // keys.
  size_t scratch_bytes() const {
    if (parts.stored) return 0;
    const int64_t begin = keys / std::max<int64_t>(parts.keys, 1) * parts.keys;
    size_t most = 0;
    for (const auto& [first, n] :
         {std::pair{int64_t{0}, std::min(keys, parts.keys)}, std::pair{begin, keys - begin}}) {
      most = std::max(most, scores_product(first, n).workspace_bytes(1));
      if (call.value.data) most = std::max(most, result_product(first, n).workspace_bytes(1));
    }
    return most;
  }

  // A mask as (heads, n, rows), for keys [begin, begin + n).
  template <class U>
  TensorView<const U> mask(const TensorView<const U>& x, int64_t begin, int64_t n) const {
    TensorView<const U> m = transposed(of_queries(x));
    m.data += begin * m.strides[1];
    m.shape[1] = n;
    return m;
  }

  // Applies the masks to w, the scores of keys [begin, begin + n): adds `added`, then sets scores of hidden
  // keys to -inf.
  void apply_masks(const OpenTeam& team, int64_t begin, int64_t n, const TensorView<T>& w) const {
    constexpr T hidden = -std::numeric_limits<T>::infinity();
    for (const TensorView<const T>& added : call.added)
      if (added.data)
        Elementwise<T>{ElementwiseOp::add, 2, {as_const(w), mask(added, begin, n)}, {}, w}.run(team, nullptr);
    for (const TensorView<const bool>& flags : call.flags)
      if (flags.data) {
        Where<T> where{mask(flags, begin, n), {}, {hidden, hidden}, w};
        const int kept = call.settings.hides ? 1 : 0;  // true flags hide a key, or show it
        where.x[kept] = as_const(w);
        where.run(team, nullptr);
      }
    if (!call.settings.is_causal) return;
    const int64_t first = call.settings.first + row;  // the last key that query 0 of the block sees
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t p = std::max(begin, first + 1); p < begin + n; ++p)
        for (int64_t i = 0; i < std::min(p - first, rows); ++i)
          w.data[h * w.strides[0] + (p - begin) * w.strides[1] + i * w.strides[2]] = hidden;
  }

  // Adds one block of keys to the results.
  void run_block(const OpenTeam& team, int64_t block) const {
    const int64_t begin = block * parts.keys;
    const int64_t n = std::min(parts.keys, keys - begin);
    const TensorView<T> w = scores(n);
    multiply_keys(team, begin, n);
    apply_masks(team, begin, n, w);
    const auto update = attention_kernels<T>().update;
    const bool fast = call.settings.half != DType::float32 && !call.weights.data;
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t line = h * buffers.lines;
      const int64_t fast_keys = fast ? n / kVector * kVector : 0;
      update({n, rows, w.strides[1], w.strides[2], w.data + h * w.strides[0], buffers.top + line,
              buffers.sum + line, factor(block) + line, fast_keys});
    }
    if (call.weights.data && begin + n < keys)
      Copy<T>{as_const(w), weights(call.weights, begin, n)}.run(team, nullptr);
    if (!call.value.data) return;
    if (block > 0) scale_result(factor(block));
    multiply_values(team, begin, n);
  }

  // The scores of keys [begin, begin + n).
  void multiply_keys(const OpenTeam& team, int64_t begin, int64_t n) const {
    if (!parts.stored) return scores_product(begin, n).run(team, buffers.scratch);
    if constexpr (sizeof(T) == sizeof(float)) {
      const TensorView<T> w = scores(n);
      const auto k = of(StoredAttention::halves(call.key), begin, n);
      for (int64_t h = 0; h < heads; ++h)
        buffers.stored.multiply_keys(k, h, rows, static_cast<float>(call.settings.scale),
                                     w.data + h * w.strides[0], w.strides[1]);
    }
  }

  // Adds the product of exp(score - top) and the values to the results. If factors are pairs of bfloat16,
  // packing rounds the former; otherwise round_scores() does so for halves.
  void multiply_values(const OpenTeam& team, int64_t begin, int64_t n) const {
    if (!parts.stored) {
      const AttentionProduct<T> product = result_product(begin, n);
      if (!call.weights.data && product.product.kernels().factors == 1) round_scores(n);
      return product.run(team, buffers.scratch);
    }
    if constexpr (sizeof(T) == sizeof(float)) {
      const TensorView<T> w = scores(n);
      const auto v = of(StoredAttention::halves(call.value), begin, n);
      for (int64_t h = 0; h < heads; ++h)
        buffers.stored.multiply_values(v, h, rows, w.data + h * w.strides[0], w.strides[1], begin > 0);
    }
  }

  // Rounds exp(score - top) of n keys to settings.half.
  void round_scores(int64_t n) const {
    if constexpr (sizeof(T) == sizeof(float)) {
      if (call.settings.half == DType::float32) return;
      const HalfKernels& of = half_matmul_kernels().of[call.settings.half == DType::bfloat16];
      const TensorView<T> w = scores(n);
      const bool few = parts.l <= kFewQueries;
      const int64_t lines = few ? rows : n;
      const int64_t length = few ? n : rows;
      const int64_t step = few ? w.strides[2] : w.strides[1];
      uint16_t halves[kManyKeys];
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t j = 0; j < lines; ++j) {
          T* const line = w.data + h * w.strides[0] + j * step;
          of.round(length, line, halves);
          of.widen(length, halves, line);
        }
    }
  }

  // Where results are summed: y, or for arrays of 16 bits a buffer, from which round_result() stores them.
  TensorView<T> result() const {
    if constexpr (sizeof(T) == sizeof(float)) {
      const StoredAttention& own = buffers.stored;
      if (parts.stored) return {own.results, 3, {heads, rows, parts.d}, {own.rows * own.line, own.line, 1}};
    }
    return of_queries(call.y);
  }
  void round_result() const {
    if constexpr (sizeof(T) == sizeof(float)) {
      const auto round = half_matmul_kernels().of[1].round;  // to bfloat16, the only type of stored arrays
      const TensorView<T> x = result();
      const TensorView<BFloat16> y = of_queries(StoredAttention::halves(call.y));
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t i = 0; i < rows; ++i)
          round(parts.d, x.data + h * x.strides[0] + i * x.strides[1],
                y.data + h * y.strides[0] + i * y.strides[1]);
    }
  }

  // Multiplies the results of each query by its factor.
  void scale_result(const T* factors) const {
    const TensorView<T> y = result();
    for (int64_t h = 0; h < heads; ++h) {
      T* const at = y.data + h * y.strides[0];
      attention_kernels<T>().scale_rows(
          {rows, y.shape[2], at, y.strides[1], at, y.strides[1], factors + h * buffers.lines});
    }
  }

  // Computes scale q^T in the buffer `scaled`; for arrays of 16 bits, packs q.
  void scale_queries(const OpenTeam& team) const {
    if (parts.stored) return buffers.stored.pack_queries(of_queries(StoredAttention::halves(call.query)));
    pack_transposed(of_queries(call.query), buffers.rows, buffers.scaled);
    const TensorView<T> all{buffers.scaled, 1, {heads * parts.e * buffers.rows}, {1}};
    const T scale = static_cast<T>(call.settings.scale);
    Elementwise<T>{ElementwiseOp::mul, 2, {as_const(all), {}}, {0, scale}, all}.run(team, nullptr);
  }

  // Computes the part.
  void run(const OpenTeam& team) const {
    scale_queries(team);
    const int64_t lines = heads * buffers.lines;
    const int64_t blocks = std::max<int64_t>(ceil_div(keys, std::max<int64_t>(parts.keys, 1)), 1);
    std::fill_n(buffers.top, lines, -std::numeric_limits<T>::infinity());
    std::fill_n(buffers.sum, lines, T(0));
    for (int64_t block = 0; block < blocks; ++block) run_block(team, block);
    T* const last = buffers.sum;  // becomes the factors by which results and weights are multiplied
    for (int64_t i = 0; i < lines; ++i) last[i] = last[i] == 0 ? T(call.settings.of_nothing) : 1 / last[i];
    if (call.value.data) scale_result(last);
    if (parts.stored) round_result();
    if (call.weights.data) finish_weights(team, blocks, last);
  }

  // Stores the final weights: first those of the last block of keys, which is still in the buffer, then those
  // of earlier blocks, whose factors include the later changes of `top`. Keys that no query sees get 0.
  void finish_weights(const OpenTeam& team, int64_t blocks, T* factors) const {
    for (int64_t block = blocks - 1; block >= 0; --block) {
      const int64_t begin = block * parts.keys;
      const int64_t n = std::min(parts.keys, keys - begin);
      const TensorView<T> w = weights(call.weights, begin, n);
      const bool copies = parts.l <= kFewQueries && block == blocks - 1;
      if (copies) Copy<T>{as_const(scores(n)), w}.run(team, nullptr);
      const TensorView<T> from = block == blocks - 1 && !copies ? scores(n) : w;
      for (int64_t h = 0; h < heads; ++h)
        attention_kernels<T>().scale_columns({n, rows, from.data + h * from.strides[0], from.strides[1],
                                              w.data + h * w.strides[0], w.strides[1],
                                              factors + h * buffers.lines});
      for (int64_t i = 0; i < heads * buffers.lines; ++i) factors[i] *= factor(block)[i];
    }
    const TensorView<T> w = weights(call.weights, 0, parts.s);
    for (int64_t h = 0; h < heads; ++h)
      for (int64_t p = keys; p < parts.s; ++p)
        std::fill_n(w.data + h * w.strides[0] + p * w.strides[1], rows, T(0));
  }
};

// The largest workspace that the products of a part need. All groups and blocks except the last ones have the
// same shapes, except for the number of keys that blocks of a causal call see. Block 0 is the last block of
// queries (see Part).
template <class T>
size_t scratch_bytes(const AttentionForward<T>& call, const ForwardParts<T>& parts) {
  Carver carver(nullptr);
  const PartMemory<T> none(parts, 0, carver);
  size_t most = 0;
  for (int64_t group = 0; group < parts.groups; group += std::max<int64_t>(parts.groups - 1, 1))
    for (int64_t block = 0; block < parts.blocks && (call.settings.is_causal || block < 2); ++block)
      most = std::max(most, Part<T>(call, parts, none, group * parts.blocks + block).scratch_bytes());
  return most;
}

}  // namespace

template <class T>
size_t AttentionForward<T>::workspace_bytes(int threads) const {
  const ForwardParts<T> parts(*this);
  if (parts.count() == 0) return 0;
  Carver carver(nullptr);
  const size_t scratch = scratch_bytes(*this, parts);
  for (int i = 0; i < threads; ++i) PartMemory<T>(parts, scratch, carver);
  return carver.used();
}

template <class T>
void AttentionForward<T>::run(const Team& team, void* workspace) const {
  const ForwardParts<T> parts(*this);
  if (parts.count() == 0) return;
  const size_t scratch = scratch_bytes(*this, parts);
  const double heads = static_cast<double>(parts.lead.outer * parts.lead.heads);
  const double scores = static_cast<double>(parts.l) * (kMatmulNsPerProduct * 2 * parts.e + kNsPerScore);
  const double cost = heads * parts.s * (scores + kNsPerRead * (parts.e + parts.d)) * (sizeof(T) / 4);
  const double cost_to_share = parts.count() > 1 ? cost : 0;  // one part is computed by one thread
  team.region(cost_to_share, [&](const OpenTeam& team) {
    Carver carver(workspace);
    for (int i = 0; i < team.index(); ++i) PartMemory<T>(parts, scratch, carver);
    const PartMemory<T> own(parts, scratch, carver);
    const OpenTeam alone = team.alone();
    for (Chunks c(team, parts.count(), Chunks::size(team, parts.count())); c.next();)
      for (int64_t i = c.begin; i < c.end && !interrupted(team); ++i)
        Part<T>(*this, parts, own, i).run(alone);
  });
}

RANVIER_INSTANTIATE(AttentionForward);

}  // namespace ranvier
