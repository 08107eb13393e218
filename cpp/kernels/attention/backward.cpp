// AttentionBackward (attention.h): the gradients of attention from the weights that the forward has kept. A
// part is a group of heads (heads.h). Its blocks of queries are computed one after another by four matrix
// products each: dv, the gradients of the weights, dk and dq.
#include <algorithm>

#include "base/carve.h"
#include "base/parallel.h"
#include "kernels/attention/attention.h"
#include "kernels/attention/heads.h"

namespace ranvier {
namespace {

// The queries of a block: kGradientQueries, or kLessQueries with more than kManyGradientKeys keys. The bits
// of results depend on these numbers, so they do not follow the caches of the machine.
constexpr int64_t kGradientQueries = 128, kLessQueries = 64, kManyGradientKeys = 1024;
constexpr double kNsPerGradientScore =
    0.2;  // the softmax's gradient for a score in float on one thread, roughly

// The division of a call. One thread computes a part, or if there are fewer parts than threads, all threads
// do so together.
template <class T>
struct BackwardParts : AttentionParts {
  explicit BackwardParts(const AttentionBackward<T>& c)
      : AttentionParts(AttentionHeads(c.query, c.key, c.value, c.weights, c.dy, c.dq, c.dk, c.dv), c.query,
                       c.key, c.dy.shape[c.dy.ndim - 1],
                       {kGradientQueries, kGradientQueries, kManyGradientKeys, kLessQueries}, c.settings),
        from_outside(c.adds) {
    if (adds()) set_group(1);
  }
  int64_t count() const { return l && s ? lead.outer * groups : 0; }
  // True if products are added to dk and dv. Matmul then takes one head at a time.
  bool adds() const { return from_outside || blocks > 1; }

  bool from_outside;  // AttentionBackward::adds
};

// The workspace of one thread, for the largest block.
template <class T>
struct BlockMemory {
  BlockMemory(const BackwardParts<T>& parts, size_t scratch_bytes, Carver& carver) {
    rows = parts.most_rows();
    scores = carver.take<T>(parts.group * rows * parts.s);
    dy = carver.take<T>(parts.group * rows * parts.d);
    const int64_t elements = parts.adds() ? parts.s * std::max(parts.e, parts.d) : 0;
    room = carver.take<T>(elements);
    scratch = carver.take<char>(static_cast<int64_t>(scratch_bytes));
  }
  int64_t rows;           // the distance of rows in `scores` and `dy`
  T *scores, *dy, *room;  // gradients of weights, then of scores; dy transposed; for AttentionProduct
  char* scratch;          // for the matrix products
};

// A block of queries of a part.
template <class T>
struct Block : AttentionPart {
  Block(const AttentionBackward<T>& call, const BackwardParts<T>& parts, const BlockMemory<T>& buffers,
        int64_t part, int64_t block)
      : AttentionPart(parts, call.settings, part, block),
        call(call),
        parts(parts),
        buffers(buffers),
        added(call.adds || block < parts.blocks - 1) {}
  const AttentionBackward<T>& call;
  const BackwardParts<T>& parts;
  const BlockMemory<T>& buffers;
  bool added;  // true if results are added to dk and dv; blocks run from the last to the first

  // The matrices of a block: rows of keys, the weights (heads, keys, rows), the buffers for scores and for dy
  // transposed.
  template <class U>
  TensorView<U> of_keys(const TensorView<U>& x) const {
    return of(x, 0, keys);
  }
  TensorView<const T> weights() const { return AttentionPart::weights(call.weights, 0, keys); }
  TensorView<T> scores() const {
    return {buffers.scores, 3, {heads, keys, rows}, {parts.s * buffers.rows, buffers.rows, 1}};
  }
  TensorView<const T> dy_transposed() const {
    return {buffers.dy, 3, {heads, parts.d, rows}, {parts.d * buffers.rows, buffers.rows, 1}};
  }

  using Product = AttentionProduct<T>;
  // The four products: the gradients of the weights (value dy^T), of value (weights dy), of key and of query
  // (from those of the scores).
  Product of_weights() const { return {of_keys(call.value), dy_transposed(), scores(), parts.medium}; }
  Product of_value() const {
    return {weights(), of_queries(call.dy), of_keys(call.dv), parts.medium, added, buffers.room};
  }
  Product of_key() const {
    return {as_const(scores()), of_queries(call.query), of_keys(call.dk), parts.medium, added, buffers.room};
  }
  Product of_query() const {
    return {transposed(as_const(scores())), of_keys(call.key), of_queries(call.dq), parts.medium};
  }
  size_t scratch_bytes(int threads) const {
    size_t most = of_weights().workspace_bytes(threads);
    if (call.dv.data) most = std::max(most, of_value().workspace_bytes(threads));
    if (call.dk.data) most = std::max(most, of_key().workspace_bytes(threads));
    if (call.dq.data) most = std::max(most, of_query().workspace_bytes(threads));
    return most;
  }

  // Turns the gradients of the weights into those of the scores.
  void to_scores() const {
    const TensorView<T> x = scores();
    const TensorView<const T> w = weights();
    for (int64_t h = 0; h < heads; ++h)
      attention_kernels<T>().gradient({keys, rows, x.data + h * x.strides[0], x.strides[1],
                                       w.data + h * w.strides[0], w.strides[1],
                                       static_cast<T>(call.settings.scale)});
  }

  // team: the threads that compute the part.
  void run(const OpenTeam& team) const {
    if (call.dv.data) of_value().run(team, buffers.scratch);
    if (!call.dk.data && !call.dq.data) return;
    if (team.index() == 0) pack_transposed(of_queries(call.dy), buffers.rows, buffers.dy);
    team.barrier();
    of_weights().run(team, buffers.scratch);
    if (team.index() == 0) to_scores();
    team.barrier();
    if (call.dk.data) of_key().run(team, buffers.scratch);
    if (call.dq.data) of_query().run(team, buffers.scratch);
  }
};

// Runs the blocks of a part. The last block of queries, which sees the most keys, comes first: it writes dk
// and dv, and the others add to them.
template <class T>
void run_part(const AttentionBackward<T>& call, const BackwardParts<T>& parts, const BlockMemory<T>& buffers,
              int64_t part, const OpenTeam& team) {
  for (int64_t block = parts.blocks - 1; block >= 0; --block) {
    if (team.size() == 1 && interrupted(team)) return;  // with more threads, others would wait at a barrier
    Block<T>(call, parts, buffers, part, block).run(team);
  }
}

// The largest workspace that the products of a block need on `threads` threads.
template <class T>
size_t scratch_bytes(const AttentionBackward<T>& call, const BackwardParts<T>& parts, int threads) {
  Carver carver(nullptr);
  const BlockMemory<T> none(parts, 0, carver);
  size_t most = 0;
  for (int64_t part : {int64_t{0}, parts.groups - 1})  // the last group may have fewer heads
    for (int64_t block = parts.blocks - 1; block >= 0; --block) {
      if (!call.settings.is_causal && block < parts.blocks - 2) break;  // earlier blocks have the same shapes
      most = std::max(most, Block<T>(call, parts, none, part, block).scratch_bytes(threads));
    }
  return most;
}

}  // namespace

template <class T>
size_t AttentionBackward<T>::workspace_bytes(int threads) const {
  const BackwardParts<T> parts(*this);
  if (parts.count() == 0) return 0;
  const bool alone = parts.count() >= threads;  // each part is computed by one thread
  const int threads_of_part = alone ? 1 : threads;
  const int blocks = alone ? threads : 1;
  const size_t scratch = scratch_bytes(*this, parts, threads_of_part);
  Carver carver(nullptr);
  for (int i = 0; i < blocks; ++i) BlockMemory<T>(parts, scratch, carver);
  return carver.used();
}

template <class T>
void AttentionBackward<T>::run(const Team& team, void* workspace) const {
  const BackwardParts<T> parts(*this);
  if (parts.count() == 0) return;
  const bool alone = parts.count() >= team.threads();
  const int threads_of_part = alone ? 1 : team.threads();
  const size_t scratch = scratch_bytes(*this, parts, threads_of_part);
  const double per_score =
      kMatmulNsPerProduct * static_cast<double>(2 * parts.e + 2 * parts.d) + kNsPerGradientScore;
  const double scores = static_cast<double>(parts.lead.outer * parts.lead.heads * parts.l * parts.s);
  team.region(scores * per_score * (sizeof(T) / 4), [&](const OpenTeam& team) {
    Carver carver(workspace);
    for (int i = 0; alone && i < team.index(); ++i) BlockMemory<T>(parts, scratch, carver);
    const BlockMemory<T> own(parts, scratch, carver);
    if (!alone) {
      for (int64_t i = 0; i < parts.count(); ++i) run_part(*this, parts, own, i, team);
      return;
    }
    for (Chunks c(team, parts.count(), Chunks::size(team, parts.count())); c.next();)
      for (int64_t i = c.begin; i < c.end && !interrupted(team); ++i)
        run_part(*this, parts, own, i, team.alone());
  });
}

RANVIER_INSTANTIATE(AttentionBackward);

}  // namespace ranvier
