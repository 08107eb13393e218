// Whether operations are recorded on the tape: a switch for each thread, of python/ranvier/autograd/mode.py.
#pragma once

namespace ranvier::bind {

bool is_grad_enabled();  // in this thread
void set_grad_enabled(bool on);

}  // namespace ranvier::bind
