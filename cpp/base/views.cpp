// Lists the views of a kernel call: see views.h.
#include "base/views.h"

namespace ranvier {

void ViewList::note(const void* view, uint16_t item, char type, bool reads, bool writes) {
  if (!static_cast<const AnyView*>(view)->data) return;
  const size_t at = static_cast<const char*>(view) - call_;
  const bool inside = at < size_;  // false for a copy of a view, which a program could not redirect
  const uint32_t position = inside ? static_cast<uint32_t>(at) : kNotInside;
  if (reads) found_.push_back({position, item, type, false});
  if (writes) found_.push_back({position, item, type, true});
}

}  // namespace ranvier
