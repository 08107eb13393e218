// Runs calls on images of 16-bit floats by calls on float32 (half_images.h): ImageBlock holds a copy of the
// call, and points the views in it to the floats of one block of images after the other.
#include "kernels/copy/half_images.h"

#include <algorithm>
#include <cstring>

#include "base/carve.h"
#include "base/integers.h"
#include "kernels/copy/copy.h"

namespace ranvier {
namespace {

// The floats of the images of a block: at most kFloats (768 KB), or kTimesOthers times those of the weights
// if that is more, since each block may pack the weights again.
constexpr int64_t kFloats = 3 << 16;
constexpr int64_t kTimesOthers = 16;
constexpr int64_t kLeast = 2;  // a block has an even number of images: conv2d/medium takes pairs of images
constexpr double kNsPerElement = 0.5;  // serial time of an element of the largest view, at least

// Sets the strides of v to those of memory without gaps, with the dimensions in the order that they have in
// memory.
void make_dense(AnyView& v) {
  int order[kMaxDims];
  for (int d = 0; d < v.ndim; ++d) {
    int i = d;
    for (; i > 0 && std::abs(v.strides[order[i - 1]]) < std::abs(v.strides[d]); --i) order[i] = order[i - 1];
    order[i] = d;
  }
  int64_t step = 1;
  for (int i = v.ndim - 1; i >= 0; --i) {
    v.strides[order[i]] = step;
    step *= v.shape[order[i]];
  }
}

// The same view with elements of type T.
template <class T>
TensorView<T> elements(const AnyView& v) {
  TensorView<T> to;
  to.data = reinterpret_cast<T*>(v.data);
  to.ndim = v.ndim;
  std::copy_n(v.shape, v.ndim, to.shape);
  std::copy_n(v.strides, v.ndim, to.strides);
  return to;
}

// y = x: from halves to floats, and from floats to halves.
void widen(const Team& team, const AnyView& x, const AnyView& y) {
  const DType from = x.stored == Stored::float16 ? DType::float16 : DType::bfloat16;
  Cast<uint16_t, float>{from, elements<const uint16_t>(x), elements<float>(y)}.run(team, nullptr);
}

void round(const Team& team, const AnyView& x, const AnyView& y) {
  const auto from = elements<const uint32_t>(x);
  if (y.stored == Stored::float16)
    Cast<uint32_t, Float16>{DType::float32, from, elements<Float16>(y)}.run(team, nullptr);
  else
    Cast<uint32_t, BFloat16>{DType::float32, from, elements<BFloat16>(y)}.run(team, nullptr);
}

// y += x. Both are dense and have the same layout.
void add_floats(const Team& team, const AnyView& x, const AnyView& y) {
  const float* from = reinterpret_cast<const float*>(x.data);
  float* to = reinterpret_cast<float*>(y.data);
  team.parallel_for(numel(x), 0, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] += from[i];
  });
}

}  // namespace

// The call on one block of images, as a call on floats.
struct ImageBlock {
  using Place = ImageCall::Place;
  static constexpr int kMost = ImageCall::kMost;
  static constexpr int kBytes = ImageCall::kBytes;
  const ImageCall& whole;         // the call on halves
  alignas(16) char call[kBytes];  // a copy of its bytes, with other views
  int64_t images = 0;             // of the call on halves
  int64_t size = 0;               // the images of a block; the last block may have fewer
  // By view: its floats; of a sum over images also those of a later block.
  float *floats[kMost] = {}, *more[kMost];

  explicit ImageBlock(const ImageCall& whole, Carver& carver) : whole(whole) {
    int64_t others = 0;    // elements of all views that do not count images
    int64_t in_image = 0;  // elements of all others for one image
    for_each([&](int, const Place& p, const AnyView& v) {
      if (p.images) {
        images = v.shape[0];
        in_image += numel(v) / std::max<int64_t>(images, 1);
      } else {
        others += numel(v);
      }
    });
    const int64_t most = std::max(kFloats, kTimesOthers * others) / std::max<int64_t>(in_image, 1);
    const int64_t blocks = ceil_div(std::max<int64_t>(images, 1), std::max<int64_t>(most, kLeast));
    size = round_up(ceil_div(images, blocks), kLeast);
    std::memcpy(call, whole.call_, whole.size_);
    for_each([&](int i, const Place& p, AnyView v) {
      if (v.stored == Stored::whole) return;
      if (p.images) v.shape[0] = std::min(size, images);
      floats[i] = carver.take<float>(numel(v));
      more[i] = nullptr;
      if (p.writes && !p.images) more[i] = carver.take<float>(numel(v));
    });
  }

  // Calls f(index, place, view) for each view of the call on halves.
  template <class F>
  void for_each(const F& f) const {
    for (int i = 0; i < whole.count_; ++i) {
      const Place& place = whole.places_[i];
      f(i, place, *reinterpret_cast<const AnyView*>(whole.call_ + place.position));
    }
  }
  AnyView& view(const Place& p) { return *reinterpret_cast<AnyView*>(call + p.position); }

  // Makes `call` the call on the block of images from `first` on.
  void set(int64_t first) {
    for_each([&](int i, const Place& p, AnyView v) {
      if (p.images) v = part(v, first);
      if (v.stored != Stored::whole) {
        make_dense(v);
        v.stored = Stored::whole;
        float* const own = more[i] && first > 0 ? more[i] : floats[i];
        if (own) v.data = reinterpret_cast<char*>(own);  // null while workspace_bytes() counts
      }
      view(p) = v;
    });
  }
  // The part of a view of the call on halves that belongs to the block.
  AnyView part(AnyView v, int64_t first) const {
    v.shape[0] = std::min(size, images - first);
    v.data += first * v.strides[0] * item(v);
    return v;
  }
  // Bytes of an element: a half, or in a view that has no halves an offset.
  int64_t item(const AnyView& v) const { return v.stored == Stored::whole ? whole.offset_ : 2; }

  // The workspace of the call on floats: the larger one of a full block and of the last block.
  size_t bytes(int threads) {
    size_t most = 0;
    const int64_t last = images - images % std::max<int64_t>(size, 1);
    for (int64_t first : {int64_t{0}, last}) {
      if (first > 0 && first == images) continue;
      set(first);
      most = std::max(most, whole.bytes_(call, threads));
    }
    return most;
  }

  // Runs the blocks one after another: widens what the call reads, runs it, rounds its results or adds its
  // sums.
  void run(const OpenTeam& team, void* scratch) {
    int64_t first = 0;
    do {
      set(first);
      for_each([&](int i, const Place& p, const AnyView& v) {
        if (!floats[i] || p.writes) return;
        if (p.images) {
          widen(team, part(v, first), view(p));
        } else if (first == 0) {
          widen(team, v, view(p));
        }
      });
      whole.run_(call, team, scratch);
      team.barrier();
      const bool last = first + size >= images;
      for_each([&](int i, const Place& p, const AnyView& v) {
        if (!floats[i] || !p.writes) return;
        if (p.images) return round(team, view(p), part(v, first));
        AnyView sums = view(p);
        sums.data = reinterpret_cast<char*>(floats[i]);
        if (first > 0) add_floats(team, view(p), sums);
        if (last) round(team, sums, v);
      });
      first += size;
    } while (first < images);
  }
};

size_t ImageCall::workspace_bytes(int threads) const {
  Carver counts(nullptr);  // only counts bytes
  ImageBlock block(*this, counts);
  return counts.used() + block.bytes(threads);
}

void ImageCall::run(const Team& team, void* workspace) const {
  team.region(kNsPerElement * total_, [&](const OpenTeam& team) {
    Carver carver(workspace);
    ImageBlock block(*this, carver);
    block.run(team, static_cast<char*>(workspace) + carver.used());
  });
}

}  // namespace ranvier
