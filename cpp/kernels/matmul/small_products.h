// Products of small n and k: the tables' `small` and `dots` without a plan, a workspace or packing; stacks of
// them. And products with few rows, of which nothing is packed. Included by matmul.cpp only.
#pragma once
#include <algorithm>

#include "base/parallel.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/plan.h"

namespace ranvier {

// True if a and b are read along k, as MatmulPlan says too: few columns are dot products (see matmul.h), few
// rows chains (see few_rows.h).
template <class T>
bool reads_along_k(const Matmul<T>& call, const MatmulKernels<T>& kernels) {
  return std::min(call.c.shape[1], call.c.shape[2]) <= kDotRows && call.a.shape[2] >= kernels.lanes &&
         call.a.strides[2] == 1 && call.b.strides[1] == 1;
}

template <class T>
constexpr bool kHasSmall = sizeof(T) == sizeof(float);  // `small`, at levels with FMA

// True if `small` does all of a product, if it is small enough.
template <class T>
bool has_small(const Matmul<T>& call, const MatmulKernels<T>& kernels) {
  return kernels.small && !call.added && !call.packed.data && !call.norm.data &&
         (!call.bias.data || call.bias.strides[0] == 1);
}

// True if n and k are small, and m too, unless a bias or an activation follows: in registers they take less
// time than after the tiles of the plan.
template <class T>
bool is_within_small(const Matmul<T>& call, const MatmulKernels<T>& kernels) {
  const int64_t m = call.c.shape[1], n = call.c.shape[2], k = call.a.shape[2];
  if (std::max(n, k) > (m <= kSmallSide ? kSmallSide : kSmallLong)) return false;
  if (m > kSmallSide) {
    const bool plain = !call.bias.data && call.activation.kind == Activation::none;
    if (plain || reads_along_k(call, kernels) || k * round_up(n, kernels.lanes) > kSmallSide * kSmallSide)
      return false;
  }
  return call.c.shape[0] == 1 && has_small(call, kernels);
}

// True if `small` applies the activation; any other follows it.
inline bool is_in_tiles(const MatmulActivation& f) {
  return f.kind == Activation::none || f.kind == Activation::relu;
}

// True if `small` takes one of the other products.
template <class T>
bool is_chains(const Matmul<T>& call) {
  const auto is_rows = [&](const auto& v) {
    const bool dense = v.strides[1] == v.shape[2] || v.shape[1] == 1;
    return !v.data || (v.strides[2] == 1 && (dense || is_in_tiles(call.activation)));
  };
  return is_rows(call.c) && is_rows(call.saved);
}

// True if each product of a batch whose plan has tiles takes less time as a small one. If columns of b are
// contiguous, tiles of many registers pack more than a few products in less time.
template <class T>
bool is_small_batch(const Matmul<T>& call, const MatmulKernels<T>& kernels) {
  constexpr int64_t kFew = 24;
  const int64_t n = call.c.shape[2], k = call.a.shape[2];
  const bool rows = call.b.strides[2] == 1 && n % kernels.lanes == 0;
  return call.c.shape[0] > 1 && std::max(n, k) <= kSmallLong && has_small(call, kernels) &&
         k * round_up(n, kernels.lanes) <= kSmallSide * kSmallSide && is_chains(call) &&
         (!kernels.many_registers() || k <= kFew || rows);
}

template <class T>
bool Matmul<T>::is_small() const {
  if (parts > 1) return false;
  const MatmulKernels<T>& kernels = this->kernels();
  return is_within_small(*this, kernels) && (reads_along_k(*this, kernels) || is_chains(*this));
}

template <class T>
void run_small_dots(const MatmulKernels<T>& kernels, const Matmul<T>& call) {
  const bool few = call.c.shape[2] > kDotRows;
  const bool transposed = call.c.shape[1] > call.c.shape[2];  // then the few rows are b's
  const int rows = transposed ? 2 : 1, columns = transposed ? 1 : 2;
  MatmulTile<T> t{};
  t.k = call.a.shape[2], t.k_block = kernels.kc;
  t.rows = static_cast<int>(call.c.shape[rows]), t.columns = static_cast<int>(call.c.shape[columns]);
  t.a = transposed ? call.b.data : call.a.data, t.b = transposed ? call.a.data : call.b.data;
  t.rs_a = transposed ? call.b.strides[2] : call.a.strides[1];
  t.rs_b = transposed ? call.a.strides[1] : call.b.strides[2];
  t.c = call.c.data, t.rs_c = call.c.strides[rows], t.cs_c = call.c.strides[columns];
  t.saved = call.saved.data, t.rs_s = call.saved.strides[rows], t.cs_s = call.saved.strides[columns];
  (transposed ? t.bias_column : t.bias_row) = call.bias.data;
  t.activation = call.activation;
  few ? kernels.few(t) : kernels.dots(t);
}

// The activation of n finished elements in a row, or its backward, in place.
template <class T>
void activate(const MatmulActivation& f, int64_t n, const T* saved, T* c) {
  const ActivationKernels<T>& kernels = activation_kernels<T>();
  (saved ? kernels.backward : kernels.forward)[static_cast<int>(f.kind)](
      {n, saved ? saved : c, c, c, 1, 1, 1, static_cast<T>(f.alpha), static_cast<T>(f.beta)});
}

// This thread's rows of a small product, kSmallRows at a time, by MatmulKernels::small.
template <class T>
void run_small(const OpenTeam& team, const MatmulKernels<T>& kernels, const Matmul<T>& call) {
  alignas(64) T scratch[kSmallSide * kSmallSide];
  const int64_t m = call.c.shape[1], first = team.share_begin(m), last = team.share_end(m);
  MatmulTile<T> t{};
  t.k = call.a.shape[2];
  t.columns = static_cast<int>(call.c.shape[2]);
  t.rs_a = call.a.strides[1], t.cs_a = call.a.strides[2];
  t.rs_c = call.c.strides[1], t.rs_s = call.saved.strides[1];
  t.bias_row = call.bias.data;
  const bool in_tiles = is_in_tiles(call.activation);
  if (in_tiles) t.activation = call.activation;
  for (int64_t i = first; i < last && !interrupted(team); i += kSmallRows) {
    t.rows = static_cast<int>(std::min(kSmallRows, last - i));
    t.b = call.b.data, t.rs_b = call.b.strides[1];
    t.a = call.a.data + i * t.rs_a, t.c = call.c.data + i * t.rs_c;
    t.saved = call.saved.data ? call.saved.data + i * t.rs_s : nullptr;
    kernels.small(t, call.b.strides[2], scratch);
    if (!in_tiles) activate(call.activation, t.rows * call.c.shape[2], t.saved, t.c);
  }
}

// This thread's products of a batch, each as one that is alone.
template <class T>
void run_small_batch(const OpenTeam& team, const MatmulKernels<T>& kernels, const Matmul<T>& call) {
  Matmul<T> one = call;
  const int64_t batch = call.c.shape[0];
  for (Chunks c(team, batch, Chunks::size(team, batch)); c.next() && !interrupted(team);)
    for (int64_t i = c.begin; i < c.end; ++i) {
      one.a.data = call.a.data + i * call.a.strides[0], one.b.data = call.b.data + i * call.b.strides[0];
      one.c.data = call.c.data + i * call.c.strides[0];
      if (call.saved.data) one.saved.data = call.saved.data + i * call.saved.strides[0];
      run_small(team.alone(), kernels, one);
    }
}

// Few rows and a packed b of a product that takes about as long as its plan would: see MatmulPack.
template <class T>
bool is_few_packed(const Matmul<T>& call, const MatmulKernels<T>& kernels) {
  constexpr int64_t kShort = 1 << 17;  // products
  const int64_t m = call.c.shape[1], k = call.a.shape[2];
  return call.packed.data && m <= std::min(kernels.mr, kGemvRows) && k > 0 &&
         m * k * call.c.shape[2] <= kShort && !kernels.pairs && !call.added && call.c.shape[0] == 1 &&
         (!call.bias.data || call.bias.strides[0] == 1);
}

// A product of few rows by a packed b, strip by strip, without a plan.
template <class T>
void run_few_packed(const MatmulKernels<T>& kernels, const Matmul<T>& call) {
  const int64_t n = call.c.shape[2];
  const auto width = [&](int64_t columns) {
    int w = kernels.lanes;
    while (w < columns) w *= 2;
    return w;
  };
  MatmulTile<T> t{};
  t.rows = static_cast<int>(call.c.shape[1]);
  t.k = call.a.shape[2], t.k_block = k_block_of(t.k, kernels.kc);
  t.a = call.a.data, t.rs_a = call.a.strides[1], t.cs_a = call.a.strides[2];
  t.rs_c = call.c.strides[1], t.cs_c = call.c.strides[2];
  t.rs_s = call.saved.strides[1], t.cs_s = call.saved.strides[2];
  t.norm_step = call.norm.shape[1];
  t.activation = call.activation;
  const int64_t strip = std::min(kernels.nr(t.rows), width(n));
  for (int64_t j = 0; j < n; j += strip) {
    t.columns = static_cast<int>(std::min(strip, n - j));
    t.b = call.packed.data + j * t.k, t.rs_b = width(t.columns);
    t.c = call.c.data + j * t.cs_c;
    if (call.bias.data) t.bias_row = call.bias.data + j;
    if (call.norm.data) t.norm_row = call.norm.data + j;
    if (call.saved.data) t.saved = call.saved.data + j * t.cs_s;
    kernels.tile(t);
  }
}

constexpr int64_t kDotProducts = 1 << 23;  // between two looks for a signal; columns are counted by int

// The team splits the columns. `few` takes kDotRows of them at least: with fewer it would read and write what
// is before them.
template <class T>
void run_dots(const OpenTeam& team, const MatmulKernels<T>& kernels, const Operands<T>& o,
              const MatmulActivation& activation, bool few, int64_t k_block) {
  const int64_t unit = few ? kDotRows : 1, units = o.n / unit;
  const auto share = [&](int64_t i) { return i == team.size() ? o.n : units * i / team.size() * unit; };
  const int64_t last = share(team.index() + 1);
  MatmulTile<T> t{};
  t.k = o.k, t.k_block = k_block, t.rows = static_cast<int>(o.m);
  t.a = o.a, t.rs_a = o.rs_a, t.rs_b = o.cs_b;
  t.rs_c = o.rs_c, t.cs_c = o.cs_c, t.rs_s = o.rs_s, t.cs_s = o.cs_s;
  t.bias_column = o.bias_column;
  t.norm_column = o.norm_column, t.norm_step = o.norm_step;
  t.activation = activation;
  if (few && o.cs_b == o.k && o.n * o.k * int64_t(sizeof(T)) > caches.l2) t.fetch = o.b;
  const int64_t most = std::clamp<int64_t>(kDotProducts / std::max<int64_t>(o.k, 1), 1024, 1 << 30);
  for (int64_t j = share(team.index()); j < last && !interrupted(team); j += t.columns) {
    t.columns = static_cast<int>(last - j < most + unit ? last - j : most);
    t.b = o.b + j * o.cs_b;
    t.c = o.c + j * o.cs_c;
    t.bias_row = o.bias_row ? o.bias_row + j : nullptr;
    t.norm_row = o.norm_row ? o.norm_row + j : nullptr;
    t.saved = o.saved ? o.saved + j * o.cs_s : nullptr;
    few ? kernels.few(t) : kernels.dots(t);
  }
}

// The team splits the columns, by whole vectors.
template <class T>
void run_gemv(const OpenTeam& team, const MatmulKernels<T>& kernels, const Operands<T>& o,
              const MatmulActivation& activation, int64_t k_block, bool added, uint8_t* unfit) {
  const int64_t vectors = ceil_div(o.n, kernels.lanes);
  const int64_t first = vectors * team.index() / team.size() * kernels.lanes;
  const int64_t last = std::min(vectors * (team.index() + 1) / team.size() * kernels.lanes, o.n);
  MatmulTile<T> t{};
  t.rows = static_cast<int>(o.m);
  t.rs_a = o.rs_a, t.cs_a = o.cs_a, t.rs_b = o.rs_b, t.step_b = o.cs_b;
  t.rs_c = o.rs_c, t.cs_c = o.cs_c, t.rs_s = o.rs_s, t.cs_s = o.cs_s;
  t.norm_step = o.norm_step;
  t.unfit = unfit;
  const int64_t most = kernels.gemv_columns(t.rows);
  for (int64_t pc = 0; pc < o.k; pc += k_block) {
    t.k = std::min(k_block, o.k - pc);
    t.missing = static_cast<int16_t>(pc + t.k == o.k ? o.missing : 0);
    t.odd = t.missing != 0;
    t.a = o.a + pc * o.cs_a;
    t.accumulate = added || pc > 0;
    const bool last_products = pc + t.k == o.k;
    if (last_products)
      t.bias_column = o.bias_column, t.norm_column = o.norm_column, t.activation = activation;
    for (int64_t j = first; j < last && !interrupted(team); j += most) {
      t.columns = static_cast<int>(std::min(most, last - j));
      t.b = o.b + pc * o.rs_b + j * o.cs_b;
      t.c = o.c + j * o.cs_c;
      t.bias_row = last_products && o.bias_row ? o.bias_row + j : nullptr;
      t.norm_row = last_products && o.norm_row ? o.norm_row + j : nullptr;
      t.saved = o.saved ? o.saved + j * o.cs_s : nullptr;
      kernels.gemv(t);
    }
  }
}

constexpr int64_t kStackProducts = 1 << 26;  // between two looks for a signal

// The products [first, last) of a stack of small ones.
template <class T>
void run_stack(const OpenTeam& team, const MatmulKernels<T>& kernels, const MatmulPlan<T>& plan,
               const Matmul<T>& call, int64_t first, int64_t last) {
  const int64_t products = call.c.shape[1] * call.c.shape[2] * std::max<int64_t>(call.a.shape[2], 1);
  const int64_t most = std::max<int64_t>(kStackProducts / products, 1);
  if (last - first > most) {
    for (int64_t i = first; i < last && !interrupted(team); i += most)
      run_stack(team, kernels, plan, call, i, std::min(i + most, last));
    return;
  }
  const Operands<T> o = plan.operands(call, first, nullptr);
  const int64_t step_a = call.a.strides[0], step_b = call.b.strides[0];
  kernels.stack({last - first, o.m, o.n, o.k, o.a, plan.transposed ? step_b : step_a, o.rs_a, o.cs_a, o.b,
                 plan.transposed ? step_a : step_b, o.rs_b, o.c, call.c.strides[0], o.rs_c});
}

}  // namespace ranvier
