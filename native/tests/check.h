// The one thing the native tests need: a condition that ends the program with its place when it does not hold.
#pragma once

#include <cstdio>
#include <cstdlib>

#define CHECK(condition)                                                                  \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      std::fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                                       \
    }                                                                                     \
  } while (false)

// That `expression` throws `Type`.
#define CHECK_THROWS(expression, Type)                                                              \
  do {                                                                                              \
    bool has_thrown = false;                                                                        \
    try {                                                                                           \
      static_cast<void>(expression);                                                                \
    } catch (const Type&) {                                                                         \
      has_thrown = true;                                                                            \
    }                                                                                               \
    if (!has_thrown) {                                                                              \
      std::fprintf(stderr, "%s:%d: does not throw %s: %s\n", __FILE__, __LINE__, #Type, #expression); \
      std::exit(1);                                                                                 \
    }                                                                                               \
  } while (false)
