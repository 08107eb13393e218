// The one boundary through which every kernel is called.
//
// A kernel call is a plain, trivially copyable struct: views, attributes, `workspace_bytes(threads)`, and
// what RANVIER_CALL (base/views.h) declares: `run(team, workspace)`, and `buffers(visitor)`, which names what
// it reads and writes. That is all a recording needs to keep a call and replay it.
#pragma once
#include <new>
#include <type_traits>

#include "base/allocator.h"
#include "base/fp_environment.h"
#include "base/parallel.h"
#include "program/recording.h"

namespace ranvier {

namespace detail {

template <class Call>
bool may_stop(const void* call) {
  return ranvier::may_stop(call_type<Call>(), call);
}

}  // namespace detail

template <class Call>
void invoke(const Call& call) {
  static_assert(std::is_trivially_copyable_v<Call>, "a recording keeps calls as bytes");
  if (__builtin_expect(t_recording != nullptr, false)) t_recording->record(call_type<Call>(), &call);
  StopSignal stop(detail::may_stop<Call>, &call);
  const Team team(num_threads(), &stop);
  const size_t bytes = detail::Scratch<Call>::bytes(call, team.threads());
  Workspace workspace(bytes);
  if (bytes && !workspace.data()) throw std::bad_alloc();
  FpEnvironment environment;
  call.run(team, workspace.data());
  if (__builtin_expect(stop.stopped(), false)) throw Interrupted();
}

}  // namespace ranvier
