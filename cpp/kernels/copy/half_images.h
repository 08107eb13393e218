// Runs calls on images of 16-bit floats ("halves": float16 or bfloat16), such as convolutions and pools, by
// the same calls on float32. A block of images, few enough to stay in cache, is widened to floats; the call
// runs on the block; its results are rounded. Weights are widened once. A result that is a sum over all
// images (the gradient of weights) is the sum of the results of all blocks, added in order.
//
// The workspace holds the floats of one block. How images are divided into blocks depends on the shapes
// alone, so that bits do not depend on the threads.
#pragma once
#include <cstddef>
#include <type_traits>

#include "base/parallel.h"
#include "base/views.h"

// A call that may run on halves lists its views with this macro, in two parenthesised lists: `images`, whose
// first dimension counts images, and `others`, such as weights.
#define RANVIER_IMAGES(images, others) \
  template <class Views>               \
  void list_images(Views& v) const {   \
    v.add_images images;               \
    v.add_others others;               \
  }

namespace ranvier {

// A call on halves, without its type: its bytes, the positions of its views in them, and its two functions.
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
    (add(views, /*images=*/true), ...);
  }
  template <class... T>
  void add_others(const TensorView<T>&... views) {
    (add(views, /*images=*/false), ...);
  }

 private:
  static constexpr int kMost = 6;      // views of a call, at most
  static constexpr int kBytes = 1536;  // bytes of a call, at most
  struct Place {
    int64_t position;  // bytes from the start of the call to the view
    bool images;       // whether it is one of `images`
    bool writes;       // whether the call writes it
  };
  friend struct ImageBlock;

  template <class T>
  void add(const TensorView<T>& v, bool images) {
    if (v.data) {
      const int64_t position = reinterpret_cast<const char*>(&v) - call_;
      places_[count_] = {position, images, !std::is_const_v<T>};
      ++count_;
    }
    if (!std::is_floating_point_v<std::remove_const_t<T>>) offset_ = sizeof(T);
    if (images && numel(v) > total_) total_ = numel(v);
  }

  const char* const call_;
  const size_t size_;
  size_t (*const bytes_)(const void* call, int threads);
  void (*const run_)(const void* call, const Team& team, void* workspace);
  Place places_[kMost];
  int count_ = 0;      // of views
  int offset_ = 1;     // bytes of an element of a view of offsets (`where` of a max-pool)
  int64_t total_ = 0;  // elements of the largest view of images
};

// The kernel call that runs `call`, whose views are of halves, by an ImageCall.
template <class Call>
struct OfHalves {
  static constexpr const char* name = Call::name;
  void buffers(ViewList& v) const { call.buffers(v); }
  size_t workspace_bytes(int threads) const { return ImageCall(call).workspace_bytes(threads); }
  void run(const Team& team, void* workspace) const { ImageCall(call).run(team, workspace); }
  Call call;
};

}  // namespace ranvier
