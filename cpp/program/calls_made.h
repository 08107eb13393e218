// Which kernels a thread has called: a check (check.h) compares the calls of an eager run that is not
// recorded with those of the recorded run, by a number.
#pragma once
#include <cstdint>

namespace ranvier {

// From now on calls_made() is about the calls that follow.
void begin_calls();
// A checksum of the kinds of kernel calls that this thread has made since begin_calls(), in their order.
uint64_t calls_made();

}  // namespace ranvier
