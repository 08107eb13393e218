# What the build needs. An error says how to install what is missing.

include(CheckLanguage)
check_language(CXX)
if(NOT CMAKE_CXX_COMPILER)
  message(FATAL_ERROR "ranvier needs a C++ compiler, and none was found. Install one:\n"
    "  Debian, Ubuntu:  sudo apt install g++\n"
    "  Fedora, RHEL:    sudo dnf install gcc-c++\n"
    "  conda:           conda install gxx\n"
    "  macOS:           xcode-select --install, and brew install libomp\n"
    "  Windows:         Visual Studio's C++ tools, LLVM, and set CXX=clang++\n"
    "then repeat the command. If the variables CC or CXX are set, they must name installed compilers. "
    "A wheel needs no compiler: pip install --only-binary ranvier ranvier")
endif()
enable_language(CXX)
if(NOT CMAKE_CXX_COMPILER_ID MATCHES "^(GNU|Clang|AppleClang)$" OR CMAKE_CXX_COMPILER_FRONTEND_VARIANT STREQUAL "MSVC")
  message(FATAL_ERROR "ranvier uses GCC's vector types, which ${CMAKE_CXX_COMPILER} does not have, or takes options for in "
    "another form. Use g++ or clang++. On Windows: install LLVM, then set CXX=clang++ and CMAKE_GENERATOR=Ninja.")
endif()
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()

if(APPLE AND NOT OpenMP_ROOT AND NOT DEFINED ENV{OpenMP_ROOT})  # Apple's Clang has no OpenMP runtime: Homebrew's
  execute_process(COMMAND brew --prefix libomp OUTPUT_VARIABLE OpenMP_ROOT OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
find_package(OpenMP QUIET COMPONENTS CXX)
if(NOT OpenMP_CXX_FOUND)
  message(FATAL_ERROR "ranvier needs OpenMP, which ${CMAKE_CXX_COMPILER} does not have. Install it:\n"
    "  g++ has it:              sudo apt install g++, and set CXX=g++\n"
    "  clang on Debian, Ubuntu: sudo apt install libomp-dev\n"
    "  conda:                   conda install gxx\n"
    "  macOS:                   brew install libomp\n"
    "then repeat the command.")
endif()

find_package(Python COMPONENTS Interpreter Development.Module NumPy)
if(NOT Python_FOUND)
  message(FATAL_ERROR "ranvier needs NumPy and the header files of Python for ${Python_EXECUTABLE}. Install what is missing:\n"
    "  Debian, Ubuntu:  sudo apt install python3-dev\n"
    "  Fedora, RHEL:    sudo dnf install python3-devel\n"
    "  NumPy:           pip install numpy\n"
    "then repeat the command.")
endif()
find_package(pybind11 3.0 CONFIG QUIET)
if(NOT pybind11_FOUND)  # a plain `cmake` call: ask the interpreter where pip put it
  execute_process(COMMAND ${Python_EXECUTABLE} -m pybind11 --cmakedir OUTPUT_VARIABLE pybind11_ROOT
    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  find_package(pybind11 3.0 CONFIG REQUIRED)
endif()
