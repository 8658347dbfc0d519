/// Trains a small network to tell two spirals apart, with a rule that is read from its source; stops halfway, and goes
/// on from a checkpoint.
///
///     train RULE CHECKPOINTS [EPOCHS]
///
/// Prints the accuracy on points that it was not trained on.
#include <optc/torch.hpp>

#include <torch/torch.h>

#include <cmath>
#include <cstdlib>
#include <iostream>
#include <string>

struct Points {
  torch::Tensor at, spiral;
};

/// Points of two spirals, one turned half around against the other, with some noise.
Points spirals(int64_t count, uint64_t seed) {
  torch::manual_seed(seed);
  const auto spiral = torch::arange(count).remainder(2);
  const auto radius = torch::rand({count}) * 0.9 + 0.1;
  const auto angle = radius * 7.0 + spiral * M_PI;
  const auto at = torch::stack({radius * angle.cos(), radius * angle.sin()}, 1);
  return {at + 0.01 * torch::randn_like(at), spiral};
}

torch::nn::Sequential network() {
  torch::manual_seed(1);
  return torch::nn::Sequential(torch::nn::Linear(2, 64), torch::nn::ReLU(), torch::nn::Linear(64, 64),
                               torch::nn::ReLU(), torch::nn::Linear(64, 2));
}

/// A run: the network, its optimizer, and a schedule that lowers the learning rate.
struct Run {
  torch::nn::Sequential model = network();
  optc::Optimizer optimizer;
  torch::optim::StepLR schedule;

  explicit Run(const std::string& rule)
      : optimizer(model->named_parameters(), rule, optc::Options(3e-3).set("weight_decay", 0.01),
                  {optc::Group("bias$", optc::Options().set("weight_decay", 0.0))}),
        schedule(optimizer, 100, 0.5) {}

  void train(const Points& points, int64_t epochs) {
    for (int64_t epoch = 0; epoch < epochs; ++epoch) {
      optimizer.zero_grad();
      torch::nn::functional::cross_entropy(model->forward(points.at), points.spiral).backward();
      optimizer.step();
      schedule.step();
    }
  }

  double accuracy(const Points& points) {
    const torch::NoGradGuard no_grad;
    return model->forward(points.at).argmax(1).eq(points.spiral).to(torch::kDouble).mean().item<double>();
  }

  void save(const std::string& folder) {
    torch::save(model, folder + "/model.pt");
    optimizer.save(folder + "/optimizer.safetensors");
  }

  void load(const std::string& folder) {
    torch::load(model, folder + "/model.pt");
    optimizer.load(folder + "/optimizer.safetensors");
  }
};

int main(int argc, char** argv) try {
  if (argc < 3) {
    std::cerr << "usage: train RULE CHECKPOINTS [EPOCHS]\n";
    return 2;
  }
  const std::string rule = argv[1], folder = argv[2];
  const int64_t epochs = argc > 3 ? std::atoll(argv[3]) : 400;
  const Points seen = spirals(1000, 2), unseen = spirals(1000, 3);

  Run first(rule);
  first.train(seen, epochs / 2);
  first.save(folder);
  std::cout << "halfway: " << first.accuracy(unseen) << "\n";

  Run second(rule);
  second.load(folder);
  second.train(seen, epochs - epochs / 2);
  std::cout << "accuracy: " << second.accuracy(unseen) << "\n";
  return 0;
} catch (const optc::Error& error) {
  std::cerr << error.rendered() << "\n";
  return 1;
}
