// Fusions: instructions that are merged into one, or replaced by a kernel that does the work of several.
#pragma once
#include <vector>

#include "program/program.h"

namespace ranvier {

void fuse(std::vector<Instruction>& instructions, const std::vector<Buffer>& buffers);

}  // namespace ranvier
