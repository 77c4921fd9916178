// Parts of a model that read their tensors where they lie, with the arrays whose memory that is.
#pragma once

#include <memory>

#include "gooseguard/engine.h"
#include "gooseguard/ngram_tables.h"
#include "tensors.h"

namespace gooseguard::bindings {

struct HeldBackbone {
  HeldTensors tensors;
  std::unique_ptr<Backbone> backbone;
};

struct HeldNgrams {
  HeldTensors tensors;
  NgramTables tables;
};

}  // namespace gooseguard::bindings
