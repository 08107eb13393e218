// The one boundary through which every kernel is called.
//
// A kernel call is a plain, trivially copyable struct: views, attributes, `workspace_bytes(threads)`, and
// what RANVIER_CALL (base/views.h) declares: `run(team, workspace)`, and `buffers(visitor)`, which names what
// it reads and writes. That is all a recording needs to keep a call and replay it.
#pragma once
#include <type_traits>

#include "program/recording.h"

namespace ranvier {

template <class Call>
const CallType& type_of(const Call&) {
  static_assert(std::is_trivially_copyable_v<Call>, "a recording keeps calls as bytes");
  return call_type<Call>();
}

void invoke(const CallType& type, const void* call);

// A function of its own for each kind of call is no faster, and larger by 300 bytes.
template <class Call>
void invoke(const Call& call) {
  invoke(type_of(call), &call);
}

}  // namespace ranvier
