// SPDX-License-Identifier: MIT
#include "rndfast/env/env_settings.hpp"

namespace rndfast {
namespace {

template <typename T>
std::string text_of(const NumberField<T>& field, const EnvSettings& settings, const Game&) {
  return std::to_string(settings.*field.member);
}

std::string text_of(const SwitchField& field, const EnvSettings& settings, const Game&) {
  return std::to_string(static_cast<int>(settings.*field.member));
}

template <typename T>
std::string text_of(const ChoiceField<T, T>& field, const EnvSettings& settings, const Game&) {
  return std::to_string(settings.*field.member);
}

template <typename T>
std::string text_of(const ChoiceField<std::optional<T>, T>& field, const EnvSettings& settings, const Game& game) {
  return std::to_string((settings.*field.member).value_or((game.*field.choices).front()));
}

std::string text_of(const AutoresetField& field, const EnvSettings& settings, const Game&) {
  return std::string(kAutoresetNames[static_cast<std::size_t>(settings.*field.member)]);
}

}  // namespace

std::string describe_settings(const EnvSettings& settings, const Game& game) {
  std::string text;
  for_each_setting([&](const auto& field) {
    if (field.in_snapshot == InSnapshot::kYes) {
      text += std::string(", ") + field.name + " " + text_of(field, settings, game);
    }
  });
  return text;
}

}  // namespace rndfast
