/// An optimizer in a LibTorch archive: what `torch::save` writes and `torch::load` reads is the file of `save`, as one
/// tensor of bytes.
#pragma once

#include <optc/error.hpp>
#include <optc/handle.hpp>
#include <optc/optc.h>
#include <optc/tensor.hpp>

#include <torch/serialize.h>
#include <torch/types.h>

#include <cstring>

namespace optc::detail {

inline void write(torch::serialize::OutputArchive& archive, const Bound& bound) {
  optc_bytes* made = nullptr;
  check(optc_save_bytes(bound.get(), &made));
  const Bytes bytes(made);
  const void* data = nullptr;
  size_t size = 0;
  check(optc_bytes_get(bytes.get(), &data, &size));
  auto tensor = torch::empty({static_cast<int64_t>(size)}, torch::kByte);
  std::memcpy(tensor.data_ptr(), data, size);
  archive.write("optc", tensor);
}

/// What an archive holds, if it fits.
inline Checkpoint read(torch::serialize::InputArchive& archive, const Bound& bound) {
  torch::Tensor tensor;
  if (!archive.try_read("optc", tensor) || tensor.scalar_type() != torch::kByte || !tensor.is_contiguous()) {
    refuse("archive", "the archive is not of an optimizer of optc", "load what `torch::save` wrote for one");
  }
  optc_checkpoint* checkpoint = nullptr;
  const auto size = static_cast<size_t>(tensor.numel());
  check(optc_checkpoint_read_bytes(bound.get(), "the archive", tensor.data_ptr(), size, &checkpoint));
  return Checkpoint(checkpoint);
}

}  // namespace optc::detail
