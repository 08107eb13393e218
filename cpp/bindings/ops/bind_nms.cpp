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
  if (double(near) > threshold) return std::nextafter(near, -INFINITY);
  return near;
}

Output nms(const Floats& boxes, Real threshold) {
  if (boxes.ndim() != 2 || boxes.shape(1) != 4) boxes.fail("(n, 4)");
  Output kept = Output::contiguous(DType::boolean, {boxes.shape(0)});
  double t = threshold;
  if (boxes.dtype() == DType::float32) t = below(t);
  run<Nms>(boxes.dtype(), t, contiguous(boxes), kept);
  return kept;
}

}  // namespace

void register_nms(Module m) { def(m, "nms(boxes, threshold)", nms); }

}  // namespace ranvier::bind
