// Fusions: instructions that are merged into one, or replaced by kernels that do the work of several.
//
//   drop_repeated_checks  the same check of indices made twice
//   join_checks           checks of neighbouring values made as one
//   fuse_patterns         the work of two instructions by one
//   pack_weights          weights in the order in which the inner loops read them
//   drop_copies           results written to where they are copied
//
// All patterns are alike: another instruction (the producer) makes the input of an instruction, for it alone.
// The producer then does the work of both. Here the calls still point at the memory of the recording, and
// buffers hold its addresses.
#pragma once
#include <cstring>
#include <map>
#include <vector>

#include "program/program.h"

namespace ranvier {

// The instructions with what connects them. Indices stay valid: a removed instruction leaves a gap until the
// Graph is destroyed.
class Graph {
 public:
  Graph(std::vector<Instruction>& code, std::vector<Buffer>& buffers);
  ~Graph();  // closes the gaps, and appends what is prepared

  int size() const { return static_cast<int>(code_.size()); }
  // The call of instruction i, or null: i is -1, removed, another kind of call, or one on floats of 16 bits.
  template <class Call>
  Call* as(int i) {
    return i >= 0 && code_[i].type && !code_[i].has_halves() ? code_[i].as<Call>() : nullptr;
  }
  // The same of one on floats of 16 bits.
  template <class Call>
  Call* of_halves(int i) {
    return i >= 0 && code_[i].type && code_[i].has_halves() ? code_[i].as<Call>() : nullptr;
  }
  // f(i, call) for each instruction i that is one of these calls.
  template <class... Calls, class F>
  void each(F f) {
    const auto take = [&](int i, auto* call) { return call && (f(i, *call), true); };
    for (int i = 0; i < size(); ++i) (void)(take(i, as<Calls>(i)) || ...);
  }

  // The pattern: the instruction that makes x for instruction i alone, or -1. x is a whole temporary, nothing
  // else reads it, and what i makes could be made as early, since nothing before i uses that memory.
  template <class T>
  int producer(const TensorView<T>& x, int i) const {
    return is_whole(x) ? producer_of_buffer(buffer(x), i) : -1;
  }

  // The buffer that a view points into.
  template <class T>
  int buffer(const TensorView<T>& v) const {
    return find(v.data);
  }
  template <class T>
  bool is_temporary(const TensorView<T>& v) const {
    return is_temporary_buffer(buffer(v));
  }
  // True if it follows from watched memory alone.
  template <class T>
  bool is_fixed(const TensorView<T>& v) const {
    return buffer(v) >= 0 && fixed_[buffer(v)];
  }
  // True if all that an instruction reads and makes follows from watched memory alone.
  bool makes_fixed(int i) const;
  // True if a view is all of its buffer, without gaps.
  template <class T>
  bool is_whole(const TensorView<T>& v) const {
    const int b = buffer(v);
    return b >= 0 && buffers_[b].address == reinterpret_cast<const char*>(v.data) &&
           buffers_[b].bytes == static_cast<size_t>(numel(v) * item_of(v));
  }
  int writer(int buffer) const;                // the only instruction that writes it, or -1
  std::vector<int> readers(int buffer) const;  // in order
  template <class T>
  bool is_read(const TensorView<T>& v) const {
    return !readers(buffer(v)).empty();
  }
  // True if an instruction after i, and before end, writes it.
  bool written_between(int buffer, int i, int end) const;
  bool written_after(int buffer, int i) const { return written_between(buffer, i, size()); }

  // True if no instruction from `first` to before `end` uses memory of v, or can end the run.
  template <class T>
  bool is_untouched(const TensorView<T>& v, int first, int end) const {
    return is_untouched(reinterpret_cast<const AnyView&>(v), sizeof(T), first, end);
  }

  // Points a dense view at a new temporary.
  template <class T>
  void allocate(TensorView<T>& v) {
    v.data = reinterpret_cast<T*>(new_temporary(numel(v) * sizeof(T)));
  }
  // After a call was changed: `with` is the instruction that was merged into it. later: whether i now makes
  // what `with` made, and is compared with that.
  void merged(int i, int with, bool later = true);
  // Instruction i becomes another call, and keeps its origin.
  template <class Call>
  void replace(int i, const Call& call) {
    code_[i].fused.push_back(code_[i].type->name);
    set_call(code_[i], call);
  }
  void find_uses(int i) { find_uses(code_[i]); }
  // Instructions that read a buffer read other memory instead, which has the same values in the same layout.
  void redirect(int buffer, const void* data);
  // A new instruction on fixed buffers, for instruction i: it comes before all that is not prepared, and so
  // after an i that is (`makes_fixed`).
  template <class Call>
  void prepare(int i, const Call& call) {
    Instruction in{};
    in.place = code_[i].place, in.record = -1, in.prepared = true;
    set_call(in, call);
    for (const Use& use : in.uses) fixed_[use.region] = true;
    ahead_.push_back(std::move(in));
  }
  void drop_copies();    // see fuse_copies.cpp
  void mark_prepared();  // the instructions whose results are fixed

 private:
  template <class Call>
  void set_call(Instruction& in, const Call& call) const {
    in.type = &call_type<Call>();
    in.call.resize(sizeof call);
    std::memcpy(in.call.data(), &call, sizeof call);
    find_uses(in);
  }
  bool is_temporary_buffer(int buffer) const {
    return buffer >= 0 && buffers_[buffer].role == Role::temporary;
  }
  int producer_of_buffer(int buffer, int i) const;
  bool is_untouched(const AnyView& v, int64_t item, int first, int end) const;
  bool uses_bytes(int buffer, Extent bytes, int after, int before, bool writes) const;
  template <class T>
  bool can_write_in_place(int copy, const TensorView<const T>& x, const TensorView<T>& y) const;
  char* new_temporary(size_t bytes);
  void find_uses(Instruction& in) const;
  void find_fixed();
  int find(const void* p) const;
  // One entry for each use of a buffer that `test` takes, in instructions begin to end - 1.
  template <class Test>
  std::vector<int> users(int buffer, int begin, int end, Test test) const;
  std::vector<Instruction>& code_;
  std::vector<Buffer>& buffers_;
  std::vector<Instruction> ahead_;
  std::vector<bool> fixed_;              // by buffer
  std::vector<std::vector<int>> users_;  // by buffer, in order: of drop_copies()
  std::map<const char*, int> by_address_;
  char* next_ = reinterpret_cast<char*>(uintptr_t{1} << 56);  // addresses that are never in use
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

void fuse_patterns(Graph& graph);
void pack_weights(Graph& graph, int team);

void fuse(std::vector<Instruction>& instructions, std::vector<Buffer>& buffers, int team);

}  // namespace ranvier
