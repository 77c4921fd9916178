# Every C++ file of the project. One that is not here is not built.

# The library. No file here may use instructions that an old processor lacks; those are below.
set(GOOSEGUARD_SOURCES
    src/build.cc
    src/cluster.cc
    src/engine.cc
    src/fold.cc
    src/heads.cc
    src/kernels/dispatch.cc
    src/kernels/scalar.cc
    src/model/backbone.cc
    src/model/pass.cc
    src/model/rwkv6.cc
    src/model/rwkv7.cc
    src/model/weights.cc
    src/ngram_tables.cc
    src/normalizer.cc
    src/pieces.cc
    src/text_scorer.cc
    src/tokenizer.cc
    src/unicode.cc
    src/world.cc)

# The Python module: src/gooseguard/_native.pyi is its typed surface.
set(GOOSEGUARD_BINDINGS
    bindings/engine.cc
    bindings/heads.cc
    bindings/module.cc
    bindings/ngrams.cc
    bindings/text.cc
    bindings/text_scorer.cc
    bindings/world.cc)

# tests/NAME.cc: one program a file, run by CTest; also under the sanitizers.
set(GOOSEGUARD_TESTS_LIST
    test_build
    test_engine
    test_heads
    test_kernels
    test_ngram_tables
    test_text
    test_world)

# tests/NAME.cc: libFuzzer targets.
set(GOOSEGUARD_FUZZ_LIST
    fuzz_tensors
    fuzz_text
    fuzz_world)

# bench/NAME.cc: one program a file.
set(GOOSEGUARD_BENCH_LIST
    bench_engine)

# Kernels of one instruction set: file, then its flags. Only these get any, so that the rest runs everywhere;
# src/kernels/dispatch.cc chooses at run time. Files that are not there yet are passed over.
set(GOOSEGUARD_X86_KERNELS avx2 avx2vnni avx512)
set(GOOSEGUARD_ARM_KERNELS neon)
if(MSVC)
  # avx512.cc is assembly in the form of GCC and Clang; Windows runs the AVX2 kernels.
  list(REMOVE_ITEM GOOSEGUARD_X86_KERNELS avx512)
  set(GOOSEGUARD_FLAGS_avx2 /arch:AVX2)
  set(GOOSEGUARD_FLAGS_avx2vnni /arch:AVX2 /D__AVXVNNI__=1)
  set(GOOSEGUARD_FLAGS_neon)
else()
  set(GOOSEGUARD_FLAGS_avx2 -mavx2 -mfma -mf16c)
  set(GOOSEGUARD_FLAGS_avx2vnni -mavx2 -mfma -mf16c -mavxvnni)
  set(GOOSEGUARD_FLAGS_avx512 -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni -mavx512bf16)
  # Every 64-bit ARM has NEON.
  set(GOOSEGUARD_FLAGS_neon)
endif()

# Add the kernels of this processor family to the library, each file with its own flags.
function(gooseguard_isa_flags)
  set(processor "${CMAKE_SYSTEM_PROCESSOR}")
  if(CMAKE_OSX_ARCHITECTURES)
    set(processor "${CMAKE_OSX_ARCHITECTURES}")
  endif()
  if(processor MATCHES "^(x86_64|AMD64|amd64)$")
    set(kernels ${GOOSEGUARD_X86_KERNELS})
  elseif(processor MATCHES "^(aarch64|arm64|ARM64)$")
    set(kernels ${GOOSEGUARD_ARM_KERNELS})
  endif()
  foreach(name IN LISTS kernels)
    set(file "${CMAKE_CURRENT_SOURCE_DIR}/src/kernels/${name}.cc")
    if(EXISTS "${file}")
      target_sources(gooseguard_native PRIVATE "${file}")
      set_source_files_properties("${file}" PROPERTIES COMPILE_OPTIONS "${GOOSEGUARD_FLAGS_${name}}")
      string(TOUPPER "GOOSEGUARD_HAS_${name}" macro)
      target_compile_definitions(gooseguard_native PRIVATE ${macro}=1)
    endif()
  endforeach()
endfunction()
