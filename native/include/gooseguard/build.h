// What the library was built with: one line for a bug report.
#pragma once

#include <string>

namespace gooseguard {

// Give compiler, version and C++ standard, such as "GCC 12.2.0, C++20".
std::string describe_build();

}  // namespace gooseguard
