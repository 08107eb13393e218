// A program as Python objects: lists and dicts for Program.explain and the pictures.
#pragma once
#include <pybind11/pytypes.h>

#include "program/program.h"

namespace ranvier::bind {

pybind11::list described_instructions(const Program& program);
pybind11::list described_buffers(const Program& program);
pybind11::dict described_memory(const Program& program);

}  // namespace ranvier::bind
