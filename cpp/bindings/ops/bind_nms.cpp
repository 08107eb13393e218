// Binds nms (non-maximum suppression): of boxes (n, 4), the best first, it keeps those that do not overlap a
// better one, which is kept, by more than a threshold.
#include <cmath>

#include "bindings/binder/copied.h"
#include "bindings/binder/define.h"
#include "kernels/nms/nms.h"

namespace ranvier::bind {
namespace {

// The greatest float that is not above the threshold. A float is greater than it exactly if it is greater
// than the threshold.
float below(double threshold) {
  const float near = float(threshold);
  return double(near) > threshold ? std::nextafter(near, -INFINITY) : near;
}

Output nms(const Floats& boxes, Real threshold) {
  if (boxes.ndim() != 2 || boxes.shape(1) != 4) boxes.fail("(n, 4)");
  Output kept = Output::contiguous(DType::boolean, {boxes.shape(0)});
  const double t = threshold;
  run<Nms>(boxes.dtype(), boxes.dtype() == DType::float32 ? below(t) : t, contiguous(boxes), kept);
  return kept;
}

}  // namespace

void register_nms(Module m) { def(m, "nms(boxes, threshold)", nms); }

}  // namespace ranvier::bind
