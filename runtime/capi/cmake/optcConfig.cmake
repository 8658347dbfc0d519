# find_package(optc) finds the C library as optc::optc and optc::static, and the C++ headers over LibTorch as
# optc::torch, which is there when LibTorch is: its folder is in CMAKE_PREFIX_PATH.
get_filename_component(optc_root "${CMAKE_CURRENT_LIST_DIR}/../../.." ABSOLUTE)
find_package(Threads REQUIRED)

if(NOT TARGET optc::optc)
  add_library(optc::optc SHARED IMPORTED)
  set_target_properties(optc::optc PROPERTIES
    IMPORTED_LOCATION "${optc_root}/lib/liboptc.so"
    IMPORTED_SONAME "liboptc.so"
    INTERFACE_INCLUDE_DIRECTORIES "${optc_root}/include")
endif()

if(NOT TARGET optc::static AND EXISTS "${optc_root}/lib/liboptc.a")
  add_library(optc::static STATIC IMPORTED)
  set_target_properties(optc::static PROPERTIES
    IMPORTED_LOCATION "${optc_root}/lib/liboptc.a"
    INTERFACE_INCLUDE_DIRECTORIES "${optc_root}/include"
    INTERFACE_LINK_LIBRARIES "Threads::Threads;${CMAKE_DL_LIBS};m")
endif()

# After find_package(Torch), its targets. Otherwise headers and libraries are found without it: the package of a LibTorch
# with CUDA insists on a CUDA toolkit, which a program that only runs on LibTorch does not need.
if(NOT TARGET optc::torch)
  if(TARGET torch)
    set(optc_torch_libraries ${TORCH_LIBRARIES})
    set(optc_torch_includes ${TORCH_INCLUDE_DIRS})
  else()
    find_path(optc_TORCH_INCLUDE torch/csrc/api/include/torch/torch.h)
    find_library(optc_TORCH torch)
    find_library(optc_TORCH_CPU torch_cpu)
    find_library(optc_C10 c10)
    set(optc_torch_libraries ${optc_TORCH} ${optc_TORCH_CPU} ${optc_C10})
    set(optc_torch_includes ${optc_TORCH_INCLUDE} ${optc_TORCH_INCLUDE}/torch/csrc/api/include)
  endif()
  if(TARGET torch OR (optc_TORCH_INCLUDE AND optc_TORCH AND optc_TORCH_CPU AND optc_C10))
    add_library(optc::torch INTERFACE IMPORTED)
    set_target_properties(optc::torch PROPERTIES
      INTERFACE_INCLUDE_DIRECTORIES "${optc_torch_includes}"
      INTERFACE_LINK_LIBRARIES "optc::optc;${optc_torch_libraries}"
      INTERFACE_COMPILE_FEATURES cxx_std_17)
    set(optc_torch_FOUND TRUE)
  endif()
endif()

if(optc_FIND_REQUIRED_torch AND NOT TARGET optc::torch)
  set(optc_FOUND FALSE)
  set(optc_NOT_FOUND_MESSAGE "LibTorch was not found: add its folder to CMAKE_PREFIX_PATH")
endif()
unset(optc_root)
