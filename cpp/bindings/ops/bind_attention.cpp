// Binds attention: softmax(scale * q k^T + masks) v, its gradient, and the attention of new tokens to a cache
// of keys and values. Sizes: L queries and S keys of width E, values of width D; the leading dimensions
// (batch, heads) are those of q, to which the others broadcast.
#include <algorithm>
#include <numeric>

#include "base/precision.h"
#include "bindings/binder/copied.h"
#include "bindings/binder/define.h"
#include "bindings/ops/index_range.h"
#include "kernels/attention/attention.h"
#include "kernels/matmul/pairs.h"

namespace ranvier::bind {
namespace {

constexpr int64_t kMostKeys = int64_t{1} << 40;  // an array has at most so many elements

// A mask of the scores, which may be None: numbers that are added to the scores, or bools.
struct Mask : Input {
  RANVIER_ANNOTATION("Array | None");
  Mask(const Arg& arg) : Input(read(arg)) {}
  static Input read(const Arg& arg) {
    if (!arg.given()) return Input(arg);
    Input any = Input::number(arg);
    return any.dtype() == DType::boolean ? any : Input::floating(arg);
  }

  void expect_fits(const Input& q, const Shape& scores) const {
    if (!*this) return;
    if (dtype() != DType::boolean) q.expect_same_dtype(*this);
    if (!shape().broadcasts_to(scores)) fail("one that broadcasts to ", scores);
  }

  // Sets the field of the call for this kind of mask to the mask, broadcast to the scores.
  template <class T>
  void set(const Shape& scores, TensorView<const bool>& flags, TensorView<const T>& added) const {
    if (!*this) return;
    if (dtype() == DType::boolean)
      repeat(view<bool>(), scores, flags);
    else
      repeat(view<T>(), scores, added);
  }
};

// The shape (lead..., rows, columns). Fails unless x is empty, or has this shape except that its leading
// dimensions only broadcast to `lead`.
Shape expect_matrices(const Input& x, const Shape& lead, int64_t rows, int64_t columns) {
  Shape shape = lead;
  shape.append(rows);
  shape.append(columns);
  if (x && (x.ndim() < 2 || x.shape(x.ndim() - 2) != rows || x.shape(x.ndim() - 1) != columns ||
            !x.shape().broadcasts_to(shape)))
    x.fail("one that broadcasts to ", shape, " along all but its last two dimensions");
  return shape;
}

// A new array in the memory order of q, with the last dimension contiguous. So the heads of one projection
// can be joined after the attention without a copy. C order if q repeats elements or has negative strides.
Output result_like(const Input& q, const Shape& shape) {
  const auto v = q.view<char>();
  int order[kMaxDims];
  std::iota(order, order + v.ndim, 0);
  for (int d = 0; d < v.ndim; ++d)
    if (v.strides[d] <= 0 && v.shape[d] > 1) return Output::contiguous(q.dtype(), shape);
  std::stable_sort(order, order + v.ndim - 1, [&](int a, int b) { return v.strides[a] > v.strides[b]; });
  return Output::in_order(q.dtype(), shape, order);
}

bool are_flags(const Input& mask) { return !mask || mask.dtype() == DType::boolean; }

// True if the kernel reads these arrays as bfloat16. Otherwise Python converts them to float32 first.
bool reads_halves(const Input& q, const Input& k, const Input& v) {
  if (bfloat16() != Bfloat16::pairs || q.dtype() != DType::bfloat16 || !v) return false;
  const auto size = [](const Input& x, int from_end) { return x.shape(x.ndim() - from_end); };
  return size(q, 2) > kFewQueries && pays_in_pairs(size(k, 2), size(q, 1)) &&
         pays_in_pairs(size(v, 1), std::min(size(k, 2), kAttentionKeys));
}

// Returns (y, weights). y (..., L, D): None without v. weights (..., S, L), transposed: None unless `keep`.
// first: the number of keys before the first query, for is_causal. hides, half, of_nothing: see
// AttentionSettings (kernels/attention/attention.h).
std::tuple<MaybeOutput, MaybeOutput> attention(const Reals& given_q, const Reals& given_k,
                                               const MaybeReals& given_v, Real scale, Truth is_causal,
                                               Whole first, Mask mask, Mask padding, Truth hides, Truth keep,
                                               Raw half, Real of_nothing) {
  const Input q = with_dense_rows(given_q);
  const Input k = with_dense_rows(given_k);
  const Input v = with_dense_rows(given_v);
  if (q.ndim() < 2) q.fail("(..., L, E)");
  if (k.ndim() < 2) k.fail("(..., S, E)");
  if (v && v.ndim() < 2) v.fail("(..., S, D)");
  if (first < 0 || first > kMostKeys) first.fail("0 to 2**40");
  const Shape lead = q.shape().part(0, q.ndim() - 2);
  const int64_t l = q.shape(q.ndim() - 2);
  const int64_t s = k.shape(k.ndim() - 2);
  const Shape k_shape = expect_matrices(k, lead, s, q.shape(q.ndim() - 1));
  const Shape v_shape = v ? expect_matrices(v, lead, s, v.shape(v.ndim() - 1)) : Shape();
  Shape scores = lead;
  Shape by_keys = lead;
  Shape y_shape = lead;
  scores.append(l);
  scores.append(s);
  by_keys.append(s);
  by_keys.append(l);
  for (const Mask* m : {&mask, &padding}) m->expect_fits(q, scores);
  const bool halves = q.dtype() == DType::float16 || q.dtype() == DType::bfloat16;
  if (halves && !(reads_halves(q, k, v) && !keep && are_flags(mask) && are_flags(padding)))
    fail_type(q.op(), "got floats of 16 bits; expected float32 or float64");
  MaybeOutput y, weights;
  if (keep) weights = Output::contiguous(q.dtype(), by_keys);
  if (v) {
    y_shape.append(l);
    y_shape.append(v.shape(v.ndim() - 1));
    y = result_like(q, y_shape);
  }
  with_float(q.dtype(), [&](auto tag) {
    using T = decltype(tag);
    AttentionForward<T> call{};
    DType rounded_to = DType::float32;
    if (half.given()) rounded_to = DTypeArg(half).dtype;
    call.settings = {scale, of_nothing, is_causal, first, hides, is_medium() || halves, rounded_to};
    repeat(k.view<T>(), k_shape, call.key);
    if (v) repeat(v.view<T>(), v_shape, call.value);
    mask.set(scores, call.flags[0], call.added[0]);
    padding.set(scores, call.flags[1], call.added[1]);
    call.query = q;
    call.weights = weights;
    call.y = y;
    invoke_sized(call, l * s * q.shape(q.ndim() - 1));
  });
  return {std::move(y), std::move(weights)};
}

// Writes the gradients to dq, dk and dv, each of which may be None. adds: adds to dk and dv. weights: as
// attention() returned them.
void attention_backward(const Floats& dy, const Floats& q, const Floats& k, const Floats& v,
                        const Floats& weights, Real scale, Truth is_causal, Whole first, Truth adds,
                        MaybeInPlace dq, MaybeInPlace dk, MaybeInPlace dv) {
  for (const Input* x : {&q, &k, &v})
    if (x->ndim() < 2) x->fail("(..., length, width)");
  if (first < 0 || first > kMostKeys) first.fail("0 to 2**40");
  const Shape lead = q.shape().part(0, q.ndim() - 2);
  const int64_t l = q.shape(q.ndim() - 2);
  const int64_t e = q.shape(q.ndim() - 1);
  const int64_t s = k.shape(k.ndim() - 2);
  const int64_t d = v.shape(v.ndim() - 1);
  const Shape k_shape = expect_matrices(k, lead, s, e);
  const Shape v_shape = expect_matrices(v, lead, s, d);
  const auto shape = [&](int64_t rows, int64_t columns) {
    Shape full = lead;
    full.append(rows);
    full.append(columns);
    return full;
  };
  weights.expect_shape(shape(s, l));
  dy.expect_shape(shape(l, d));
  if (l > 1 && weights.view<char>().strides[q.ndim() - 1] != 1) weights.fail("rows without gaps");
  MaybeOutput results[3];
  if (dq.given()) results[0] = dq.of(q.dtype(), shape(l, e));
  if (dk.given()) results[1] = dk.of(q.dtype(), shape(s, e));
  if (dv.given()) results[2] = dv.of(q.dtype(), shape(s, d));
  with_float(q.dtype(), [&](auto tag) {
    using T = decltype(tag);
    AttentionBackward<T> call{};
    call.settings = {scale, 0, is_causal, first, false, is_medium()};
    call.adds = adds;
    call.query = q;
    call.weights = weights;
    call.dy = dy;
    repeat(k.view<T>(), k_shape, call.key);
    repeat(v.view<T>(), v_shape, call.value);
    call.dq = results[0];
    call.dk = results[1];
    call.dv = results[2];
    invoke_sized(call, l * s * e);
  });
}

// Raises unless each row of the cache, which has lengths[i] tokens, has room for `count` more: at most `most`
// in all.
void expect_room(const Exactly<DType::int64>& lengths, int64_t count, int64_t most) {
  if (count <= most && are_inside(lengths, 0, most - count)) return;
  const auto v = lengths.view<int64_t>();
  int64_t length = 0;
  for (int64_t i = 0; i < v.shape[0]; ++i) {
    const int64_t own = v.data[i * v.strides[0]];
    if (own < 0 || own > most - count) length = own;
  }
  fail_value(lengths.op(), "got ", count, " more tokens for a row of length ", length, "; expected at most ",
             most, " in all: reset() or crop() the cache, or make a longer one");
}

// Appends the keys and values of l new tokens, (n, h, l, width), to the cache, and returns the attention y
// (n, h, l, d) of their queries to all tokens so far. keys (n, h, e, room), values (n, h, most, d) and, with
// `advance`, lengths (n) are changed in place.
Output attention_cached(const Floats& q, const Floats& k, const Floats& v, InPlace keys, InPlace values,
                        const Exactly<DType::int64>& lengths, Whole most, Real scale, Truth advance) {
  for (const Input* x : {&q, &k, &v})
    if (x->ndim() != 4) x->fail("(n, heads, l, width)");
  const Shape shape = q.shape();
  Shape v_shape = shape;
  v_shape.sizes[3] = v.shape(3);
  k.expect_shape(shape);
  v.expect_shape(v_shape);
  if (most < 0 || most > kMostKeys) most.fail("0 to 2**40");
  lengths.expect_shape(Shape{shape[0]});
  if (!lengths.is_writable()) fail_value(lengths.op(), "got lengths that cannot be written");
  const int64_t room = (most + kCacheRoom - 1) / kCacheRoom * kCacheRoom;
  const Output own_keys = keys.of(q.dtype(), {shape[0], shape[1], shape[3], room});
  const Output own_values = values.of(q.dtype(), {shape[0], shape[1], most, v.shape(3)});
  expect_room(lengths, shape[2], most);
  const Output y = result_like(q, v_shape);
  with_float(q.dtype(), [&](auto tag) {
    using T = decltype(tag);
    AttentionCached<T> call{scale, advance, q, k, v, own_keys, own_values, {}, y};
    call.lengths = writable(lengths.view<int64_t>());
    if (room > 1 && numel(call.keys) && call.keys.strides[3] != 1) fail_value(q.op(), "got keys with gaps");
    if (numel(call.values) && v.shape(3) > 1 && call.values.strides[3] != 1)
      fail_value(q.op(), "got values with gaps");
    invoke_sized(call, shape[2] * most * shape[3]);
  });
  return y;
}

// The positions of `count` new tokens in each row, lengths[i] + t: an array (n, count).
Output cache_positions(const Exactly<DType::int64>& lengths, Whole count, Whole most) {
  if (lengths.ndim() != 1) lengths.fail("(n,)");
  if (count < 0) count.fail("at least 0");
  expect_room(lengths, count, most);
  const Output y = Output::contiguous(DType::int64, {lengths.shape(0), count});
  invoke(CachePositions{lengths, y});
  return y;
}

}  // namespace

void register_attention(Module m) {
  def(m,
      "attention(q, k, v, scale, is_causal=False, first=0, mask=None, padding=None, hides=False, keep=False, "
      "half=None, of_nothing=0.0)",
      attention);
  def(m,
      "attention_backward(dy, q, k, v, weights, scale, is_causal=False, first=0, adds=False, dq=None, "
      "dk=None, dv=None)",
      attention_backward, "attention");
  def(
      m, "_attention_reads_halves(q, k, v)",
      [](const Reals& q, const Reals& k, const Reals& v) { return reads_halves(q, k, v); }, "attention");
  def(m, "attention_cached(q, k, v, keys, values, lengths, max_length, scale, advance=False)",
      attention_cached);
  def(m, "cache_positions(lengths, count, max_length)", cache_positions);
}

}  // namespace ranvier::bind
