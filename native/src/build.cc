#include "gooseguard/build.h"

namespace gooseguard {

std::string describe_build() {
#if defined(__clang__)
  std::string compiler = "Clang " + std::to_string(__clang_major__) + "." + std::to_string(__clang_minor__) + "." +
                         std::to_string(__clang_patchlevel__);
#elif defined(__GNUC__)
  std::string compiler = "GCC " + std::to_string(__GNUC__) + "." + std::to_string(__GNUC_MINOR__) + "." +
                         std::to_string(__GNUC_PATCHLEVEL__);
#elif defined(_MSC_VER)
  std::string compiler = "MSVC " + std::to_string(_MSC_VER);
#else
  std::string compiler = "unknown compiler";
#endif
  return compiler + ", C++20";
}

}  // namespace gooseguard
