#include "program/fuse.h"

namespace ranvier {

void fuse(std::vector<Instruction>&, const std::vector<Buffer>&) {}

}  // namespace ranvier
