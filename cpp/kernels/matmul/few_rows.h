// Products with few rows, of which nothing is packed. Included by matmul.cpp only.
#pragma once
#include <algorithm>

#include "base/parallel.h"
#include "kernels/matmul/plan.h"

namespace ranvier {

constexpr int64_t kDotProducts = 1 << 23;  // between two looks for a signal; columns are counted by int

// The team splits the columns.
template <class T>
void run_dots(const OpenTeam& team, const MatmulKernels<T>& kernels, const Operands<T>& o,
              const MatmulActivation& activation) {
  const int64_t first = o.n * team.index() / team.size(), last = o.n * (team.index() + 1) / team.size();
  MatmulTile<T> t{};
  t.k = o.k, t.rows = static_cast<int>(o.m);
  t.a = o.a, t.rs_a = o.rs_a, t.rs_b = o.cs_b;
  t.rs_c = o.rs_c, t.cs_c = o.cs_c, t.rs_s = o.rs_s, t.cs_s = o.cs_s;
  t.bias_column = o.bias_column;
  t.norm_column = o.norm_column, t.norm_step = o.norm_step;
  t.activation = activation;
  const int64_t most = std::clamp<int64_t>(kDotProducts / std::max<int64_t>(o.k, 1), 1024, 1 << 30);
  for (int64_t j = first; j < last && !interrupted(team); j += most) {
    t.columns = static_cast<int>(std::min(most, last - j));
    t.b = o.b + j * o.cs_b;
    t.c = o.c + j * o.cs_c;
    t.bias_row = o.bias_row ? o.bias_row + j : nullptr;
    t.norm_row = o.norm_row ? o.norm_row + j : nullptr;
    t.saved = o.saved ? o.saved + j * o.cs_s : nullptr;
    kernels.dots(t);
  }
}

// The team splits the columns, by whole vectors.
template <class T>
void run_gemv(const OpenTeam& team, const MatmulKernels<T>& kernels, const Operands<T>& o,
              const MatmulActivation& activation, int64_t k_block) {
  const int64_t vectors = ceil_div(o.n, kernels.lanes);
  const int64_t first = vectors * team.index() / team.size() * kernels.lanes;
  const int64_t last = std::min(vectors * (team.index() + 1) / team.size() * kernels.lanes, o.n);
  MatmulTile<T> t{};
  t.rows = static_cast<int>(o.m);
  t.rs_a = o.rs_a, t.cs_a = o.cs_a, t.rs_b = o.rs_b, t.rs_c = o.rs_c, t.cs_c = o.cs_c;
  t.rs_s = o.rs_s, t.cs_s = o.cs_s;
  t.norm_step = o.norm_step;
  const int64_t most = kernels.gemv_columns(t.rows);
  for (int64_t pc = 0; pc < o.k; pc += k_block) {
    t.k = std::min(k_block, o.k - pc);
    t.a = o.a + pc * o.cs_a;
    t.accumulate = pc > 0;
    const bool last_products = pc + t.k == o.k;
    if (last_products)
      t.bias_column = o.bias_column, t.norm_column = o.norm_column, t.activation = activation;
    for (int64_t j = first; j < last && !interrupted(team); j += most) {
      t.columns = static_cast<int>(std::min(most, last - j));
      t.b = o.b + pc * o.rs_b + j;
      t.c = o.c + j * o.cs_c;
      t.bias_row = last_products && o.bias_row ? o.bias_row + j : nullptr;
      t.norm_row = last_products && o.norm_row ? o.norm_row + j : nullptr;
      t.saved = o.saved ? o.saved + j * o.cs_s : nullptr;
      kernels.gemv(t);
    }
  }
}

}  // namespace ranvier
