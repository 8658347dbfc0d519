/// The C++ front under test; the Rust tests beside it say what to run and judge what comes out.
///
///     front behaviour FOLDER ABI PULLED  everything that LibTorch's tools expect; FOLDER is for files, ABI an artifact of
///                                        another one, PULLED the rule whose entries are run
///     front golden CASES RESULTS         steps recorded runs
///     front device ARTIFACT FOLDER       steps on devices that are not there
///     front continue FROM TO             reads the bits of weights, steps on from a checkpoint, writes one and the new bits
#include <optc/torch.hpp>

#include "host_cuda.hpp"

#include <torch/torch.h>

#include <dlfcn.h>

#include <cstring>
#include <fstream>
#include <functional>
#include <iomanip>
#include <iostream>
#include <string>

#define EXPECT(condition)                                                             \
  do {                                                                               \
    if (!(condition)) throw std::runtime_error(std::to_string(__LINE__) + ": " #condition); \
  } while (0)

static void fails(const std::string& code, const std::function<void()>& wrong) {
  try {
    wrong();
  } catch (const optc::Error& error) {
    const bool rendered = error.rendered().find(code) != std::string::npos;
    if (error.code() == code && rendered && std::strlen(error.what()) > 0 && !error.help().empty()) return;
    throw std::runtime_error("expected " + code + ", found " + error.code() + ": " + error.what());
  }
  throw std::runtime_error("expected " + code);
}

static torch::nn::Linear layer() {
  torch::manual_seed(1);
  return torch::nn::Linear(3, 2);
}

static void fill_grads(torch::nn::Linear& model, double value) {
  for (auto& param : model->parameters()) param.mutable_grad() = torch::full_like(param, value);
}

static void differs_from_torch_by_rounding() {
  auto ours = layer(), theirs = layer();
  optc::Optimizer optimizer(ours->named_parameters(), "adamw", optc::Options(0.1));
  torch::optim::AdamW reference(theirs->parameters(), torch::optim::AdamWOptions(0.1));
  for (int step = 0; step < 5; ++step) {
    fill_grads(ours, 0.1 * step - 0.2), fill_grads(theirs, 0.1 * step - 0.2);
    optimizer.step(), reference.step();
  }
  EXPECT(torch::allclose(ours->weight, theirs->weight, 1e-5, 1e-6));
  EXPECT(optimizer.state_of(ours->weight)->step == 5);
  EXPECT(optimizer.state_of(ours->weight)->get("exp_avg").sizes() == ours->weight.sizes());
}

static void schedulers_set_the_learning_rate() {
  auto model = layer();
  optc::Optimizer optimizer(model->named_parameters(), "sgd", optc::Options(1.0),
                            {optc::Group("bias", optc::Options(2.0))});
  torch::optim::StepLR schedule(optimizer, 1, 0.5);
  EXPECT(optimizer.param_groups().size() == 2 && optimizer.options(1).get_lr() == 2.0);
  const auto before = model->weight.clone();
  optimizer.step();
  // LibTorch's schedulers change nothing when they are asked for the first time.
  schedule.step(), schedule.step();
  EXPECT(optimizer.options(0).get_lr() == 0.5 && optimizer.options(1).get_lr() == 1.0);
  fill_grads(model, 1.0);
  optimizer.step();
  EXPECT(torch::equal(model->weight, before - 0.5));
  torch::optim::ReduceLROnPlateauScheduler plateau(optimizer, torch::optim::ReduceLROnPlateauScheduler::min, 0.1f, 0);
  plateau.step(1.0f), plateau.step(1.0f);
  EXPECT(optimizer.options(0).get_lr() < 0.1);
}

static void closures_compute_the_loss_with_gradients() {
  auto model = layer();
  optc::Optimizer optimizer(model->named_parameters(), "sgd", optc::Options(0.1));
  const auto input = torch::ones({1, 3});
  const auto loss = [&] {
    optimizer.zero_grad();
    auto loss = model->forward(input).square().sum();
    loss.backward();
    return loss;
  };
  const auto first = optimizer.step(loss), second = optimizer.step(loss);
  EXPECT(second.item<float>() < first.item<float>());
  optimizer.zero_grad();
  EXPECT(!model->weight.grad().defined());
  const auto still = model->weight.clone();
  optimizer.step();
  EXPECT(torch::equal(model->weight, still));
}

static void archives_continue_bit_for_bit(const std::string& folder) {
  auto model = layer(), copy = layer();
  optc::Optimizer optimizer(model->named_parameters(), "adamw", optc::Options(0.1));
  optc::Optimizer loaded(copy->named_parameters(), "adamw");
  for (const bool archive : {true, false}) {
    fill_grads(model, 0.3);
    optimizer.step();
    torch::save(model, folder + "/model.pt"), torch::load(copy, folder + "/model.pt");
    if (archive) torch::save(optimizer, folder + "/optimizer.pt"), torch::load(loaded, folder + "/optimizer.pt");
    else optimizer.save(folder + "/optimizer.safetensors"), loaded.load(folder + "/optimizer.safetensors");
    EXPECT(loaded.options(0).get_lr() == 0.1);
    fill_grads(model, -0.7), fill_grads(copy, -0.7);
    optimizer.step(), loaded.step();
    EXPECT(torch::equal(model->weight, copy->weight) && torch::equal(model->bias, copy->bias));
    EXPECT(loaded.state_of(copy->weight)->step == optimizer.state_of(model->weight)->step);
  }
  optc::Optimizer other(copy->named_parameters(), "sgd");
  fails("opt::checkpoint::optimizer", [&] { torch::load(other, folder + "/optimizer.pt"); });
  fails("opt::torch::archive", [&] { torch::load(other, folder + "/model.pt"); });
  fails("opt::checkpoint::optimizer", [&] { other.load(folder + "/optimizer.safetensors"); });
}

static void files_of_an_earlier_version_are_migrated(const std::string& folder) {
  const std::string first = "optimizer Shown { hyper lr = 0.1 rule each(w: [...]) {"
                            "  state m = zeros_like(w)  m = lerp(m, grad, 0.5)  w -= lr * m } }";
  const std::string second = "optimizer Shown { hyper lr = 0.1 version \"2\" migrate from \"1\" { rename m -> exp_avg }"
                             "  rule each(w: [...]) {"
                             "  state exp_avg = zeros_like(w)  exp_avg = lerp(exp_avg, grad, 0.5)  w -= lr * exp_avg } }";
  auto model = layer();
  optc::Optimizer old(model->named_parameters(), first), now(model->named_parameters(), second);
  fill_grads(model, 0.5);
  old.step();
  old.save(folder + "/old.safetensors");
  EXPECT(now.load(folder + "/old.safetensors") == "Shown 1 -> 2: rename m -> exp_avg (2 times)");
  EXPECT(torch::equal(now.state_of(model->weight)->get("exp_avg"), old.state_of(model->weight)->get("m")));
  torch::save(old, folder + "/old.pt"), torch::load(now, folder + "/old.pt");
  EXPECT(torch::equal(now.state_of(model->weight)->get("exp_avg"), old.state_of(model->weight)->get("m")));
  now.save(folder + "/now.safetensors");
  EXPECT(now.load(folder + "/now.safetensors").empty());
  fails("opt::checkpoint::version", [&] { old.load(folder + "/now.safetensors"); });
}

static void groups_may_be_added_and_changed() {
  auto model = layer(), more = layer();
  optc::Optimizer optimizer({torch::optim::OptimizerParamGroup({model->weight})}, "sgd", optc::Options(1.0));
  model->weight.mutable_grad() = torch::ones_like(model->weight);
  optimizer.step();
  optimizer.add_param_group(torch::optim::OptimizerParamGroup({more->weight}, std::make_unique<optc::Options>(0.5)));
  more->weight.mutable_grad() = torch::ones_like(more->weight);
  const auto before = more->weight.clone();
  optimizer.step();
  EXPECT(torch::equal(more->weight, before - 0.5));
  EXPECT(optimizer.state_of(model->weight)->step == 2 && optimizer.state_of(more->weight)->step == 1);
}

static void groups_may_use_other_rules() {
  auto model = torch::nn::Sequential(torch::nn::Linear(8, 8), torch::nn::Linear(8, 8));
  optc::Optimizer optimizer(model->named_parameters(), "muon", optc::Options(0.02),
                            {optc::Group("bias", optc::Options(1e-3).use("adamw"))});
  for (auto& param : model->parameters()) param.mutable_grad() = torch::randn_like(param);
  optimizer.step();
  EXPECT(optimizer.state_of(model->named_parameters()["0.bias"])->get("exp_avg_sq").defined());
}

static void strides_are_free_and_autograd_notices() {
  auto param = torch::rand({4, 3}).t().contiguous().t().set_requires_grad(true);
  EXPECT(!param.is_contiguous());
  optc::Optimizer optimizer({param}, "sgd", optc::Options(1.0));
  const auto before = param.detach().clone();
  auto loss = (param * param).sum();
  param.mutable_grad() = torch::ones({1, 1}).expand({4, 3});
  optimizer.step();
  EXPECT(torch::allclose(param, before - 1.0));
  bool refused = false;
  try { loss.backward(); } catch (const c10::Error&) { refused = true; }
  EXPECT(refused);
}

static void entries_do_what_rules_say_beside_a_step(const std::string& folder, const std::string& pulled) {
  auto model = layer(), copy = layer();
  const auto weight = model->weight.detach().clone(), bias = model->bias.detach().clone();
  optc::Optimizer optimizer(model->named_parameters(), pulled), loaded(copy->named_parameters(), pulled);
  const auto loss = (model->weight * model->weight).sum();
  optimizer.run_entry("pull", optc::Inputs().number("by", 0.25).tensors("to", {{"weight", torch::ones({1, 1}).expand({2, 3})}}));
  EXPECT(torch::allclose(model->weight, torch::lerp(weight, torch::ones_like(weight), 0.25)));
  EXPECT(torch::equal(model->bias, bias));
  EXPECT(optimizer.state_of(model->bias) == nullptr && optimizer.state_of(model->weight)->step == 0);
  EXPECT(torch::equal(optimizer.state_of(model->weight)->get("old"), weight));
  bool refused = false;
  try { loss.backward(); } catch (const c10::Error&) { refused = true; }
  EXPECT(refused);
  for (const bool archive : {true, false}) {
    if (archive) torch::save(optimizer, folder + "/begun.pt"), torch::load(loaded, folder + "/begun.pt");
    else optimizer.save(folder + "/begun"), loaded.load(folder + "/begun");
    EXPECT(loaded.state_of(copy->bias) == nullptr && loaded.state_of(copy->weight)->step == 0);
    loaded.run_entry("back");
    EXPECT(torch::equal(copy->weight, weight));
  }
  const auto pull = [&](optc::Inputs inputs) { return [&optimizer, inputs] { optimizer.run_entry("pull", inputs); }; };
  const auto to = [](torch::Tensor tensor) { return optc::Inputs().number("by", 1).tensors("to", {{"weight", tensor}}); };
  fails("opt::entry::unknown", [&] { optimizer.run_entry("push"); });
  fails("opt::entry::missing_input", pull({}));
  fails("opt::entry::unknown_input", pull(to(weight).number("from", 1)));
  fails("opt::torch::input", pull(optc::Inputs().tensors("to", {{"wieght", weight}})));
  fails("opt::torch::undefined", pull(to({})));
  fails("opt::entry::tensor", pull(to(torch::ones({2}))));
  fails("opt::c::shared", pull(to(model->weight)));
}

static void a_composition_is_a_source(const std::string& pulled) {
  auto model = layer();
  const auto average = model->weight.detach() + 1;
  fill_grads(model, 1.0);
  optc::Optimizer optimizer(model->named_parameters(), "Sam(base = AdamW)", optc::Options(1e-3));
  optc::Optimizer other(model->named_parameters(), pulled);
  optimizer.run_entry("first_step");
  EXPECT(torch::all(model->weight > average - 1).item<bool>());
  other.run_entry("pull", optc::Inputs().number("by", 0.5).tensors("to", {{"weight", average}}));
  EXPECT(torch::all(model->weight > average - 0.75).item<bool>());
}

static void a_seed_decides_what_is_drawn() {
  const auto drawn = [](uint64_t seed) {
    auto model = layer();
    optc::Optimizer optimizer(model->named_parameters(), "optimizer N { hyper lr = 0.1 rule each(w: [...]) {"
                              "  w -= lr * normal_like(w) .* grad } }", optc::Options().seed(seed));
    fill_grads(model, 1.0);
    optimizer.step();
    return model->weight.detach().clone();
  };
  EXPECT(torch::equal(drawn(7), drawn(7)) && !torch::equal(drawn(7), drawn(8)));
}

static void gradients_that_are_not_finite() {
  auto model = layer();
  const auto before = model->weight.detach().clone();
  optc::Optimizer skips(model->named_parameters(), "adamw", optc::Options(0.1).skip_non_finite());
  fill_grads(model, 1.0);
  model->weight.mutable_grad()[0][0] = NAN;
  skips.step();
  EXPECT(torch::equal(model->weight, before) && skips.state_of(model->weight) == nullptr);
  EXPECT(skips.state_of(model->bias)->step == 1);
  optc::Optimizer refuses(model->named_parameters(), "adamw", optc::Options(0.1).refuse_non_finite());
  fails("opt::step::non_finite", [&] { refuses.step(); });
  EXPECT(refuses.state_of(model->bias) == nullptr);
}

static void mistakes_have_codes() {
  const auto param = torch::rand({2, 2}, torch::requires_grad());
  const auto make = [](const std::vector<torch::Tensor>& params) { return [=] { optc::Optimizer(params, "adamw"); }; };
  auto model = layer();
  fails("opt::load::file", [&] { optc::Optimizer({param}, "no_such.opt"); });
  try {
    optc::Optimizer({param}, "AdamW");
  } catch (const optc::Error& error) {
    EXPECT(error.help().find("`std.adamw`") != std::string::npos);
  }
  fails("opt::bind::nothing_matches", [&] { optc::Optimizer(model->named_parameters(), "adamw", {}, {optc::Group("conv")}); });
  fails("opt::bind::two_groups", [&] {
    optc::Optimizer(model->named_parameters(), "adamw", {}, {optc::Group("weight"), optc::Group("w")});
  });
  fails("opt::torch::empty", make({}));
  fails("opt::torch::undefined", make({torch::Tensor()}));
  fails("opt::torch::kind", make({torch::ones({2}, torch::kLong)}));
  fails("opt::torch::kind", make({torch::ones({2}, torch::kBool)}));
  fails("opt::torch::kind", make({torch::ones({2}, torch::kComplexFloat)}));
  fails("opt::torch::sparse", make({torch::eye(2).to_sparse()}));
  fails("opt::torch::non_leaf", make({param * 2}));
  fails("opt::torch::device", make({torch::ones({2}, torch::kMeta)}));
  fails("opt::torch::duplicate", make({param, param}));
  fails("opt::bind::out_of_range", [&] { optc::Optimizer({param}, "adamw", optc::Options(-1.0)); });
  fails("opt::bind::unknown_hyper", [&] { optc::Optimizer({param}, "adamw", optc::Options().set("momentum", 1)); });

  optc::Optimizer optimizer({param}, "adamw");
  param.mutable_grad() = torch::ones_like(param);
  optimizer.step();
  optimizer.options(0).set_lr(-1.0);
  fails("opt::bind::out_of_range", [&] { optimizer.step(); });
  optimizer.options(0).set_lr(1.0);
  auto changed = param;
  changed.mutable_grad() = torch::Tensor();
  changed.set_data(torch::rand({3}));
  fails("opt::step::shape", [&] { optimizer.step(); });
}

static void an_artifact_of_another_abi_is_named(const std::string& artifact) {
  const auto param = torch::rand({2, 2}, torch::requires_grad());
  fails("opt::artifact::abi", [&] { optc::Optimizer({param}, artifact); });
  try {
    optc::Optimizer({param}, artifact);
  } catch (const optc::Error& error) {
    EXPECT(std::string(error.what()).find(artifact) != std::string::npos);
  }
}

static int behaviour(const std::string& folder, const std::string& artifact, const std::string& pulled) {
  differs_from_torch_by_rounding();
  schedulers_set_the_learning_rate();
  closures_compute_the_loss_with_gradients();
  archives_continue_bit_for_bit(folder);
  files_of_an_earlier_version_are_migrated(folder);
  groups_may_be_added_and_changed();
  groups_may_use_other_rules();
  strides_are_free_and_autograd_notices();
  entries_do_what_rules_say_beside_a_step(folder, pulled);
  a_composition_is_a_source(pulled);
  a_seed_decides_what_is_drawn();
  gradients_that_are_not_finite();
  mistakes_have_codes();
  an_artifact_of_another_abi_is_named(artifact);
  return 0;
}

// Recorded runs: words and numbers, separated by spaces.

using Named = optc::Optimizer::Named;

static std::string word(std::istream& in) {
  std::string word;
  if (!(in >> word)) throw std::runtime_error("the file ends too early");
  return word;
}

static double number(std::istream& in) { return std::stod(word(in)); }

static torch::Tensor values(std::istream& in, torch::IntArrayRef dims, torch::Dtype dtype) {
  auto tensor = torch::empty(dims, torch::kDouble);
  for (int64_t n = 0; n < tensor.numel(); ++n) tensor.data_ptr<double>()[n] = number(in);
  return tensor.to(dtype);
}

static std::vector<int64_t> shape(std::istream& in) {
  std::vector<int64_t> dims(static_cast<size_t>(number(in)));
  for (auto& dim : dims) dim = static_cast<int64_t>(number(in));
  return dims;
}

static void write(std::ostream& out, const torch::Tensor& tensor) {
  const auto flat = tensor.to(torch::kDouble).flatten().contiguous();
  out << flat.numel();
  for (int64_t n = 0; n < flat.numel(); ++n) out << ' ' << flat.data_ptr<double>()[n];
  out << '\n';
}

static void write(std::ostream& out, const optc::Optimizer& optimizer, const Named& params) {
  for (const auto& param : params) {
    out << "param " << param.key() << ' ';
    write(out, param.value());
    const auto* state = optimizer.state_of(param.value());
    out << "step " << param.key() << " 1 " << (state == nullptr ? 0 : state->step) << '\n';
    for (size_t n = 0; state != nullptr && n < state->names.size(); ++n) {
      out << "state " << param.key() << ' ' << state->names[n] << ' ';
      write(out, state->tensors[n]);
    }
  }
  for (size_t group = 1; group < optimizer.param_groups().size(); ++group) {
    for (const auto& [name, value] : optimizer.options(group).shared) {
      out << "shared " << group - 1 << ' ' << name << " 1 " << value << '\n';
    }
  }
  out << "end\n";
}

static optc::Group group(std::istream& in) {
  optc::Group group(word(in));
  for (std::string kind = word(in); kind != "end"; kind = word(in)) {
    const std::string name = word(in);
    if (kind == "rule") group.options.rule(name);
    if (kind == "hyper") group.options.set(name, number(in));
    if (kind == "static") group.options.set(name, word(in));
  }
  return group;
}

static void run(std::istream& in, std::ostream& out) {
  const std::string module = word(in), name = word(in);
  const auto dtype = word(in) == "float64" ? torch::kDouble : torch::kFloat;
  Named params;
  std::vector<optc::Group> groups;
  for (auto count = number(in); count > 0; --count) {
    const std::string param = word(in);
    const auto dims = shape(in);
    params.insert(param, values(in, dims, dtype).set_requires_grad(true));
  }
  for (auto count = number(in); count > 0; --count) groups.push_back(group(in));
  optc::Optimizer optimizer(params, module, optc::Options().optimizer(name), groups);
  write(out, optimizer, params);
  for (std::string kind = word(in); kind != "done"; kind = word(in)) {
    if (kind == "lr") {
      const double lr = number(in);
      for (size_t group = 1; group <= groups.size(); ++group) optimizer.options(group).set_lr(lr);
    } else if (kind == "grad") {
      auto& param = params[word(in)];
      param.mutable_grad() = values(in, param.sizes(), dtype);
    } else {
      if (kind == "step") optimizer.step();
      else optimizer.run_entry(word(in));
      optimizer.zero_grad();
      write(out, optimizer, params);
    }
  }
}

static int golden(const std::string& cases, const std::string& results) {
  std::ifstream in(cases);
  std::ofstream out(results);
  out << std::setprecision(17);
  for (auto count = number(in); count > 0; --count) run(in, out);
  return 0;
}

static int continue_run(const std::string& from, const std::string& to) {
  auto weight = torch::zeros({3, 2});
  auto* bits = reinterpret_cast<uint32_t*>(weight.data_ptr<float>());
  for (int64_t n = 0; n < weight.numel(); ++n) std::cin >> bits[n];
  weight.set_requires_grad(true);
  Named params;
  params.insert("weight", weight);
  optc::Optimizer optimizer(params, "adamw");
  optimizer.load(from);
  for (const float grad : {0.75f, -0.5f, 0.125f}) {
    weight.mutable_grad() = torch::full_like(weight, grad);
    optimizer.step();
  }
  optimizer.save(to);
  for (int64_t n = 0; n < weight.numel(); ++n) std::cout << bits[n] << '\n';
  return 0;
}

// Devices

/// Parameters on a device and the same on the host, stepped by the same gradients.
struct Twins {
  std::vector<torch::Tensor> host, device;

  Twins() {
    torch::manual_seed(5);
    for (const auto& dims : std::vector<std::vector<int64_t>>{{}, {7}, {3, 4}, {0}, {2, 3, 5}}) {
      host.push_back(torch::randn(dims));
      device.push_back(host.back().to(torch::Device(torch::kCUDA, static_cast<int8_t>(host.size() % 2))));
    }
    host.push_back(torch::randn({4, 3}).t());
    device.push_back(host.back().to(torch::kCUDA));
  }

  void step(optc::Optimizer& on_host, optc::Optimizer& on_device) {
    for (size_t n = 0; n < host.size(); ++n) {
      host[n].mutable_grad() = torch::randn_like(host[n]);
      device[n].mutable_grad() = host[n].grad().to(device[n].device());
    }
    on_host.step(), on_device.step();
  }

  void check(const optc::Optimizer& on_host, const optc::Optimizer& on_device) const {
    for (size_t n = 0; n < host.size(); ++n) {
      EXPECT(torch::equal(host[n], device[n].cpu()));
      const auto *mine = on_host.state_of(host[n]), *its = on_device.state_of(device[n]);
      EXPECT(mine->step == its->step && mine->names == its->names);
      for (size_t piece = 0; piece < mine->tensors.size(); ++piece) {
        EXPECT(its->tensors[piece].device() == device[n].device());
        EXPECT(torch::equal(mine->tensors[piece], its->tensors[piece].cpu()));
      }
    }
  }
};

/// What the driver was asked: the `stream` of the last call, or `launches`.
static size_t asked(const std::string& what) {
  using Answer = int (*)(size_t*);
  void* driver = dlopen("libcuda.so.1", RTLD_NOW);
  EXPECT(driver != nullptr);
  const auto answer = reinterpret_cast<Answer>(dlsym(driver, ("optc_fake_cuda_" + what).c_str()));
  EXPECT(answer != nullptr);
  size_t number = 0;
  answer(&number);
  return number;
}

static void device_follows_the_host(const std::string& artifact, const std::string& folder) {
  Twins twins;
  optc::Optimizer on_host(twins.host, artifact, optc::Options(0.01)), on_device(twins.device, artifact, optc::Options(0.01));
  for (const int64_t stream : {0, 77, 5}) {
    host_cuda::current_stream = stream;
    twins.step(on_host, on_device);
    EXPECT(asked("stream") == static_cast<size_t>(stream));
  }
  EXPECT(asked("launches") > 0);
  twins.check(on_host, on_device);
  // Each goes on from what the other has written.
  on_device.save(folder + "/device"), on_host.save(folder + "/host");
  on_device.load(folder + "/host"), on_host.load(folder + "/device");
  twins.step(on_host, on_device);
  twins.check(on_host, on_device);
}

static int device(const std::string& artifact, const std::string& folder) {
  const auto replaced = host_cuda::replace();
  device_follows_the_host(artifact, folder);
  const auto weight = torch::ones({3}).to(torch::kCUDA);
  fails("opt::bind::no_cuda_code", [&] { optc::Optimizer({weight}, "adamw"); });
  optc::Optimizer optimizer({weight}, artifact);
  weight.mutable_grad() = torch::ones({3});
  fails("opt::step::device", [&] { optimizer.step(); });
  fails("opt::torch::device", [&] { optc::Optimizer({torch::empty({3}, torch::kMeta)}, "adamw"); });
  return 0;
}

int main(int argc, char** argv) try {
  const std::string what = argc > 2 ? argv[1] : "";
  if (what == "behaviour" && argc > 4) return behaviour(argv[2], argv[3], argv[4]);
  if (what == "golden" && argc > 3) return golden(argv[2], argv[3]);
  if (what == "continue" && argc > 3) return continue_run(argv[2], argv[3]);
  if (what == "device" && argc > 3) return device(argv[2], argv[3]);
  return 2;
} catch (const optc::Error& error) {
  std::cerr << error.code() << "\n" << error.rendered() << "\n";
  return 1;
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
