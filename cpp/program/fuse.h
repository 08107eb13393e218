// Fusions: passes over a new program that drop instructions, or merge several into one. No pass changes a bit
// of the results. fuse() runs them in this order:
//
//   drop_repeated_checks  drops a check that repeats an earlier one
//   join_checks           makes one check of several on neighbouring values
//   fuse_patterns         merges an instruction into the one that makes its input
//   pack_weights          packs weights once, in the order in which the inner loops read them
//   drop_copies           lets results be written where they would be copied
//
// In all patterns of fuse_patterns an instruction i has an input that another instruction, its producer,
// makes for i alone. The producer then does the work of both, and i is removed. During the passes the calls
// still point at the memory of the recording, and the buffers hold the addresses of that memory.
#pragma once
#include <cstring>
#include <map>
#include <vector>

#include "program/program.h"

namespace ranvier {

// The instructions of a program, and which of them read or write a buffer. An instruction is named by its
// index. Indices stay valid: a removed instruction stays as a gap (its `type` is null) until the Graph is
// destroyed.
class Graph {
 public:
  Graph(std::vector<Instruction>& code, std::vector<Buffer>& buffers);
  ~Graph();  // erases the gaps, and appends the instructions that prepare() has made

  int size() const { return static_cast<int>(code_.size()); }
  // The call of instruction i; null if i is -1, removed, of another kind, or works on arrays of float16 or
  // bfloat16.
  template <class Call>
  Call* as(int i) {
    if (i < 0 || !code_[i].type || code_[i].has_halves()) return nullptr;
    return code_[i].as<Call>();
  }
  // The same for an instruction that works on arrays of float16 or bfloat16.
  template <class Call>
  Call* of_halves(int i) {
    if (i < 0 || !code_[i].type || !code_[i].has_halves()) return nullptr;
    return code_[i].as<Call>();
  }
  // f(i, call) for each instruction i that is one of these calls.
  template <class... Calls, class F>
  void each(F f) {
    for (int i = 0; i < size(); ++i) {
      const bool found = (call_if<Calls>(i, f) || ...);
      (void)found;
    }
  }

  // The producer: the instruction that makes x for instruction i alone; -1 if there is none. x is then a
  // whole temporary that nothing but i reads, and the results of i could be written as early as x, since
  // nothing before i uses their memory.
  template <class T>
  int producer(const TensorView<T>& x, int i) const {
    if (!is_whole(x)) return -1;
    return producer_of_buffer(buffer(x), i);
  }

  // The index of the buffer into which a view points, or -1.
  template <class T>
  int buffer(const TensorView<T>& v) const {
    return find(v.data);
  }
  template <class T>
  bool is_temporary(const TensorView<T>& v) const {
    return is_temporary_buffer(buffer(v));
  }
  // True if the values depend on watched memory (Buffer::watched) alone: then they are equal in all runs
  // until renew().
  template <class T>
  bool is_fixed(const TensorView<T>& v) const {
    return buffer(v) >= 0 && fixed_[buffer(v)];
  }
  // True if all buffers that instruction i reads and writes are fixed in this sense, and those it writes are
  // temporaries.
  bool makes_fixed(int i) const;
  // True if a view begins where its buffer begins, and its elements are as many bytes as the buffer has.
  template <class T>
  bool is_whole(const TensorView<T>& v) const {
    const int b = buffer(v);
    return b >= 0 && buffers_[b].address == reinterpret_cast<const char*>(v.data) &&
           buffers_[b].bytes == static_cast<size_t>(numel(v) * item_of(v));
  }
  int writer(int buffer) const;                // the instruction that alone writes it, with one view; else -1
  std::vector<int> readers(int buffer) const;  // the instructions that read it, in order
  template <class T>
  bool is_read(const TensorView<T>& v) const {
    return !readers(buffer(v)).empty();
  }
  // True if an instruction after i and before `end` writes to the buffer.
  bool written_between(int buffer, int i, int end) const;
  bool written_after(int buffer, int i) const { return written_between(buffer, i, size()); }

  // True if no instruction in [first, end) uses the memory of v, and none after `first` is a check, which may
  // end the run.
  template <class T>
  bool is_untouched(const TensorView<T>& v, int first, int end) const {
    return is_untouched(reinterpret_cast<const AnyView&>(v), sizeof(T), first, end);
  }

  // Makes a new temporary buffer, and points the contiguous view v at it.
  template <class T>
  void allocate(TensorView<T>& v) {
    v.data = reinterpret_cast<T*>(new_temporary(numel(v) * sizeof(T)));
  }
  // To be called after the call of instruction i was changed to do the work of `with`, too: removes `with`.
  // later: i now makes the results of `with` (Instruction::record).
  void merged(int i, int with, bool later = true);
  // Instruction i becomes another call, and keeps its place and its number in the recording.
  template <class Call>
  void replace(int i, const Call& call) {
    code_[i].fused.push_back(code_[i].type->name);
    set_call(code_[i], call);
  }
  void find_uses(int i) { find_uses(code_[i]); }
  // Points all instructions that read a buffer at other memory, which has the same values in the same layout.
  void redirect(int buffer, const void* data);
  // Adds a prepared instruction, which computes fixed values for instruction i. It will run before all
  // instructions that are not prepared, and after all others that are. So i must not be prepared itself
  // (makes_fixed).
  template <class Call>
  void prepare(int i, const Call& call) {
    Instruction in{};
    in.place = code_[i].place;
    in.record = -1;
    in.prepared = true;
    set_call(in, call);
    for (const Use& use : in.uses) fixed_[use.region] = true;
    ahead_.push_back(std::move(in));
  }
  void drop_copies();    // see fuse_copies.cpp
  void mark_prepared();  // sets Instruction::prepared where makes_fixed()

 private:
  // Calls f(i, call) if instruction i is a Call; returns whether it is.
  template <class Call, class F>
  bool call_if(int i, F& f) {
    Call* const call = as<Call>(i);
    if (!call) return false;
    f(i, *call);
    return true;
  }
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
  // The instructions in [begin, end) that use the buffer with a view for which test(view) is true; an
  // instruction with two such views is listed twice.
  template <class Test>
  std::vector<int> users(int buffer, int begin, int end, Test test) const;
  std::vector<Instruction>& code_;
  std::vector<Buffer>& buffers_;
  std::vector<Instruction> ahead_;  // made by prepare()
  std::vector<bool> fixed_;         // by buffer, see is_fixed()
  // By buffer: the instructions that use it, in order; for drop_copies()
  std::vector<std::vector<int>> users_;
  std::map<const char*, int> by_address_;  // buffer by its first byte
  // The address of the next new temporary. It has no memory yet, and x86-64 has no memory of a process at
  // 2^56.
  char* next_ = reinterpret_cast<char*>(uintptr_t{1} << 56);
};

// True if shapes are equal, and the strides of all dimensions of more than one element.
template <class A, class B>
bool same_layout(const TensorView<A>& a, const TensorView<B>& b) {
  if (a.ndim != b.ndim) return false;
  for (int d = 0; d < a.ndim; ++d)
    if (a.shape[d] != b.shape[d] || (a.shape[d] > 1 && a.strides[d] != b.strides[d])) return false;
  return true;
}

// The view v, pointed at other memory.
template <class T, class U>
TensorView<T> at(const TensorView<T>& v, U* data) {
  TensorView<T> moved = v;
  moved.data = data;
  return moved;
}

void fuse_patterns(Graph& graph);           // see fuse_patterns.cpp
void pack_weights(Graph& graph, int team);  // see pack_weights.cpp

// Runs all passes. team: the threads for which weights are packed.
void fuse(std::vector<Instruction>& instructions, std::vector<Buffer>& buffers, int team);

}  // namespace ranvier
