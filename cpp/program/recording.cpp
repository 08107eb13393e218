// The functions of a Recording (see recording.h), and which bytes a call reads and writes.
#include "program/recording.h"

#include <cstring>
#include <new>
#include <utility>

namespace ranvier {

__thread Recording* t_recording = nullptr;

Extent extent(const AnyView& v, int64_t item) {
  Extent e{0, item};
  for (int d = 0; d < v.ndim; ++d) {
    if (v.shape[d] == 0) return {0, 0};
    const int64_t reach = (v.shape[d] - 1) * v.strides[d] * item;
    if (reach < 0) {
      e.low += reach;
    } else {
      e.high += reach;
    }
  }
  return e;
}

// The views of a call. Kernels are compiled without exception tables, so no exception may pass through a
// call's buffers(). So enough memory is reserved before: buffers() then only appends and allocates nothing.
static std::vector<View> views_of(const CallType& type, const void* call) {
  std::vector<View> views;
  views.reserve(2 * (type.size / sizeof(AnyView) + 1));  // two entries for a view that is read and written
  type.views(call, views);
  return views;
}

// This is called within regions of OpenMP, which no exception may leave. Without memory the answer is false.
bool may_stop(const CallType& type, const void* call) try {
  const std::vector<View> views = views_of(type, call);
  const auto bytes = [&](const View& view) {
    const AnyView& v = *reinterpret_cast<const AnyView*>(static_cast<const char*>(call) + view.position);
    const Extent e = extent(v, view.item);
    return std::pair<const char*, const char*>(v.data + e.low, v.data + e.high);
  };
  if (type.finishes) return false;
  for (const View& w : views) {
    if (w.position == kNotInside) return false;
    for (const View& r : views) {
      if (!w.write || r.write) continue;
      const auto [first, last] = bytes(w);
      const auto [begin, end] = bytes(r);
      if (first < end && begin < last) return false;
    }
  }
  return true;
} catch (const std::bad_alloc&) {
  return false;
}

// A region of 0 bytes is found by its first address.
int Recording::find(const void* p) const {
  const char* at = static_cast<const char*>(p);
  auto it = by_begin_.upper_bound(at);
  if (it == by_begin_.begin()) return -1;
  const int index = (--it)->second;
  const Region& r = regions[index];
  return at < r.begin + r.bytes || at == r.begin ? index : -1;
}

int Recording::note(void* begin, size_t bytes, RegionKind kind, int argument) {
  const auto found = by_begin_.find(static_cast<char*>(begin));
  if (found != by_begin_.end() && regions[found->second].bytes >= bytes) return found->second;
  regions.push_back({static_cast<char*>(begin), bytes, kind, argument});
  return by_begin_[static_cast<char*>(begin)] = static_cast<int>(regions.size()) - 1;
}

int64_t* Recording::cell() {
  cells.push_back(std::make_unique<int64_t>(0));
  note(cells.back().get(), sizeof(int64_t), RegionKind::persistent);
  return cells.back().get();
}

void Recording::record(const CallType& type, const void* call) try {
  const char* bytes = static_cast<const char*>(call);
  Record r{&type, {bytes, bytes + type.size}, {}, static_cast<int>(places.size()) - 1};
  type.clear_padding(r.call.data());
  add_uses(r);
  records.push_back(std::move(r));
} catch (const std::bad_alloc&) {
  fault = "out of memory";  // a short string, which needs no memory
  throw;
}

// Notes why the calls cannot be replayed, unless an earlier reason is known.
void Recording::blame(const Record& r, const char* what) {
  if (!fault.empty()) return;
  fault = r.type->name;
  if (r.place >= 0) fault += " (" + places[r.place] + ")";
  fault += std::string(" ") + what;
}

// Finds the region of each view of the call, and notes why a replay is impossible, if it is.
void Recording::add_uses(Record& r) {
  for (const View& view : views_of(*r.type, r.call.data())) {
    if (view.position == kNotInside) {
      blame(r, "names memory outside its call");
      continue;
    }
    const AnyView& v = r.view({view, 0, 0});
    const Extent reach = extent(v, view.item);
    const int index = find(v.data + reach.low);
    if (reach.low == reach.high) continue;  // nothing is read or written
    if (index < 0 || v.data + reach.high > regions[index].begin + regions[index].bytes) {
      blame(r, "uses memory of no array that it was given");
      continue;
    }
    Region& region = regions[index];
    if (!view.write && region.kind == RegionKind::foreign)
      blame(
          r,
          "reads an array that NumPy made inside the step, which a replay would not make again: make it "
          "before the step or with rv.arange, rv.zeros, rv.rand ..., pass it as an argument, or wrap a true "
          "constant in rv.constant");
    if (!view.write && region.kind == RegionKind::temporary && !region.written)
      blame(r, "reads an array that was filled outside the core");
    if (view.write && region.kind == RegionKind::argument)
      blame(r, "writes to an argument, which belongs to the caller: change a clone() of it");
    region.written |= view.write;
    r.uses.push_back({view, index, v.data - region.begin});
  }
}

}  // namespace ranvier
