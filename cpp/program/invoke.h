// The one boundary through which every kernel is called.
//
// A kernel call is a plain, trivially copyable struct. It has views, attributes, optionally
// `workspace_bytes(threads)`, and what RANVIER_CALL (base/views.h) declares: `run(team, workspace)`, and
// `buffers(list)`, which names the views that the call reads and writes. A recording needs no more to keep a
// call and replay it.
#pragma once
#include <type_traits>

#include "program/recording.h"

namespace ranvier {

template <class Call>
const CallType& type_of(const Call&) {
  static_assert(std::is_trivially_copyable_v<Call>, "a recording keeps calls as bytes");
  return call_type<Call>();
}

// Runs the call on the process's team of threads. Throws std::bad_alloc if there is no memory for the
// workspace, and Interrupted after a signal handler has raised an exception.
void invoke(const CallType& type, const void* call);

// All kinds of call share the function above: an instance of it for each kind would be no faster, and adds
// 300 bytes.
template <class Call>
void invoke(const Call& call) {
  invoke(type_of(call), &call);
}

}  // namespace ranvier
