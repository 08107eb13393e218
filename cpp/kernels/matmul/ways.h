// Runs the ways to compute a product that have no tiles, or tiles without a plan (the list in choice.cpp).
// Each function divides the work among the threads of a team and calls a kernel of the ISA level
// (MatmulKernels in tile.h). Included by matmul.cpp only.
#pragma once
#include <algorithm>

#include "base/parallel.h"
#include "kernels/matmul/fetch_order.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/plan.h"

namespace ranvier {

// The first product of a call or, transposed, c' = b' a'. It does not go through Operands, because copying
// values that have just been stored would take as long as a small product.
template <class T>
MatmulRows<T> rows_of(const Matmul<T>& call, bool transposed = false) {
  const TensorView<const T>& a = transposed ? call.b : call.a;
  const TensorView<const T>& b = transposed ? call.a : call.b;
  const int row = transposed ? 2 : 1;
  const int column = 3 - row;
  MatmulRows<T> t{};
  t.c = call.c.data;
  t.rs_c = call.c.strides[row];
  t.cs_c = call.c.strides[column];
  t.rows = static_cast<int>(call.c.shape[row]);
  t.columns = static_cast<int>(call.c.shape[column]);
  set_epilogue(t.after, call, transposed);
  t.k = t.chain_length = call.a.shape[2];
  t.a = a.data;
  t.rs_a = a.strides[row];
  t.cs_a = a.strides[column];
  t.b = b.data;
  t.rs_b = b.strides[row];
  t.cs_b = b.strides[column];
  return t;
}

template <class T>
MatmulRows<T> rows_of(const Operands<T>& o) {
  MatmulRows<T> t{};
  t.c = o.c;
  t.rs_c = o.rs_c;
  t.cs_c = o.cs_c;
  t.rows = static_cast<int>(o.m);
  t.columns = static_cast<int>(o.n);
  t.after = o.after;
  t.k = t.chain_length = o.k;
  t.a = o.a;
  t.rs_a = o.rs_a;
  t.cs_a = o.cs_a;
  t.b = o.b;
  t.rs_b = o.rs_b;
  t.cs_b = o.cs_b;
  return t;
}

// Applies the activation in place to n finished elements, which are contiguous; with saved, its backward.
template <class T>
void activate(const MatmulActivation& f, int64_t n, const T* saved, T* c) {
  const ActivationKernels<T>& kernels = activation_kernels<T>();
  const int kind = static_cast<int>(f.kind);
  const T alpha = static_cast<T>(f.alpha);
  const T beta = static_cast<T>(f.beta);
  if (saved)
    kernels.backward[kind]({n, saved, c, c, 1, 1, 1, alpha, beta});
  else
    kernels.forward[kind]({n, c, c, c, 1, 1, 1, alpha, beta});
}

// Runs this thread's rows of a small product, kSmallRows at a time.
template <class T>
void run_small(const OpenTeam& team, const MatmulKernels<T>& kernels, MatmulRows<T>& t) {
  alignas(64) T scratch[kSmallSide * kSmallSide];
  const int64_t first = team.share_begin(t.rows);
  const int64_t last = team.share_end(t.rows);
  const MatmulActivation activation = t.after.activation;
  const bool in_tiles = activation.is_in_tiles();
  if (!in_tiles) t.after.activation = {};
  if (first > 0) {
    t.a += first * t.rs_a;
    t.move(first, 0);
  }
  for (int64_t i = first; i < last && !interrupted(team); i += kSmallRows) {
    t.rows = static_cast<int>(std::min(kSmallRows, last - i));
    kernels.small(t, scratch);
    if (!in_tiles) activate(activation, int64_t{t.rows} * t.columns, t.after.saved, t.c);
    t.a += t.rows * t.rs_a;
    t.move(t.rows, 0);
  }
}

// Runs this thread's products of a batch, each as a small product on one thread.
template <class T>
void run_small_batch(const OpenTeam& team, const MatmulKernels<T>& kernels, const Matmul<T>& call) {
  const int64_t batch = call.c.shape[0];
  for (Chunks c(team, batch, Chunks::size(team, batch)); c.next() && !interrupted(team);)
    for (int64_t i = c.begin; i < c.end; ++i) {
      MatmulRows<T> t = rows_of(call);
      t.a += i * call.a.strides[0];
      t.b += i * call.b.strides[0];
      t.c += i * call.c.strides[0];
      if (t.after.saved) t.after.saved += i * call.saved.strides[0];
      run_small(team.alone(), kernels, t);
    }
}

// Runs a product of few rows by a packed b (Matmul::packed), one panel of b after another.
template <class T>
void run_packed_rows(const MatmulKernels<T>& kernels, const Matmul<T>& call) {
  const int64_t n = call.c.shape[2];
  MatmulTile<T> t{};
  t.c = call.c.data;
  t.rs_c = call.c.strides[1];
  t.cs_c = call.c.strides[2];
  t.rows = static_cast<int>(call.c.shape[1]);
  set_epilogue(t.after, call, /*transposed=*/false);
  t.k = call.a.shape[2];
  t.chain_length = even_chain_length(t.k, kernels.max_chain);
  t.a = call.a.data;
  t.rs_a = call.a.strides[1];
  t.cs_a = call.a.strides[2];
  const int64_t nr = std::min(kernels.nr(t.rows), kernels.width(n));
  for (int64_t j = 0; j < n; j += nr, t.move(0, nr)) {
    t.columns = static_cast<int>(std::min(nr, n - j));
    t.b = call.packed.data + j * t.k;
    t.rs_b = kernels.width(t.columns);
    kernels.micro_kernel(t);
  }
}

// Runs this thread's columns by kernels.few_rows or kernels.dots; n is their number for the whole team.
// few_rows needs at least kDotRows columns: a last group of columns begins before them to be full, and with
// fewer would read and write outside of the share.
template <class T>
void run_along_k(const OpenTeam& team, const MatmulKernels<T>& kernels, MatmulRows<T>& t, int64_t n,
                 bool few_rows) {
  const int64_t unit = few_rows ? kDotRows : 1;
  const int64_t units = n / unit;
  const auto share = [&](int64_t i) { return i == team.size() ? n : units * i / team.size() * unit; };
  const int64_t first = share(team.index());
  const int64_t last = share(team.index() + 1);
  t.chain_length = even_chain_length(t.k, kernels.max_chain);
  const int64_t bytes = n * t.k * int64_t(sizeof(T));
  t.beyond = (bytes > kBeyondL1) + (bytes > caches.l2);
  if (first > 0) {
    t.b += first * t.cs_b;
    t.move(0, first);
  }
  const int64_t bytes_of_column = few_rows && t.beyond == 2 ? t.k * int64_t(sizeof(T)) : 0;
  FetchComparison comparison(FetchComparison::few_rows, bytes_of_column, last - first);
  int64_t most = std::clamp<int64_t>(kDotProducts / std::max<int64_t>(t.k, 1), 1024, 1 << 30);
  if (comparison.is_open()) most = std::min(most, comparison.columns_of_part());
  for (int64_t j = first; j < last && !interrupted(team); j += t.columns) {
    const int64_t left = last - j;
    const int64_t columns = left < most + unit ? left : most;  // so that no rest is below `unit`
    t.columns = static_cast<int>(columns);
    if (few_rows) {
      t.fetch_order = comparison.begin_part(columns);
      kernels.few_rows(t);
      comparison.end_part();
    } else {
      kernels.dots(t);
    }
    t.b += t.columns * t.cs_b;
    t.move(0, t.columns);
  }
  comparison.close();
}

// Runs this thread's columns, whole vectors, by kernels.gemv. chain_length: the products of a chain; added:
// the product is added to c; unfit: this thread's flags for the rows of c (unfit.h), or null.
template <class T>
void run_gemv(const OpenTeam& team, const MatmulKernels<T>& kernels, const Operands<T>& o,
              int64_t chain_length, bool added, uint8_t* unfit) {
  const int64_t vectors = ceil_div(o.n, kernels.lanes);
  const int64_t first = vectors * team.index() / team.size() * kernels.lanes;
  const int64_t last = std::min(vectors * (team.index() + 1) / team.size() * kernels.lanes, o.n);
  const int64_t most = kernels.gemv_columns(static_cast<int>(o.m));
  for (int64_t pc = 0; pc < o.k; pc += chain_length) {
    MatmulRows<T> t = rows_of(o);
    t.k = std::min(chain_length, o.k - pc);
    const bool last_products = pc + t.k == o.k;
    t.missing = last_products ? o.missing : 0;
    if (!last_products) t.after = {};
    t.a += pc * t.cs_a;
    t.b += pc * t.rs_b + first * t.cs_b;
    t.accumulate = added || pc > 0;
    t.unfit = unfit;
    t.move(0, first);
    for (int64_t j = first; j < last && !interrupted(team); j += most) {
      t.columns = static_cast<int>(std::min(most, last - j));
      kernels.gemv(t);
      t.b += most * t.cs_b;
      t.move(0, most);
    }
  }
}

// True if c is so large that storing it in the caches would only evict what is needed, and its rows are whole
// cache lines.
template <class T>
bool streams_outer_products(const Matmul<T>& call, bool transposed) {
  constexpr int64_t kLine = 64 / sizeof(T);
  constexpr int64_t kLarge = 16 << 20;
  const int64_t* strides = call.c.strides;
  const int64_t columns = call.c.shape[transposed ? 1 : 2];
  const int64_t row = strides[transposed ? 2 : 1];
  return call.a.shape[2] == 1 && numel(call.c) * int64_t(sizeof(T)) >= std::min(caches.l3 / 2, kLarge) &&
         (strides[0] | row | columns) % kLine == 0 && reinterpret_cast<uintptr_t>(call.c.data) % 64 == 0;
}

// Runs the products [first, last) of a batch by kernels.stack.
template <class T>
void run_stack(const OpenTeam& team, const MatmulKernels<T>& kernels, const MatmulPlan<T>& plan,
               const Matmul<T>& call, int64_t first, int64_t last) {
  const int64_t products = call.c.shape[1] * call.c.shape[2] * std::max<int64_t>(call.a.shape[2], 1);
  const int64_t most = std::max<int64_t>(kStackProducts / products, 1);
  const int64_t step_a = call.a.strides[0];
  const int64_t step_b = call.b.strides[0];
  for (int64_t i = first; i < last && !interrupted(team); i += most) {
    const Operands<T> o = plan.operands(call, i, nullptr);
    MatmulStack<T> s;
    s.count = std::min(most, last - i);
    s.m = o.m;
    s.n = o.n;
    s.k = o.k;
    s.a = o.a;
    s.step_a = plan.transposed ? step_b : step_a;
    s.rs_a = o.rs_a;
    s.cs_a = o.cs_a;
    s.b = o.b;
    s.step_b = plan.transposed ? step_a : step_b;
    s.rs_b = o.rs_b;
    s.c = o.c;
    s.step_c = call.c.strides[0];
    s.rs_c = o.rs_c;
    s.streams = streams_outer_products(call, plan.transposed);
    kernels.stack(s);
  }
}

// Calls f(team, i) for the products i of a batch; team is the threads that compute it. If there are at least
// as many products as threads, each is computed by one thread. Otherwise the whole team computes one after
// another.
template <class F>
void each_product(const OpenTeam& team, int64_t batch, const F& f) {
  if (batch < team.size()) {
    for (int64_t i = 0; i < batch; ++i) {
      if (i > 0) team.barrier();  // the next product overwrites the packed b
      f(team, i);
    }
    return;
  }
  const OpenTeam alone = team.alone();
  for (Chunks c(team, batch, Chunks::size(team, batch)); c.next() && !interrupted(team);)
    for (int64_t i = c.begin; i < c.end; ++i) f(alone, i);
}

}  // namespace ranvier
