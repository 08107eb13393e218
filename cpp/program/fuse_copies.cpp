// The pass drop_copies (fuse.h): drops a copy of a whole temporary into other memory, as a concatenation
// makes one of each part. The instructions that use the temporary then use the target of the copy instead.
#include <algorithm>

#include "kernels/copy/copy.h"
#include "program/fuse.h"

namespace ranvier {
namespace {

// True if the elements lie one after another in C order.
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

// True if an instruction later than `after` and earlier than `before` uses these bytes of the buffer. writes:
// only instructions that write them count.
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

// Instruction `copy` copies x to y. True if the instructions that use x can use the memory of y instead,
// without a copy:
// - x is all of a temporary buffer, and x and y have the same order of elements in memory, without gaps;
// - the buffer of y is memory that the program fills (temporary, output or kept gradient), and neither buffer
//   is fixed;
// - all writes to x come before the copy, and no check writes its result there (Instruction::guard);
// - from the first use of x to the copy, nothing else uses the bytes of y, which have the values of x then;
// - from the copy to the last use of x, nothing writes the bytes of y. The last reader of x must not write
//   them, either: a product that overwrites its own operand would give a wrong result.
template <class T>
bool Graph::can_write_in_place(int copy, const TensorView<const T>& x, const TensorView<T>& y) const {
  const int from = buffer(x);
  const int to = buffer(y);
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
  const bool free_before = !uses_bytes(to, bytes, users.front() - 1, copy, /*writes=*/false);
  return free_before && !uses_bytes(to, bytes, copy, users.back() + 1, /*writes=*/true);
}

void Graph::drop_copies() {
  users_.assign(buffers_.size(), {});
  for (int i = 0; i < size(); ++i)
    if (code_[i].type)
      for (const Use& use : code_[i].uses)
        if (users_[use.region].empty() || users_[use.region].back() != i) users_[use.region].push_back(i);
  each<Copy<float>, Copy<double>>([&](int i, auto& copy) {
    if (!can_write_in_place(i, copy.x, copy.y)) return;
    const int from = buffer(copy.x);
    const int to = buffer(copy.y);
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
    std::vector<int> users;  // of both buffers: a later copy may have `to` as its source
    std::set_union(users_[from].begin(), users_[from].end(), users_[to].begin(), users_[to].end(),
                   std::back_inserter(users));
    users.erase(std::remove(users.begin(), users.end(), i), users.end());
    users_[to] = std::move(users);
    users_[from].clear();
  });
}

}  // namespace ranvier
