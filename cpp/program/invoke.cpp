// Runs a kernel call (see invoke.h): notes it in the thread's recording, if there is one, makes a team and a
// workspace, calls run(), and reports whether a signal has ended it early.
#include "program/invoke.h"

#include <new>

#include "base/allocator.h"
#include "base/fp_environment.h"
#include "base/parallel.h"
#include "program/recording.h"

namespace ranvier {
namespace {

// A call with its type, for the callback of StopSignal.
struct TypedCall {
  const CallType& type;
  const void* call;
};

}  // namespace

void invoke(const CallType& type, const void* call) {
  if (__builtin_expect(t_recording != nullptr, false)) t_recording->record(type, call);
  const TypedCall typed{type, call};
  const auto may_end = [](const void* x) {
    const auto* of = static_cast<const TypedCall*>(x);
    return may_stop(of->type, of->call);
  };
  StopSignal stop(may_end, &typed);
  const Team team(num_threads(), &stop);
  const size_t bytes = type.workspace_bytes(call, team.threads());
  Workspace workspace(bytes);
  if (bytes && !workspace.data()) throw std::bad_alloc();
  FpEnvironment environment;
  type.run(call, team, workspace.data());
  if (__builtin_expect(stop.stopped(), false)) throw Interrupted();
}

}  // namespace ranvier
