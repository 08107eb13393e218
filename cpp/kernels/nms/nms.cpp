// Calls the loop of nms.isa.cpp on one thread, with a workspace for the kept boxes: four corners and a size
// for each.
#include "kernels/nms/nms.h"

namespace ranvier {
namespace {

// Of the longest vectors: each line of the workspace ends with a whole vector.
constexpr int64_t kMostLanes = 16;

}  // namespace

template <class T>
size_t Nms<T>::workspace_bytes(int) const {
  return 5 * size_t(boxes.shape[0] + kMostLanes) * sizeof(T);
}

template <class T>
void Nms<T>::run(const Team&, void* workspace) const {
  nms_kernels<T>().run(boxes.data, boxes.shape[0], T(threshold), static_cast<T*>(workspace), kept.data);
}

RANVIER_INSTANTIATE(Nms);

}  // namespace ranvier
