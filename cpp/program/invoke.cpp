// Runs a kernel call (see invoke.h): notes it in the thread's recording, if there is one, makes a team and a
// workspace, calls run(), and reports whether a signal has ended it early.
#include "program/invoke.h"

#include <cstdint>
#include <new>

#include "base/allocator.h"
#include "base/fp_environment.h"
#include "base/parallel.h"
#include "program/calls_made.h"
#include "program/recording.h"

namespace ranvier {
namespace {

// A call with its type, for the callback of StopSignal.
struct TypedCall {
  const CallType& type;
  const void* call;
};

thread_local uint64_t t_calls = 0;

// Mixes a kind of call into the checksum t_calls, by a one-to-one function of the kind.
void count(const CallType& type) {
  constexpr uint64_t kOdd = 0x9E3779B97F4A7C15u;  // 2^64 / golden ratio, odd: a product with it can be undone
  const uint64_t mixed = (t_calls ^ reinterpret_cast<uintptr_t>(&type)) * kOdd;
  t_calls = mixed ^ mixed >> 32;
}

}  // namespace

void begin_calls() { t_calls = 0; }

uint64_t calls_made() { return t_calls; }

void invoke(const CallType& type, const void* call) {
  if (__builtin_expect(t_recording != nullptr, false)) t_recording->record(type, call);
  count(type);
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
