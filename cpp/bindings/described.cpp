#include "bindings/described.h"

#include <pybind11/stl.h>

namespace ranvier::bind {

namespace py = pybind11;

namespace {

// In the order of Role.
constexpr const char* kRoles[] = {"persistent", "argument", "output", "temporary", "prepared"};
const char* role_name(Role role) { return kRoles[static_cast<int>(role)]; }

// (buffer, its role, whether it is written, element type, shape, byte in the buffer) of each view.
py::list described_views(const Program& program, const Instruction& instruction) {
  py::list views;
  for (const Use& use : instruction.uses) {
    const AnyView& v = *reinterpret_cast<const AnyView*>(instruction.call.get() + use.view.position);
    py::tuple shape(v.ndim);
    for (int d = 0; d < v.ndim; ++d) shape[d] = v.shape[d];
    views.append(py::make_tuple(use.region, role_name(program.buffers()[use.region].role), use.view.write,
                                std::string(1, use.view.type), shape, use.offset));
  }
  return views;
}

}  // namespace

py::list described_instructions(const Program& program) {
  py::list all;
  for (const Instruction& i : program.instructions()) {
    py::dict d;
    d["name"] = i.type->name;
    d["place"] = i.place < 0 ? std::string() : program.places()[i.place];
    d["record"] = i.record;
    d["solo"] = i.solo;
    d["team_ns"] = i.team_ns;
    d["solo_ns"] = i.solo_ns;
    d["views"] = described_views(program, i);
    d["fused"] = py::cast(i.fused);
    d["prepared"] = i.prepared;
    all.append(d);
  }
  return all;
}

py::list described_buffers(const Program& program) {
  py::list all;
  for (const Buffer& b : program.buffers()) {
    py::dict d;
    d["role"] = role_name(b.role);
    d["bytes"] = b.bytes;
    d["address"] = reinterpret_cast<uintptr_t>(b.address);
    d["number"] = b.number;
    d["first"] = b.first, d["last"] = b.last;
    d["offset"] = b.offset;
    all.append(d);
  }
  return all;
}

py::dict described_memory(const Program& program) {
  const ProgramMemory m = program.memory();
  py::dict d;
  d["arena"] = m.arena, d["workspace"] = m.workspace, d["persistent"] = m.persistent;
  d["prepared"] = m.prepared, d["made"] = m.made, d["eager"] = m.eager;
  return d;
}

}  // namespace ranvier::bind
