// What the library throws. The bindings turn each into the class of the same name in gooseguard.core.errors;
// there, and here, a message says what was found, where, what was expected and what to do, and repeats no content.
#pragma once

#include <stdexcept>

namespace gooseguard {

class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// An option or a setting is wrong.
class ConfigError : public Error {
 public:
  using Error::Error;
};

// An input is wrong.
class DataError : public Error {
 public:
  using Error::Error;
};

// A file is incomplete, altered or of a newer format.
class ArtefactError : public Error {
 public:
  using Error::Error;
};

// One content cannot be judged.
class ContentError : public Error {
 public:
  using Error::Error;
};

// The engine cannot run what it was asked to.
class EngineError : public Error {
 public:
  using Error::Error;
};

}  // namespace gooseguard
