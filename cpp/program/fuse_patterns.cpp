// The pass fuse_patterns (fuse.h): an instruction i is merged into the instruction p that makes its input. No
// bit of the results changes. Each function fuse(graph, i, call) does so for one kind of call, if the pattern
// holds:
//
//   a batch norm by running statistics    into a conv2d or product (matmul)
//   an activation, or its backward        into a product, conv2d or batch norm
//   a max-pool                            into a conv2d or batch norm, which may include a ReLU
//   a copy, or a sum in place             into a product
//
// Terms of fuse.h: a producer makes its result for one reader alone; a view is "whole" if it is all of its
// buffer. The merged call gets the output view of instruction i in place of its own, and merged(p, i) removes
// instruction i.
#include <algorithm>

#include "kernels/activation/activation.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d_pool/conv2d_pool.h"
#include "kernels/copy/copy.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/batch_norm.h"
#include "kernels/pooling/pooling.h"
#include "kernels/quantized/quantized.h"
#include "program/fuse.h"

namespace ranvier {
namespace {

// --- A batch norm by running statistics is a linear function of each channel: y = (x - m) a + b
// (kernels/norm/batch_norm.h). If it follows a conv2d or matmul, its numbers m, a and b are computed once,
// in a prepared instruction. The conv2d or matmul then applies them to its own sums, before a ReLU and a pool
// that may be merged later.

// True if v is all of its buffer, channels are contiguous, and the pixels lie one after another in C order.
template <class T>
bool is_rows(const Graph& graph, const TensorView<T>& v, int channel) {
  if (!graph.is_whole(v) || v.strides[channel] != 1) return false;
  int64_t expected = v.shape[channel];
  for (int d = v.ndim - 1; d >= 0; --d) {
    if (d == channel) continue;
    if (v.shape[d] != 1 && v.strides[d] != expected) return false;
    expected *= v.shape[d];
  }
  return true;
}

// True if the statistics, weight and bias of the norm are fixed (Graph::is_fixed) or absent.
template <class T>
bool is_fixed(const Graph& graph, const BatchNormForward<T>& norm) {
  const TensorView<const T> numbers[] = {as_const(norm.running_mean), as_const(norm.running_var), norm.weight,
                                         norm.bias};
  for (const TensorView<const T>& v : numbers)
    if (v.data && !graph.is_fixed(v)) return false;
  return true;
}

// Adds a prepared instruction that computes m, a and b for instruction i, and returns the view of its result.
template <class T>
TensorView<const T> prepare_line(Graph& graph, int i, const BatchNormForward<T>& norm) {
  const int64_t channels = norm.x.shape[1];
  BatchNormScale<T> s{};
  s.mean = as_const(norm.running_mean);
  s.var = as_const(norm.running_var);
  s.weight = norm.weight;
  s.bias = norm.bias;
  s.eps = norm.eps;
  s.line = {nullptr, 2, {3, channels}, {channels, 1}};
  graph.allocate(s.line);
  graph.prepare(i, s);
  return as_const(s.line);
}

// The norm of instruction i, with fixed statistics, becomes part of the convolution or product that makes its
// input.
template <class T>
void fuse(Graph& graph, int i, const BatchNormForward<T>& norm) {
  if (norm.training || !norm.columns || numel(norm.x) == 0 || !is_fixed(graph, norm)) return;
  if (graph.is_read(norm.mean) || graph.is_read(norm.rstd)) return;
  if (!is_rows(graph, norm.x, /*channel=*/1) || !is_rows(graph, norm.y, /*channel=*/1)) return;
  const int p = graph.producer(norm.x, i);
  if (auto* c = graph.as<Conv2dForward<T>>(p)) {
    if (c->activation != Conv2dActivation::none || c->norm.data) return;
    if (!is_rows(graph, c->y, /*channel=*/1)) return;
    c->norm = prepare_line(graph, p, norm);
    c->y.data = norm.y.data;
  } else if (auto* m = graph.as<Matmul<T>>(p)) {
    if (m->activation.kind != Activation::none || m->norm.data || m->saved.data || m->parts > 1) return;
    if (m->c.shape[0] != 1 || !is_rows(graph, m->c, /*channel=*/2)) return;
    m->norm = prepare_line(graph, p, norm);
    m->c.data = norm.y.data;
  } else {
    return;
  }
  graph.merged(p, i);
}

// --- An activation, or its backward, becomes the epilogue of the product, convolution or norm that makes its
// input. The epilogue applies the same function to the finished sums.

// True if y, all of a buffer, can replace x as the result of another instruction: both have the same layout.
template <class T>
bool same_elements(const Graph& graph, const TensorView<const T>& x, const TensorView<T>& y) {
  return graph.is_whole(y) && same_layout(x, y);
}

template <class T>
void fuse(Graph& graph, int i, const ActivationForward<T>& f) {
  if (!same_elements(graph, f.x, f.y)) return;
  const int p = graph.producer(f.x, i);
  const bool relu = f.kind == Activation::relu;
  if (auto* m = graph.as<Matmul<T>>(p)) {
    if (m->activation.kind != Activation::none || m->parts != 1) return;
    m->activation = {f.kind, f.alpha, f.beta};
    m->c.data = f.y.data;
  } else if (auto* c = graph.as<Conv2dForward<T>>(p)) {
    if (!relu || c->activation != Conv2dActivation::none) return;
    c->activation = Conv2dActivation::relu;
    c->y.data = f.y.data;
  } else if (auto* q = graph.as<QuantizedMatmul>(p)) {
    if (q->activation.kind != Activation::none) return;
    q->activation = {f.kind, f.alpha, f.beta};
    q->y.data = reinterpret_cast<float*>(f.y.data);  // T is float: its buffer is that of q
  } else if (auto* n = graph.as<BatchNormForward<T>>(p)) {
    const bool dense_pixels = n->y.shape[2] == 1 || n->y.strides[2] == n->y.shape[1];
    if (!relu || n->relu || !n->columns || !dense_pixels) return;
    n->relu = true;
    n->y.data = f.y.data;
  } else {
    return;
  }
  graph.merged(p, i);
}

template <class T>
void fuse(Graph& graph, int i, const ActivationBackward<T>& b) {
  if (!same_elements(graph, b.dy, b.dx) || !same_layout(b.saved, b.dy)) return;
  const int p = graph.producer(b.dy, i);
  auto* m = graph.as<Matmul<T>>(p);
  if (!m || m->activation.kind != Activation::none || m->bias.data || m->parts > 1) return;
  if (graph.written_after(graph.buffer(b.saved), p)) return;
  m->activation = {b.kind, b.alpha, b.beta};
  m->saved = as_const(at(m->c, const_cast<T*>(b.saved.data)));  // b.saved has the layout of c
  m->c.data = b.dx.data;
  graph.merged(p, i);
}

// --- conv2d or a batch norm, ReLU and max-pool become one call.
//
//   as recorded                                    after fusion
//   conv2d(relu) -> a -> pool -> y, where          conv2d_pool(relu) -> y, where
//   pool(a) -> y'                                  (dropped, see find_again)
//   relu_backward(dy, y') -> dy'                   relu_backward(dy, y) -> dy'
//   conv2d_pool_backward(dy', where, x, w)         unchanged
//
// `where` has for each window the place of its maximum. The ReLU is in the conv2d or norm already. After a
// norm the last line is a max_pool_backward. The second pool comes from the eager backward, which keeps no y
// and pools again for the mask of the ReLU: see ops/image/pooling.py.
using Pool = MaxPool2dForward<float, uint8_t>;

// True if the windows of one axis neither overlap nor reach beyond the image.
bool side_by_side(const PoolAxis& a) {
  return a.kernel > 0 && a.kernel == a.stride && !a.padding && a.dilation == 1 && a.out * a.kernel <= a.in;
}

// True if dy is the result of a ReLU's backward whose mask is y > 0.
bool is_masked_by(Graph& graph, const TensorView<const float>& dy, const TensorView<float>& y) {
  const auto* mask = graph.as<ActivationBackward<float>>(graph.writer(graph.buffer(dy)));
  return mask && mask->kind == Activation::relu && mask->saved.data == y.data &&
         same_layout(mask->saved, y) && mask->dx.data == dy.data && same_layout(mask->dx, dy);
}

// True if both axes have the same windows.
bool same_axis(const PoolAxis& a, const PoolAxis& b) {
  return a.in == b.in && a.out == b.out && a.kernel == b.kernel && a.stride == b.stride &&
         a.padding == b.padding && a.dilation == b.dilation;
}

// Drops the pool of instruction i if its `where` is not read and an earlier pool has made the same y from the
// same x. Readers of this y then read that of the earlier pool.
void find_again(Graph& graph, int i, const Pool& again) {
  if (!graph.is_temporary(again.y) || !graph.is_whole(again.y) || graph.is_read(again.where)) return;
  const int x = graph.buffer(again.x);
  for (int j : graph.readers(x)) {
    if (j >= i) continue;
    const Pool* pool = graph.as<Pool>(j);
    if (!pool || pool->x.data != again.x.data || !same_layout(pool->x, again.x)) continue;
    if (!same_axis(pool->rows, again.rows) || !same_axis(pool->columns, again.columns)) continue;
    if (!graph.is_whole(pool->y) || !same_layout(pool->y, again.y)) continue;
    if (graph.written_between(x, j, i) || graph.written_after(graph.buffer(pool->y), j)) continue;
    graph.redirect(graph.buffer(again.y), pool->y.data);
    graph.merged(j, i, /*later=*/false);
    return;
  }
}

// In a fused call the places of the maxima (`where`) are found before the ReLU. In a window without a
// positive value they may differ from those that the pool finds after the ReLU. True if all readers of
// `where` multiply by a gradient that is 0 for such windows, so that the difference does not matter.
bool is_masked(Graph& graph, const std::vector<int>& readers, const Pool& pool) {
  const auto masked = [&](const auto* back) { return back && is_masked_by(graph, back->dy, pool.y); };
  return std::all_of(readers.begin(), readers.end(), [&](int i) {
    return masked(graph.as<Conv2dPoolBackwardWeight>(i)) || masked(graph.as<Conv2dPoolBackwardInput>(i)) ||
           masked(graph.as<MaxPool2dBackward<float, uint8_t>>(i));
  });
}

// True if the pool is channels-last, its windows are side by side in both axes, and y is all of a buffer.
bool are_side_by_side(const Graph& graph, const Pool& pool) {
  return pool.channels_last && side_by_side(pool.rows) && side_by_side(pool.columns) &&
         graph.is_whole(pool.y);
}

// True if the convolution can compute the pool, too. A convolution of one tap (1x1) cannot: by itself it is a
// matrix product, whose sums are added in another order than in the direct convolution that conv2d_pool uses.
bool may_pool(const Graph& graph, const Conv2dForward<float>& conv, const Pool& pool) {
  return are_side_by_side(graph, pool) && conv.geometry.groups == 1 && same_layout(conv.y, pool.x) &&
         !conv.is_medium_sum() && conv.w.shape[2] * conv.w.shape[3] != 1;
}

// The fused call: the convolution, whose own result is not stored, and the pool.
Conv2dPoolForward pooled(Conv2dForward<float> conv, const Pool& pool, const TensorView<uint8_t>& where) {
  conv.y.data = nullptr;
  conv.pooled = true;
  return {conv, pool.y, where, {pool.rows.kernel, pool.columns.kernel}};
}

// The max-pool of instruction i becomes part of the convolution or norm that makes its input.
void fuse(Graph& graph, int i, const Pool& pool) {
  if (!are_side_by_side(graph, pool) || !graph.is_temporary(pool.where)) return;
  const std::vector<int> readers = graph.readers(graph.buffer(pool.where));
  TensorView<uint8_t> where{};  // not stored if nothing reads it
  if (!readers.empty()) where = pool.where;
  const int p = graph.producer(pool.x, i);
  if (const auto* c = graph.as<Conv2dForward<float>>(p)) {
    const Conv2dForward<float> conv = *c;
    if (!may_pool(graph, conv, pool)) return;
    if (conv.activation == Conv2dActivation::relu && !is_masked(graph, readers, pool)) return;
    graph.replace(p, pooled(conv, pool, where));
  } else if (auto* norm = graph.as<BatchNormForward<float>>(p)) {
    if (!norm->columns || norm->pool.y.data) return;
    if (!is_rows(graph, norm->x, /*channel=*/1) || !is_rows(graph, norm->y, /*channel=*/1)) return;
    const int64_t pixels = pool.rows.in * pool.columns.in;
    if (norm->y.shape[1] != pool.x.shape[1] || norm->y.shape[2] != pixels) return;
    if (norm->relu && !is_masked(graph, readers, pool)) return;
    norm->y.data = nullptr;
    norm->pool.y = pool.y;
    norm->pool.where = where;
    norm->pool.window[0] = pool.rows.kernel;
    norm->pool.window[1] = pool.columns.kernel;
    norm->pool.size[0] = pool.rows.in;
    norm->pool.size[1] = pool.columns.in;
  } else {
    return;
  }
  graph.merged(p, i);
}

// For arrays of float16 and bfloat16: a ReLU is merged into the conv2d before it, and then a max-pool whose
// `where` is not read. Bits stay, since the maximum of rounded numbers is the rounded maximum. (`where` could
// differ: numbers that differ before rounding can be equal after it.)
void fuse_halves(Graph& graph, int i) {
  using Conv = OfHalves<Conv2dForward<float>>;
  if (const auto* f = graph.of_halves<ActivationForward<float>>(i)) {
    if (f->kind != Activation::relu || !same_elements(graph, f->x, f->y)) return;
    const int p = graph.producer(f->x, i);
    auto* c = graph.of_halves<Conv>(p);
    if (!c || c->call.activation != Conv2dActivation::none) return;
    c->call.activation = Conv2dActivation::relu;
    c->call.y.data = f->y.data;
    graph.merged(p, i);
  } else if (const auto* of = graph.of_halves<OfHalves<Pool>>(i)) {
    const Pool& pool = of->call;
    if (!graph.is_temporary(pool.where) || graph.is_read(pool.where)) return;
    const int p = graph.producer(pool.x, i);
    const auto* c = graph.of_halves<Conv>(p);
    if (!c || c->call.activation != Conv2dActivation::relu || !may_pool(graph, c->call, pool)) return;
    graph.replace(p, OfHalves<Conv2dPoolForward>{pooled(c->call, pool, {})});
    graph.merged(p, i);
  }
}

// Merges the backward of a ReLU into the conv2d_pool_backward_input that makes its dy, if nothing else reads
// dy.
void fuse_mask(Graph& graph, int i, const ActivationBackward<float>& mask) {
  if (mask.kind != Activation::relu || !same_layout(mask.dy, mask.dx)) return;
  const int p = graph.producer(mask.dy, i);
  auto* input = graph.as<Conv2dPoolBackwardInput>(p);
  if (!input || input->saved.data || !same_layout(input->dx, mask.dy)) return;
  if (graph.written_after(graph.buffer(mask.saved), p)) return;
  input->saved = mask.saved;
  input->dx.data = mask.dx.data;
  graph.merged(p, i);
}

// --- If a product is copied to y, it is written to y at once; if it is added to y in place, it is added
// there. This saves a pass over the product. Training on several processes adds each gradient in this way.
// The bits stay: Matmul::can_add() is true only where the product is one chain of sums, to which the old
// value of y is added last.

// The product that makes all of x, for instruction i alone, and that could write to y instead; -1 if there is
// none.
template <class T>
int product(Graph& graph, int i, const TensorView<const T>& x, const TensorView<T>& y) {
  if (numel(x) == 0 || !graph.is_whole(x) || !same_layout(x, y)) return -1;
  const int buffer = graph.buffer(x);
  if (!graph.is_temporary(x) || graph.readers(buffer) != std::vector<int>{i}) return -1;
  const int p = graph.writer(buffer);
  if (!graph.as<Matmul<T>>(p) || p > i) return -1;
  if (!graph.is_untouched(y, p, i)) return -1;
  return p;
}

// Lets product p write to y, and removes instruction i.
template <class T>
void write_to(Graph& graph, int p, int i, const TensorView<T>& y) {
  graph.as<Matmul<T>>(p)->c.data = y.data;
  graph.merged(p, i);
}

template <class T>
void fuse(Graph& graph, int i, const Copy<T>& copy) {
  const int p = product(graph, i, copy.x, copy.y);
  if (p >= 0) write_to(graph, p, i, copy.y);
}

// y = y + x, in place.
template <class T>
void fuse(Graph& graph, int i, const Elementwise<T>& e) {
  if (e.op != ElementwiseOp::add || e.x[0].data != e.y.data || !e.x[1].data) return;
  if (!same_layout(e.x[0], e.y)) return;
  const int p = product(graph, i, e.x[1], e.y);
  if (p < 0 || !graph.as<Matmul<T>>(p)->can_add()) return;
  graph.as<Matmul<T>>(p)->added = true;
  write_to(graph, p, i, e.y);
}

}  // namespace

// The order matters: a norm or activation is merged before the pool that follows it, which is then merged
// into the same call.
void fuse_patterns(Graph& graph) {
  const auto pattern = [&](int i, auto& call) { fuse(graph, i, call); };
  graph.each<BatchNormForward<float>, BatchNormForward<double>>(pattern);
  graph.each<ActivationForward<float>, ActivationForward<double>, ActivationBackward<float>,
             ActivationBackward<double>>(pattern);
  graph.each<Pool>([&](int i, const Pool& pool) { find_again(graph, i, pool); });
  graph.each<Pool>(pattern);
  graph.each<ActivationBackward<float>>([&](int i, const auto& mask) { fuse_mask(graph, i, mask); });
  for (int i = 0; i < graph.size(); ++i) fuse_halves(graph, i);
  graph.each<Copy<float>, Copy<double>, Elementwise<float>, Elementwise<double>>(pattern);
}

}  // namespace ranvier
