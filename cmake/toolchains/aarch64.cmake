# Cross-compiles for aarch64 with Debian's g++-aarch64-linux-gnu. RANVIER_ARM_ROOT: a folder with arm64's Python and
# NumPy, which .ci/aarch64 makes.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES RANVIER_ARM_ROOT)

# The interpreter is the build machine's, of the same version; headers and the module's suffix are arm64's.
set(Python_INCLUDE_DIR ${RANVIER_ARM_ROOT}/usr/include/python3.11)
set(Python_NumPy_INCLUDE_DIR ${RANVIER_ARM_ROOT}/site/numpy/_core/include)
set(CMAKE_CXX_FLAGS_INIT "-idirafter ${RANVIER_ARM_ROOT}/usr/include")  # Debian's pyconfig.h
set(PYTHON_MODULE_EXTENSION .cpython-311-aarch64-linux-gnu.so)
