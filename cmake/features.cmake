# What was found on this machine, one line each. Nothing here is required but jansson, utf8proc and
# libm.

option(LVSA_OPENMP "use OpenMP threads" ON)
option(LVSA_ONEDNN "multiply and convolve through oneDNN" ON)
set(LVSA_CUDA AUTO CACHE STRING "build the CUDA module: AUTO (where nvcc is found), ON or OFF")
set_property(CACHE LVSA_CUDA PROPERTY STRINGS AUTO ON OFF)
set(LVSA_CUDA_CODE
    "-gencode=arch=compute_80,code=[compute_80,sm_80];-gencode=arch=compute_89,code=sm_89;-gencode=arch=compute_90a,code=sm_90a"
    CACHE STRING "nvcc's -gencode options of kernels for every card, a list")
set(LVSA_FLASHINFER_DIR "" CACHE PATH "FlashInfer's include folder: builds its back end's module")
set(LVSA_CUTLASS_DIR "" CACHE PATH "CUTLASS's folder, for the FlashInfer module")
set(LVSA_CCCL_DIR "" CACHE PATH "CCCL's folder, newer than CUDA 13.0's, for the FlashInfer module")
set(LVSA_CUDNN_FRONTEND_DIR "" CACHE PATH
    "cudnn-frontend's include folder: builds the module of back end sdpa on GPUs")
set(LVSA_CUDNN_DIR "" CACHE PATH "cuDNN 9's include folder, where it isn't with CUDA's")
option(LVSA_LIBAV "build the libav module, which writes .mp4 and .webm" ON)
option(LVSA_MPI "build the MPI module, by which processes work on one video" ON)
option(LVSA_PNG "write .png pictures through libpng" ON)
set(LVSA_SANITIZE "" CACHE STRING "sanitizers to build with, e.g. address,undefined")

function(report name text)
  string(LENGTH "${name}" length)
  math(EXPR pad "12 - ${length}")
  string(REPEAT " " ${pad} spaces)
  message(STATUS "lvsa: ${name}${spaces}${text}")
endfunction()

if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
  set(LVSA_X86_64 ON)
  report(cpu "x86-64: avx512, avx2 and generic kernels, chosen at run time")
else()
  report(cpu "${CMAKE_SYSTEM_PROCESSOR}: generic kernels")
endif()

# ---- flags that all of our own code is compiled with ------------------------------------------------

add_library(lvsa_flags INTERFACE)
target_compile_options(lvsa_flags INTERFACE -Wall -Wextra -Wpedantic -Wconversion -Wshadow
                                            -Wstrict-prototypes -Wmissing-prototypes)
# Products and sums may fuse into one instruction; nothing else about floating point is relaxed.
target_compile_options(lvsa_flags INTERFACE -ffp-contract=fast)
target_compile_definitions(lvsa_flags INTERFACE _POSIX_C_SOURCE=200809L)
if(LVSA_WERROR)
  target_compile_options(lvsa_flags INTERFACE -Werror)
endif()
if(LVSA_SANITIZE)
  target_compile_options(lvsa_flags INTERFACE -fsanitize=${LVSA_SANITIZE} -fno-sanitize-recover=all
                                              -fno-omit-frame-pointer)
  target_link_options(lvsa_flags INTERFACE -fsanitize=${LVSA_SANITIZE})
  report(sanitizer "${LVSA_SANITIZE}")
endif()

# ---- libraries ------------------------------------------------------------------------------------
# What was found stays found in a folder that is configured again: an option counts beside it.

add_library(lvsa_features INTERFACE)         # what the library is built with
add_library(lvsa_program_features INTERFACE) # what the program needs besides
# What is linked, by name: for the installed package files, which hold on other machines.
set(LVSA_LINK_LIBRARIES m ${CMAKE_DL_LIBS})
target_link_libraries(lvsa_features INTERFACE m ${CMAKE_DL_LIBS})

find_package(PkgConfig REQUIRED)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson>=2.10)
target_link_libraries(lvsa_features INTERFACE PkgConfig::JANSSON)
target_link_libraries(lvsa_program_features INTERFACE PkgConfig::JANSSON)
list(APPEND LVSA_LINK_LIBRARIES ${JANSSON_LIBRARIES})
report(jansson "found ${JANSSON_VERSION}")

pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
target_link_libraries(lvsa_features INTERFACE PkgConfig::UTF8PROC)
list(APPEND LVSA_LINK_LIBRARIES ${UTF8PROC_LIBRARIES})
report(utf8proc "found ${UTF8PROC_VERSION}")

if(LVSA_OPENMP)
  find_package(OpenMP COMPONENTS C QUIET)
endif()
if(LVSA_OPENMP AND OpenMP_C_FOUND)
  target_link_libraries(lvsa_features INTERFACE OpenMP::OpenMP_C)
  list(APPEND LVSA_LINK_LIBRARIES ${OpenMP_C_LIB_NAMES})
  target_compile_definitions(lvsa_features INTERFACE LVSA_HAVE_OPENMP="${OpenMP_C_VERSION}")
  report(openmp "found ${OpenMP_C_VERSION}")
else()
  report(openmp "off: one thread a call (the compiler's OpenMP library is missing)")
endif()

# Not by its own CMake files: those want OpenCL's headers, which nothing here needs.
if(LVSA_ONEDNN)
  find_path(DNNL_INCLUDE_DIR oneapi/dnnl/dnnl_version.h)
  find_library(DNNL_LIBRARY dnnl)
endif()
if(LVSA_ONEDNN AND DNNL_INCLUDE_DIR AND DNNL_LIBRARY)
  file(STRINGS ${DNNL_INCLUDE_DIR}/oneapi/dnnl/dnnl_version.h lines REGEX "define DNNL_VERSION_[MP]")
  string(REGEX REPLACE "[^0-9;]" "" DNNL_VERSION "${lines}")
  string(REPLACE ";" "." DNNL_VERSION "${DNNL_VERSION}")
endif()
if(DNNL_VERSION AND DNNL_VERSION VERSION_LESS 3)
  set(LVSA_HAVE_ONEDNN ON)
  target_include_directories(lvsa_features INTERFACE ${DNNL_INCLUDE_DIR})
  target_link_libraries(lvsa_features INTERFACE ${DNNL_LIBRARY})
  target_compile_definitions(lvsa_features INTERFACE LVSA_HAVE_ONEDNN="${DNNL_VERSION}")
  list(APPEND LVSA_LINK_LIBRARIES dnnl)
  report(onednn "found ${DNNL_VERSION}")
elseif(DNNL_VERSION)
  report(onednn "off: version 2 is wanted, ${DNNL_VERSION} was found; models run several times slower")
else()
  report(onednn "off: models run several times slower (install libdnnl-dev)")
endif()

if(LVSA_PNG)
  pkg_check_modules(PNG QUIET IMPORTED_TARGET libpng>=1.6)
endif()
if(LVSA_PNG AND PNG_FOUND)
  set(LVSA_HAVE_PNG ON)
  foreach(features lvsa_features lvsa_program_features)
    target_link_libraries(${features} INTERFACE PkgConfig::PNG)
    target_compile_definitions(${features} INTERFACE LVSA_HAVE_PNG)
  endforeach()
  list(APPEND LVSA_LINK_LIBRARIES ${PNG_LIBRARIES})
  report(png "found ${PNG_VERSION}")
else()
  report(png "off: no .png pictures (install libpng-dev)")
endif()

# FFmpeg 4.4 and newer.
if(LVSA_LIBAV)
  pkg_check_modules(LIBAV QUIET IMPORTED_TARGET libavformat>=58.76 libavcodec>=58.134 libavutil>=56.70)
endif()
if(LVSA_LIBAV AND LIBAV_FOUND)
  set(LVSA_HAVE_LIBAV ON)
  report(libav "found libavformat ${LIBAV_libavformat_VERSION}")
else()
  report(libav "off: no .mp4 and .webm (install libavformat-dev and libavcodec-dev)")
endif()

if(LVSA_CUDA)
  include(CheckLanguage)
  check_language(CUDA)
endif()
if(LVSA_CUDA AND CMAKE_CUDA_COMPILER)
  enable_language(CUDA)
  find_package(CUDAToolkit QUIET)
  # 12.5: the driver's functions by version, cudaGetDriverEntryPointByVersion().
  if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS 12.5)
    set(cuda_reason "CUDA ${CMAKE_CUDA_COMPILER_VERSION} was found, 12.5 is wanted")
  elseif(NOT TARGET CUDA::cublasLt)
    set(cuda_reason "nvcc was found, cuBLAS isn't there")
  else()
    set(LVSA_HAVE_CUDA ON)
    report(cuda "found ${CMAKE_CUDA_COMPILER_VERSION}")
  endif()
elseif(LVSA_CUDA)
  set(cuda_reason "no nvcc on PATH or in CUDACXX")
else()
  set(cuda_reason "LVSA_CUDA=OFF")
endif()
if(NOT LVSA_HAVE_CUDA)
  if(LVSA_CUDA STREQUAL ON)
    message(FATAL_ERROR "lvsa: LVSA_CUDA=ON, but ${cuda_reason}; install CUDA 12.5 or newer, or "
                        "leave LVSA_CUDA at AUTO")
  endif()
  report(cuda "off: ${cuda_reason}")
endif()

# Other people's attention, each a module of its own; only where its folders are named.
if(LVSA_HAVE_CUDA AND LVSA_FLASHINFER_DIR AND LVSA_CUTLASS_DIR AND LVSA_CCCL_DIR)
  foreach(file ${LVSA_FLASHINFER_DIR}/flashinfer/attention/hopper/prefill_sm90.cuh
               ${LVSA_CUTLASS_DIR}/include/cutlass/cutlass.h
               ${LVSA_CCCL_DIR}/libcudacxx/include/cuda/cmath)
    if(NOT EXISTS ${file})
      message(FATAL_ERROR "lvsa: ${file} isn't there: LVSA_FLASHINFER_DIR is FlashInfer's include "
                          "folder, LVSA_CUTLASS_DIR and LVSA_CCCL_DIR those projects' folders")
    endif()
  endforeach()
  set(LVSA_HAVE_FLASHINFER ON)
  report(flashinfer "in ${LVSA_FLASHINFER_DIR}")
elseif(LVSA_FLASHINFER_DIR)
  message(FATAL_ERROR "lvsa: LVSA_FLASHINFER_DIR wants LVSA_CUTLASS_DIR, LVSA_CCCL_DIR and CUDA as well")
else()
  report(flashinfer "off: back end flashinfer isn't built (LVSA_FLASHINFER_DIR)")
endif()

if(LVSA_HAVE_CUDA AND LVSA_CUDNN_FRONTEND_DIR)
  find_path(CUDNN_INCLUDE_DIR cudnn_version.h
            HINTS ${LVSA_CUDNN_DIR} ${CUDAToolkit_INCLUDE_DIRS} NO_CACHE)
  if(NOT EXISTS ${LVSA_CUDNN_FRONTEND_DIR}/cudnn_frontend.h OR NOT CUDNN_INCLUDE_DIR)
    message(FATAL_ERROR "lvsa: no cudnn_frontend.h in ${LVSA_CUDNN_FRONTEND_DIR}, or no "
                        "cudnn_version.h: LVSA_CUDNN_FRONTEND_DIR is cudnn-frontend's include "
                        "folder, LVSA_CUDNN_DIR cuDNN's")
  endif()
  set(LVSA_HAVE_CUDNN ON)
  report(cudnn "in ${CUDNN_INCLUDE_DIR}")
else()
  report(cudnn "off: back end sdpa on GPUs isn't built (LVSA_CUDNN_FRONTEND_DIR)")
endif()

if(LVSA_MPI)
  find_package(MPI QUIET COMPONENTS C)
endif()
if(LVSA_MPI AND MPI_C_FOUND)
  set(LVSA_HAVE_MPI ON)
  report(mpi "found MPI ${MPI_C_VERSION}")
else()
  report(mpi "off: one process a video (install libopenmpi-dev)")
endif()
