// Products of small n and k: the tables' `small` and `dots` without a plan, a workspace or packing.
// Included by matmul.cpp only.
#pragma once
#include <algorithm>

#include "base/parallel.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/plan.h"

namespace ranvier {

// Whether they are dot products (see matmul.h), as MatmulPlan says too.
template <class T>
bool is_dots(const Matmul<T>& call, const MatmulKernels<T>& kernels) {
  return std::min(call.c.shape[1], call.c.shape[2]) <= kDotRows && call.a.shape[2] >= kernels.lanes &&
         call.a.strides[2] == 1 && call.b.strides[1] == 1;
}

// Whether n and k are small, and m too, unless a bias or an activation follows: in registers they take less
// time than after the tiles of the plan. Nothing else may follow.
template <class T>
bool is_within_small(const Matmul<T>& call, const MatmulKernels<T>& kernels) {
  const int64_t m = call.c.shape[1], n = call.c.shape[2], k = call.a.shape[2];
  if (!kernels.small || std::max(n, k) > (m <= kSmallSide ? kSmallSide : kSmallLong)) return false;
  if (m > kSmallSide) {
    const bool plain = !call.bias.data && call.activation.kind == Activation::none;
    if (plain || is_dots(call, kernels) || k * round_up(n, kernels.lanes) > kSmallSide * kSmallSide)
      return false;
  }
  if (call.c.shape[0] != 1 || call.added || call.packed.data || call.norm.data) return false;
  return !call.bias.data || call.bias.strides[0] == 1;
}

// Of the others: those that `small` takes.
template <class T>
bool is_chains(const Matmul<T>& call) {
  return call.c.strides[2] == 1 && (!call.saved.data || call.saved.strides[2] == 1) &&
         (call.activation.kind == Activation::none || call.activation.kind == Activation::relu);
}

template <class T>
bool Matmul<T>::is_small() const {
  const MatmulKernels<T>& kernels = matmul_kernels<T>();
  return is_within_small(*this, kernels) && (is_dots(*this, kernels) || is_chains(*this));
}

template <class T>
void run_small_dots(const MatmulKernels<T>& kernels, const Matmul<T>& call) {
  const bool transposed = call.c.shape[1] > call.c.shape[2];  // then the few rows are b's
  const int rows = transposed ? 2 : 1, columns = transposed ? 1 : 2;
  MatmulTile<T> t{};
  t.k = call.a.shape[2];
  t.rows = static_cast<int>(call.c.shape[rows]), t.columns = static_cast<int>(call.c.shape[columns]);
  t.a = transposed ? call.b.data : call.a.data, t.b = transposed ? call.a.data : call.b.data;
  t.rs_a = transposed ? call.b.strides[2] : call.a.strides[1];
  t.rs_b = transposed ? call.a.strides[1] : call.b.strides[2];
  t.c = call.c.data, t.rs_c = call.c.strides[rows], t.cs_c = call.c.strides[columns];
  t.saved = call.saved.data, t.rs_s = call.saved.strides[rows], t.cs_s = call.saved.strides[columns];
  (transposed ? t.bias_column : t.bias_row) = call.bias.data;
  t.activation = call.activation;
  kernels.dots(t);
}

template <class T>
void run_small(const OpenTeam& team, const MatmulKernels<T>& kernels, const Matmul<T>& call) {
  alignas(64) T scratch[kSmallSide * kSmallSide];
  const int64_t m = call.c.shape[1], first = team.share_begin(m), last = team.share_end(m);
  MatmulTile<T> t{};
  t.k = call.a.shape[2];
  t.columns = static_cast<int>(call.c.shape[2]);
  t.rs_a = call.a.strides[1], t.cs_a = call.a.strides[2], t.rs_b = call.b.strides[1];
  t.rs_c = call.c.strides[1], t.rs_s = call.saved.strides[1];
  t.b = call.b.data, t.bias_row = call.bias.data;
  t.activation = call.activation;
  for (int64_t i = first; i < last && !interrupted(team); i += kSmallRows) {
    t.rows = static_cast<int>(std::min(kSmallRows, last - i));
    t.a = call.a.data + i * t.rs_a, t.c = call.c.data + i * t.rs_c;
    t.saved = call.saved.data ? call.saved.data + i * t.rs_s : nullptr;
    kernels.small(t, call.b.strides[2], scratch);
  }
}

}  // namespace ranvier
