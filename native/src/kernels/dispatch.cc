// Which instruction sets this build has and this CPU can run.
#include <cstring>
#include <initializer_list>

#include "tables.h"

#if defined(GOOSEGUARD_HAS_AVX2) || defined(GOOSEGUARD_HAS_AVX512)
#if defined(_MSC_VER)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#define GOOSEGUARD_ASKS_CPUID 1
#endif

namespace gooseguard::kernels {
namespace {

bool always() { return true; }

#if defined(GOOSEGUARD_ASKS_CPUID)
// Source: Intel, "Software Developer's Manual", volume 2, CPUID, for the bits; AMD uses the same.
struct Cpuid {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;

  Cpuid(unsigned leaf, unsigned subleaf) {
#if defined(_MSC_VER)
    int registers[4];
    __cpuidex(registers, 0, 0);
    if (static_cast<unsigned>(registers[0]) >= leaf) {
      __cpuidex(registers, static_cast<int>(leaf), static_cast<int>(subleaf));
      eax = static_cast<unsigned>(registers[0]);
      ebx = static_cast<unsigned>(registers[1]);
      ecx = static_cast<unsigned>(registers[2]);
      edx = static_cast<unsigned>(registers[3]);
    }
#else
    if (__get_cpuid_count(leaf, subleaf, &eax, &ebx, &ecx, &edx) == 0) {
      eax = ebx = ecx = edx = 0;
    }
#endif
  }
};

bool has_all(unsigned value, std::initializer_list<unsigned> bits) {
  for (const unsigned bit : bits) {
    if ((value >> bit & 1U) == 0) {
      return false;
    }
  }
  return true;
}

// Which registers the system saves: 0x6 are those of AVX, 0xE6 those of AVX-512.
bool is_saved(unsigned wanted) {
  if (!has_all(Cpuid(1, 0).ecx, {27})) {
    return false;
  }
#if defined(_MSC_VER)
  const auto saved = static_cast<unsigned>(_xgetbv(0));
#else
  unsigned saved = 0, upper = 0;
  __asm__("xgetbv" : "=a"(saved), "=d"(upper) : "c"(0));
#endif
  return (saved & wanted) == wanted;
}

bool has_avx2() {
  return is_saved(0x6) && has_all(Cpuid(1, 0).ecx, {12, 28, 29}) && has_all(Cpuid(7, 0).ebx, {5});
}
bool has_avx2vnni() { return has_avx2() && has_all(Cpuid(7, 1).eax, {4}); }
bool has_avx512() {
  // F, DQ, BW, VL; VNNI; BF16.
  return has_avx2() && is_saved(0xE6) && has_all(Cpuid(7, 0).ebx, {16, 17, 30, 31}) &&
         has_all(Cpuid(7, 0).ecx, {11}) && has_all(Cpuid(7, 1).eax, {5});
}
#endif

struct Entry {
  const char* name;
  const Kernels& (*table)();
  bool (*is_there)();
};

constexpr Entry kEntries[] = {
#if defined(GOOSEGUARD_HAS_AVX512)
    {"avx512", avx512, has_avx512},
#endif
#if defined(GOOSEGUARD_HAS_AVX2VNNI)
    {"avx2vnni", avx2vnni, has_avx2vnni},
#endif
#if defined(GOOSEGUARD_HAS_AVX2)
    {"avx2", avx2, has_avx2},
#endif
#if defined(GOOSEGUARD_HAS_NEON)
    {"neon", neon, always},
#endif
    {"scalar", scalar, always},
};

}  // namespace

const Kernels* find(const char* name) {
  for (const Entry& entry : kEntries) {
    if ((*name == '\0' || std::strcmp(name, entry.name) == 0) && entry.is_there()) {
      return &entry.table();
    }
  }
  return nullptr;
}

int n_names() { return static_cast<int>(sizeof(kEntries) / sizeof(kEntries[0])); }

const char* name_of(int i) { return kEntries[i].name; }

}  // namespace gooseguard::kernels
