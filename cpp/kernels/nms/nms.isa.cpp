// The loop of nms.h: each box is compared with a vector of kept boxes at a time.
#include "kernels/nms/nms.h"

#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

template <class T>
static void nms(const T* boxes, int64_t n, T threshold, T* workspace, bool* kept) {
  const int64_t room = n + lanes<T>;
  T* left = workspace;
  T* top = left + room;
  T* right = top + room;
  T* bottom = right + room;
  T* size = bottom + room;
  const vec<T> zero = {};
  int64_t count = 0;  // how many boxes are kept
  for (int64_t j = 0; j < n; ++j) {
    const T* b = boxes + 4 * j;
    const T area = (b[2] - b[0]) * (b[3] - b[1]);
    ivec<T> gone = {};
    for (int64_t i = 0; i < count && !any(gone); i += lanes<T>) {
      const vec<T> w = min(load(right + i), zero + b[2]) - max(load(left + i), zero + b[0]);
      const vec<T> h = min(load(bottom + i), zero + b[3]) - max(load(top + i), zero + b[1]);
      const vec<T> both = max(w, zero) * max(h, zero);
      gone = both / (load(size + i) + area - both) > threshold;
    }
    kept[j] = !any(gone);
    if (!kept[j]) continue;
    if (count % lanes<T> == 0)  // begins a new vector of boxes of size 0, which overlap nothing
      for (T* line : {left, top, right, bottom, size}) store(line + count, zero);
    left[count] = b[0];
    top[count] = b[1];
    right[count] = b[2];
    bottom[count] = b[3];
    size[count] = area;
    ++count;
  }
}

template <class T>
static constexpr NmsKernels<T> nms_table = {nms<T>};

RANVIER_DEFINE_TABLES(NmsKernels, nms_kernels, nms_table);

}  // namespace ranvier::RANVIER_ISA
