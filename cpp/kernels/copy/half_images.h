// Calls on images of 16-bit floats ("halves"), such as convolutions and pools, made of the same calls on
// float32. A block of images, few enough to stay in cache, is widened to floats, the call runs on the block,
// and results are rounded; weights are widened once. Sums over all images are those of the blocks, added in
// order.
//
// Memory: the floats of a block. The blocks depend on the shapes alone.
#pragma once
#include <cstddef>
#include <type_traits>

#include "base/parallel.h"
#include "base/views.h"

// Lists the views of a call: those with an image for each index of the first dimension, and all others.
#define RANVIER_IMAGES(images, others) \
  template <class Views>               \
  void list_images(Views& v) const {   \
    v.add_images images;               \
    v.add_others others;               \
  }

namespace ranvier {

// A call on halves: its bytes, and the places of the views in them, which RANVIER_IMAGES lists.
class ImageCall {
 public:
  template <class Call>
  explicit ImageCall(const Call& call)
      : call_(reinterpret_cast<const char*>(&call)),
        size_(sizeof call),
        bytes_(
            [](const void* c, int threads) { return static_cast<const Call*>(c)->workspace_bytes(threads); }),
        run_([](const void* c, const Team& team, void* w) { static_cast<const Call*>(c)->run(team, w); }) {
    static_assert(sizeof call <= kBytes);
    call.list_images(*this);
  }
  size_t workspace_bytes(int threads) const;
  void run(const Team& team, void* workspace) const;

  template <class... T>
  void add_images(const TensorView<T>&... views) {
    (add(views, true), ...);
  }
  template <class... T>
  void add_others(const TensorView<T>&... views) {
    (add(views, false), ...);
  }

 private:
  static constexpr int kMost = 6, kBytes = 1536;
  struct Place {  // the place of a view in the call
    int64_t position;
    bool images, writes;
  };
  friend struct ImageBlock;

  template <class T>
  void add(const TensorView<T>& v, bool images) {
    if (v.data) places_[count_++] = {reinterpret_cast<const char*>(&v) - call_, images, !std::is_const_v<T>};
    if (!std::is_floating_point_v<std::remove_const_t<T>>) offset_ = sizeof(T);
    if (images) total_ = numel(v) > total_ ? numel(v) : total_;
  }

  const char* const call_;
  const size_t size_;
  size_t (*const bytes_)(const void* call, int threads);
  void (*const run_)(const void* call, const Team& team, void* workspace);
  Place places_[kMost];
  int count_ = 0, offset_ = 1;  // bytes of an offset
  int64_t total_ = 0;
};

// The kernel call that runs `call`, whose views are of halves, in this way.
template <class Call>
struct OfHalves {
  static constexpr const char* name = Call::name;
  void buffers(ViewList& v) const { call.buffers(v); }
  size_t workspace_bytes(int threads) const { return ImageCall(call).workspace_bytes(threads); }
  void run(const Team& team, void* workspace) const { ImageCall(call).run(team, workspace); }
  Call call;
};

}  // namespace ranvier
