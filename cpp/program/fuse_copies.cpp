// Copies of whole temporaries into other memory, as of the parts of a concatenation, which are left out: what
// makes the temporary writes where the copy would have put it.
#include <algorithm>

#include "kernels/copy/copy.h"
#include "program/fuse.h"

namespace ranvier {
namespace {

template <class T>
bool is_dense(const TensorView<T>& v) {
  int64_t stride = 1;
  for (int d = v.ndim - 1; d >= 0; --d) {
    if (v.shape[d] > 1 && v.strides[d] != stride) return false;
    stride *= v.shape[d];
  }
  return true;
}

}  // namespace

// True if one of the instructions in (after, before), of those that use the buffer, uses these bytes of it;
// writes: only those that write them.
bool Graph::uses_bytes(int buffer, Extent bytes, int after, int before, bool writes) const {
  const std::vector<int>& users = users_[buffer];
  for (auto i = std::upper_bound(users.begin(), users.end(), after); i != users.end() && *i < before; ++i) {
    if (!code_[*i].type) continue;
    for (const Use& use : code_[*i].uses) {
      if (use.region != buffer || (writes && !use.view.write)) continue;
      if (code_[*i].reach(use).meets(bytes)) return true;
    }
  }
  return false;
}

// Instruction `copy` copies x, which is a whole temporary, to y. True if what makes x can write to y itself:
// - the program makes y, and no memory is fixed in its place (`fixed_`);
// - all writes to x come before the copy, and none is the number that a check of values writes (`guard`);
// - nothing uses the bytes of y from the first use of x to the copy: x is there already;
// - nothing writes them from the copy to the last use of x, which reads them in place of x. The last reader
//   must not, either: a product that writes over its own operand would be wrong.
template <class T>
bool Graph::can_write_in_place(int copy, const TensorView<const T>& x, const TensorView<T>& y) const {
  const int from = buffer(x), to = buffer(y);
  if (from < 0 || to < 0 || from == to || !is_whole(x) || !is_dense(x) || !is_dense(y)) return false;
  const Buffer& target = buffers_[to];
  const bool made = target.role == Role::temporary || target.role == Role::output || target.kept >= 0;
  if (!made || !is_temporary_buffer(from) || fixed_[from] || fixed_[to]) return false;
  const std::vector<int>& users = users_[from];
  for (int i : users)
    for (const Use& use : code_[i].uses)
      if (use.region == from && use.view.write && (i >= copy || code_[i].guard)) return false;
  const int64_t begin = reinterpret_cast<const char*>(y.data) - target.address;
  const Extent bytes{begin, begin + numel(y) * static_cast<int64_t>(sizeof(T))};
  return !uses_bytes(to, bytes, users.front() - 1, copy, false) &&
         !uses_bytes(to, bytes, copy, users.back() + 1, true);
}

void Graph::drop_copies() {
  users_.assign(buffers_.size(), {});
  for (int i = 0; i < size(); ++i)
    if (code_[i].type)
      for (const Use& use : code_[i].uses)
        if (users_[use.region].empty() || users_[use.region].back() != i) users_[use.region].push_back(i);
  each<Copy<float>, Copy<double>>([&](int i, auto& copy) {
    if (!can_write_in_place(i, copy.x, copy.y)) return;
    const int from = buffer(copy.x), to = buffer(copy.y);
    char* const data = reinterpret_cast<char*>(copy.y.data);
    const int record = code_[i].record;  // results are complete when this recorded call is done
    code_[i].type = nullptr;
    for (int user : users_[from]) {
      if (user == i) continue;
      Instruction& in = code_[user];
      for (const Use& use : in.uses) {
        if (use.region != from) continue;
        in.view(use).data = data + use.offset;
        if (use.view.write) in.record = std::max(in.record, record);
      }
      find_uses(in);
    }
    std::vector<int> users;
    std::set_union(users_[from].begin(), users_[from].end(), users_[to].begin(), users_[to].end(),
                   std::back_inserter(users));
    users.erase(std::remove(users.begin(), users.end(), i), users.end());  // `to` may be copied in turn
    users_[to] = std::move(users);
    users_[from].clear();
  });
}

}  // namespace ranvier
