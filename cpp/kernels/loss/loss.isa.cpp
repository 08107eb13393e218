// The loops of LossKernels (loss.h) over dense strips, compiled once for each ISA level. functions.h has the
// formulas.
#include "kernels/loss/functions.h"
#include "kernels/loss/sum.h"

namespace ranvier::RANVIER_ISA {

enum class Which { value, by_x, by_target };

template <class Op, Which which, class T>
static void strip(const LossStrip<T>& s) {
  for (int64_t i = 0; i < s.n; i += lanes<T>) {
    const vec<T> x = load(s.x + i);
    const vec<T> t = load(s.target + i);
    const vec<T> o = load(s.other + i);
    vec<T> y;
    if constexpr (which == Which::value) y = Op::value(x, t, o, s);
    if constexpr (which == Which::by_x) y = Op::by_x(x, t, o, s);
    if constexpr (which == Which::by_target) y = Op::by_target(x, t, o, s);
    store(s.out + i, y * s.scale);
  }
}

template <class T>
static void multiply(int64_t n, T* out, const T* by) {
  for (int64_t i = 0; i < n; i += lanes<T>) store(out + i, load(out + i) * load(by + i));
}

#define RANVIER_X(name, op, cost) strip<op, Which::value, T>,
#define RANVIER_BY_X(name, op, cost) strip<op, Which::by_x, T>,
#define RANVIER_BY_TARGET(name, op, cost) strip<op, Which::by_target, T>,
template <class T>
static constexpr LossKernels<T> loss_table = {
    {RANVIER_FOR_EACH_LOSS(RANVIER_X)},
    {{RANVIER_FOR_EACH_LOSS(RANVIER_BY_X)}, {RANVIER_FOR_EACH_LOSS(RANVIER_BY_TARGET)}},
    multiply<T>,
    sum<T>};

RANVIER_DEFINE_TABLES(LossKernels, loss_kernels, loss_table);

}  // namespace ranvier::RANVIER_ISA
