// What calls of modules ask of public functions.
#pragma once

namespace ranvier::bind {

bool modes_are_asked();  // whether this thread is in a block whose mode is asked about calls

}  // namespace ranvier::bind
