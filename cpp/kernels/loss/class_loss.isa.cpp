// The losses over lines of class scores, compiled once for each ISA level.
#include "kernels/loss/class_lines.h"

namespace ranvier::RANVIER_ISA {

template <class T>
static bool is_dense(const ClassLines<T>& l) {
  return l.x.step == 1 && (!l.probabilities.data || l.probabilities.step == 1) &&
         (!l.dx.data || l.dx.step == 1);
}

// What the line adds to the divisor of a mean: its weight where the loss is one of weighted likelihood.
template <ClassLoss kind, class T>
RANVIER_INLINE T share_of(const Target<T>& o) {
  if (o.ignored) return T(0);
  return !o.p && (kind == ClassLoss::cross_entropy || kind == ClassLoss::nll) ? o.w : T(1);
}

template <class Op, ClassLoss kind, bool dense, class T>
static void forward_of(const ClassLines<T>& l) {
  for (int64_t i = 0; i < l.count; ++i) {
    const Target<T> o = target_of(l, i);
    l.loss.data[i * l.loss.line] = Op::template forward<dense>(l, i, o, l.x.data + i * l.x.line);
    if (l.share.data) l.share.data[i] = share_of<kind>(o);
  }
}

template <class Op, ClassLoss kind, class T>
static void forward(const ClassLines<T>& l) {
  is_dense(l) ? forward_of<Op, kind, true>(l) : forward_of<Op, kind, false>(l);
}

template <class Op, bool dense, class T>
static void backward_of(const ClassLines<T>& l) {
  for (int64_t i = 0; i < l.count; ++i)
    Op::template backward<dense>(l, i, target_of(l, i), l.x.data + i * l.x.line,
                                 l.dy.data[i * l.dy.line] * l.scale, l.dx.data + i * l.dx.line);
}

template <class Op, class T>
static void backward(const ClassLines<T>& l) {
  is_dense(l) ? backward_of<Op, true>(l) : backward_of<Op, false>(l);
}

// The gradient of cross_entropy's probabilities.
template <class T>
static void target_backward(const ClassLines<T>& l) {
  for (int64_t i = 0; i < l.count; ++i) {
    const T lse = l.saved.data[i * l.saved.line];
    const T dy = l.dy.data[i * l.dy.line] * l.scale * (T(1) - T(l.settings.smoothing));
    const T* x = l.x.data + i * l.x.line;
    T* dp = l.dx.data + i * l.dx.line;
    for (int64_t k = 0; k < l.n; k += lanes<T>) {
      vec<T> g = (lse - load_line<false>(x + k * l.x.step, l.x.step, l.n - k)) * dy;
      if (l.weight) g *= load_line<true>(l.weight + k, 1, l.n - k);
      store_line<false>(dp + k * l.dx.step, l.dx.step, g, l.n - k);
    }
  }
}

#define RANVIER_FORWARD(name, op, cost) forward<op, ClassLoss::name, T>,
#define RANVIER_BACKWARD(name, op, cost) backward<op, T>,
template <class T>
static constexpr ClassLossKernels<T> class_loss_table = {{RANVIER_FOR_EACH_CLASS_LOSS(RANVIER_FORWARD)},
                                                         {RANVIER_FOR_EACH_CLASS_LOSS(RANVIER_BACKWARD)},
                                                         target_backward<T>};

extern const ClassLossKernels<float> class_loss_kernels_float = class_loss_table<float>;
extern const ClassLossKernels<double> class_loss_kernels_double = class_loss_table<double>;

}  // namespace ranvier::RANVIER_ISA
