// Fusions: instructions that are merged into one, or replaced by kernels that do the work of several.
//
//   fuse_scales       a batch norm by running statistics into the layer before it
//   fuse_activations  an activation, or its backward, into the matmul or conv2d that makes what it reads
//   fuse_pools        conv2d, ReLU and max-pool
//   fuse_norms        batch norm, ReLU and max-pool, forward and backward
//   pack_weights      weights in the order in which the inner loops read them
//
// Before it, the calls point at the memory of the recording; buffers hold its addresses.
#pragma once
#include <cstring>
#include <map>
#include <vector>

#include "kernels/pooling/axis.h"
#include "program/program.h"

namespace ranvier {

// The instructions with what connects them. Indices stay valid: what is removed leaves a gap until the end.
class Graph {
 public:
  Graph(std::vector<Instruction>& code, std::vector<Buffer>& buffers);
  ~Graph();  // closes the gaps, and appends what is prepared

  int size() const { return static_cast<int>(code_.size()); }
  Instruction& operator[](int i) { return code_[i]; }
  template <class Call>
  Call* as(int i) {
    return code_[i].type ? code_[i].as<Call>() : nullptr;
  }

  // The buffer that a view points into.
  template <class T>
  int buffer(const TensorView<T>& v) const {
    return find(v.data);
  }
  bool is_temporary(int buffer) const { return buffer >= 0 && buffers_[buffer].role == Role::temporary; }
  // Whether it follows from watched memory alone.
  bool is_fixed(int buffer) const { return buffer >= 0 && fixed_[buffer]; }
  int writer(int buffer) const;                // the only instruction that writes it, or -1
  std::vector<int> readers(int buffer) const;  // in order
  bool used_before(int buffer, int i) const;
  bool written_after(int buffer, int i) const { return written_between(buffer, i, size()); }
  bool written_between(int buffer, int i, int end) const;  // the two left out

  // Whether a view is all of its buffer, without gaps.
  template <class T>
  bool is_whole(const TensorView<T>& v) const {
    const int b = buffer(v);
    return b >= 0 && buffers_[b].address == reinterpret_cast<const char*>(v.data) &&
           buffers_[b].bytes == numel(v) * sizeof(T);
  }

  char* new_temporary(size_t bytes);
  void remove(int i) { code_[i].type = nullptr; }
  // After a call was changed: `with` is the instruction that was merged into it. later: whether i now makes
  // what `with` made, and is compared with that.
  void merged(int i, int with, bool later = true);
  // Another call in the place of instruction i, which keeps its origin.
  template <class Call>
  void replace(int i, const Call& call) {
    Instruction& in = code_[i];
    in.fused.push_back(in.type->name);
    in.type = &call_type<Call>();
    in.call = std::make_unique<char[]>(sizeof call);
    std::memcpy(in.call.get(), &call, sizeof call);
    find_uses(i);
  }
  void find_uses(int i);
  // What reads a buffer reads other memory instead, where the same values lie in the same layout.
  void redirect(int buffer, const void* data);
  // A new instruction on fixed buffers, for instruction i: it comes before all that is not prepared.
  template <class Call>
  void prepare(int i, const Call& call) {
    Instruction in{};
    in.type = &call_type<Call>();
    in.call = std::make_unique<char[]>(sizeof call);
    std::memcpy(in.call.get(), &call, sizeof call);
    in.place = code_[i].place, in.record = -1, in.prepared = true;
    find_uses(in);
    ahead_.push_back(std::move(in));
    for (const Use& use : ahead_.back().uses) fixed_[use.region] = true;
  }
  void mark_prepared();  // the instructions whose results are fixed

 private:
  void find_uses(Instruction& in) const;
  void find_fixed();
  int find(const void* p) const;
  std::vector<Instruction>& code_;
  std::vector<Buffer>& buffers_;
  std::vector<Instruction> ahead_;
  std::vector<bool> fixed_;  // by buffer
  std::map<const char*, int> by_address_;
  char* next_ = reinterpret_cast<char*>(uintptr_t{1} << 56);  // addresses that nobody has
};

template <class A, class B>
bool same_layout(const TensorView<A>& a, const TensorView<B>& b) {
  if (a.ndim != b.ndim) return false;
  for (int d = 0; d < a.ndim; ++d)
    if (a.shape[d] != b.shape[d] || (a.shape[d] > 1 && a.strides[d] != b.strides[d])) return false;
  return true;
}

// v at other memory.
template <class T, class U>
TensorView<T> at(const TensorView<T>& v, U* data) {
  TensorView<T> moved = v;
  moved.data = data;
  return moved;
}

// Windows that neither overlap nor reach beyond the image.
bool side_by_side(const PoolAxis& a);
// Whether dy is the gradient behind a ReLU whose result is y.
bool is_masked_by(Graph& graph, const TensorView<const float>& dy, const TensorView<float>& y);

void fuse_scales(Graph& graph);
void fuse_activations(Graph& graph);
void fuse_pools(Graph& graph);
void fuse_norms(Graph& graph);
void pack_weights(Graph& graph, int team);

void fuse(std::vector<Instruction>& instructions, std::vector<Buffer>& buffers, int team);

}  // namespace ranvier
