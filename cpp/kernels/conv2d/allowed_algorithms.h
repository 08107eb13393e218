// Which algorithms of convolutions are allowed: a setting of the process, which calls read when they are
// made.
#pragma once
#include "kernels/conv2d/conv2d.h"

namespace ranvier {

// All algorithms that nobody has turned off, `medium` among them.
ConvAlgorithms allowed_algorithms();
void allow_algorithm(ConvAlgorithm algorithm, bool allowed);

}  // namespace ranvier
