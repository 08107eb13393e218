#include "kernels/loss/loss.h"

#include "base/loop_nest.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

#define RANVIER_X(name, op, cost) cost,
constexpr double kNsPerElement[] = {RANVIER_FOR_EACH_LOSS(RANVIER_X)};
#undef RANVIER_X

template <class T>
double cost_ns(Loss kind, int64_t n) {
  return kNsPerElement[static_cast<int>(kind)] * static_cast<double>(n) * static_cast<double>(sizeof(T) / 4);
}

constexpr int64_t kZeros[kMaxDims] = {};

}  // namespace

template <class T>
void LossForward<T>::run(void* workspace) const {
  const bool each = reduction == Reduction::none;
  const LoopNest<3> nest(x.ndim, x.shape, {target.strides, each ? loss.strides : x.strides, x.strides});
  const int last = nest.ndim - 1, index = static_cast<int>(kind);
  LossLine<T> common{};
  common.stride_target = nest.strides[0][last];
  common.stride_out = nest.strides[1][last];
  common.stride_x = nest.strides[2][last];
  const auto line_at = [&](int64_t count, const int64_t(&offsets)[3]) {
    LossLine<T> line = common;
    line.n = count;
    line.target = target.data + offsets[0];
    line.out = each ? loss.data + offsets[1] : nullptr;
    line.x = x.data + offsets[2];
    return line;
  };
  if (each) {
    parallel_for(nest.size, cost_ns<T>(kind, nest.size), [&](int64_t begin, int64_t end) {
      nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[3]) {
        loss_kernels<T>().each[index](line_at(count, offsets));
      });
    });
    return;
  }
  double* partial = static_cast<double*>(workspace);
  parallel_region(cost_ns<T>(kind, nest.size), [&] {
    parallel_for(kLossParts, cost_ns<T>(kind, nest.size), [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        double sum = 0;
        nest.walk(nest.size * part / kLossParts, nest.size * (part + 1) / kLossParts,
                  [&](int64_t count, const int64_t(&offsets)[3]) {
                    sum += loss_kernels<T>().sum[index](line_at(count, offsets));
                  });
        partial[part] = sum;
      }
    });
    parallel_for(1, 0, [&](int64_t, int64_t) {
      double sum = 0;
      for (int part = 0; part < kLossParts; ++part) sum += partial[part];
      loss.data[0] =
          static_cast<T>(reduction == Reduction::mean ? sum / static_cast<double>(nest.size) : sum);
    });
  });
}

template <class T>
void LossBackward<T>::run(void*) const {
  const bool each = reduction == Reduction::none;
  const LoopNest<4> nest(x.ndim, x.shape,
                         {x.strides, target.strides, each ? dy.strides : kZeros, dx.strides});
  const int last = nest.ndim - 1;
  LossLine<T> common{};
  common.scale = reduction == Reduction::mean ? T(1) / static_cast<T>(nest.size) : T(1);
  common.stride_x = nest.strides[0][last];
  common.stride_target = nest.strides[1][last];
  common.stride_dy = each ? nest.strides[2][last] : 0;
  common.stride_out = nest.strides[3][last];
  const auto& tables = loss_kernels<T>();
  const auto function = (of_target ? tables.target_gradient : tables.gradient)[static_cast<int>(kind)];
  parallel_for(nest.size, cost_ns<T>(kind, nest.size), [&](int64_t begin, int64_t end) {
    nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[4]) {
      LossLine<T> line = common;
      line.n = count;
      line.x = x.data + offsets[0];
      line.target = target.data + offsets[1];
      line.dy = dy.data + (each ? offsets[2] : 0);
      line.out = dx.data + offsets[3];
      function(line);
    });
  });
}

template struct LossForward<float>;
template struct LossForward<double>;
template struct LossBackward<float>;
template struct LossBackward<double>;

}  // namespace ranvier
