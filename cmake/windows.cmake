# Windows: clang++ (not clang-cl) with Microsoft's libraries. GCC does not align AVX vectors on the stack there.

# The C++ runtime is linked into the module, since Python does not bring it.
set(CMAKE_MSVC_RUNTIME_LIBRARY MultiThreaded)

# Links what Clang leaves to Microsoft's linker, and puts LLVM's OpenMP runtime beside the module.
function(ranvier_link_windows module)
  get_filename_component(bin ${CMAKE_CXX_COMPILER} DIRECTORY)
  # 128-bit integers and the query of the CPU
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-resource-dir OUTPUT_VARIABLE resources
    OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  find_library(RANVIER_BUILTINS NAMES clang_rt.builtins-x86_64 clang_rt.builtins REQUIRED NO_DEFAULT_PATH
    PATHS ${resources}/lib/windows ${resources}/lib/x86_64-pc-windows-msvc)
  target_link_libraries(${module} PRIVATE ${RANVIER_BUILTINS})
  find_file(RANVIER_OPENMP_DLL libomp.dll REQUIRED NO_DEFAULT_PATH PATHS ${bin})
  add_custom_command(TARGET ${module} POST_BUILD
    COMMAND ${CMAKE_COMMAND} -E copy_if_different ${RANVIER_OPENMP_DLL} $<TARGET_FILE_DIR:${module}>)
  install(FILES ${RANVIER_OPENMP_DLL} DESTINATION ranvier)
endfunction()
