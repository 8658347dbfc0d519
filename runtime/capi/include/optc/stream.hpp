/// The stream on which LibTorch gives a CUDA device its work, as the driver knows it.
#pragma once

#include <optc/tensor.hpp>

#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace optc::detail {

template <typename Stream>
auto native(const Stream& stream, int) -> decltype(stream.native_handle()) {
  return stream.native_handle();
}

/// Older ones do not say what the driver calls a stream.
template <typename Stream>
void* native(const Stream&, long) {
  refuse("stream", "this LibTorch does not say which CUDA stream is current",
         "step where the default stream is current, or build with a later LibTorch");
}

/// The driver calls the default stream null.
inline void* current_stream(int32_t device) {
  const c10::Device place(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(device));
  const c10::impl::VirtualGuardImpl guard(place.type());
  const c10::Stream stream = guard.getStream(place);
  return stream == guard.getDefaultStream(place) ? nullptr : native(stream, 0);
}

}  // namespace optc::detail
