// One cluster, a base with its marks, to its normal form.
#pragma once

#include <string>

namespace gooseguard {

// Put `cluster` into its final form, words aside. `parts` and `composed` are room for the work.
void normalize_cluster(std::u32string& cluster, std::u32string& parts, std::u32string& composed);

}  // namespace gooseguard
