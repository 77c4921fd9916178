// What a bug report says of the build.
#include "check.h"
#include "gooseguard/build.h"

int main() {
  const std::string build = gooseguard::describe_build();
  CHECK(build.find("C++20") != std::string::npos);
  CHECK(build.find("unknown") == std::string::npos);
  return 0;
}
