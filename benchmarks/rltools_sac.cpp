// Times RLtools' SAC with the settings of configs/raptor_reference.yaml, in its own L2F environment: the Crazyflie with
// RAPTOR's task. Compiled and run by `python -m benchmarks.rltools`; prints one JSON object.
#include <mkl.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <vector>

#include <rl_tools/operations/cpu_mux.h>

#include <rl_tools/nn/optimizers/adam/instance/operations_generic.h>
#include <rl_tools/nn/operations_cpu_mux.h>
#include <rl_tools/nn/layers/sample_and_squash/operations_generic.h>
#include <rl_tools/rl/environments/l2f/operations_cpu.h>
#include <rl_tools/nn_models/mlp/operations_generic.h>
#include <rl_tools/nn_models/sequential/operations_generic.h>
#include <rl_tools/nn_models/random_uniform/operations_generic.h>
#include <rl_tools/nn/optimizers/adam/operations_generic.h>
#include <rl_tools/rl/algorithms/sac/operations_cpu_mux.h>
#include <rl_tools/rl/algorithms/sac/loop/core/config.h>
#include <rl_tools/rl/algorithms/sac/loop/core/operations_generic.h>

#include "rltools_l2f.h"

using Policy = rlt::numeric_types::Policy<T>;

static_assert(Device::DEVICE_ID == rlt::devices::DeviceId::CPU_MKL, "define RL_TOOLS_BACKEND_ENABLE_MKL");

namespace core = rlt::rl::algorithms::sac::loop::core;

struct Reference : core::DefaultParameters<Policy, TI, Environment> {
    struct SAC_PARAMETERS : rlt::rl::algorithms::sac::DefaultParameters<Policy, TI, Environment::ACTION_DIM> {
        static constexpr TI ACTOR_BATCH_SIZE = 128;
        static constexpr TI CRITIC_BATCH_SIZE = 128;
        static constexpr TI ACTOR_TRAINING_INTERVAL = 2;
        static constexpr T TARGET_ENTROPY = -2;
    };
    static constexpr TI N_WARMUP_STEPS = 0;  // the untrained policy flies, not a uniform one
    static constexpr TI N_WARMUP_STEPS_CRITIC = 10000;
    static constexpr TI N_WARMUP_STEPS_ACTOR = 10000;
    static constexpr TI STEP_LIMIT = 1000000;
    static constexpr TI REPLAY_BUFFER_CAP = STEP_LIMIT;
    static constexpr TI ACTOR_HIDDEN_DIM = 64;
    static constexpr TI CRITIC_HIDDEN_DIM = 256;
    struct NetworkOptimizer : rlt::nn::optimizers::adam::DEFAULT_PARAMETERS_TENSORFLOW<Policy> {
        static constexpr T ALPHA = 3e-4;
    };
    struct AlphaOptimizer : rlt::nn::optimizers::adam::DEFAULT_PARAMETERS_TENSORFLOW<Policy> {
        static constexpr T ALPHA = 1e-4;
    };
    using ACTOR_OPTIMIZER_PARAMETERS = NetworkOptimizer;
    using CRITIC_OPTIMIZER_PARAMETERS = NetworkOptimizer;
    using ALPHA_OPTIMIZER_PARAMETERS = AlphaOptimizer;
};

using Config = core::Config<Policy, TI, Random, Environment, Reference>;
using State = Config::State<Config>;

// What a step of the loop does after its flight.
void learn(Device& device, State& state, bool with_actor) {
    auto& learner = state.actor_critic;
    rlt::gather_batch(device, state.off_policy_runner, state.critic_batch, state.rng);
    rlt::randn(device, state.action_noise_critic, state.rng);
    for (TI i = 0; i < 2; i++) {
        rlt::train_critic(device, learner, learner.critics[i], state.critic_batch, learner.critic_optimizers[i],
                          state.actor_target_buffers[i], state.critic_buffers[i], state.critic_target_buffers[i],
                          state.critic_training_buffers[i], state.action_noise_critic, state.rng);
    }
    rlt::update_critic_targets(device, learner);
    if (with_actor) {
        rlt::randn(device, state.action_noise_actor, state.rng);
        rlt::train_actor(device, learner, state.critic_batch, learner.actor_optimizer, state.actor_buffers[0],
                         state.critic_buffers[0], state.actor_training_buffers, state.action_noise_actor, state.rng);
    }
}

// CPU seconds: they count the core, and not what else may run on it.
template <typename Function>
double seconds(Function function) {
    const std::clock_t start = std::clock();
    function();
    return double(std::clock() - start) / CLOCKS_PER_SEC;
}

double peak_gflops() {
    constexpr int N = 2048;
    std::vector<float> a(N * N, 0.5f), b(N * N, 0.25f), c(N * N);
    double fastest = 1e9;
    for (int i = 0; i < 4; i++) {
        fastest = std::min(fastest, seconds([&] {
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, N, N, N, 1, a.data(), N, b.data(), N, 0, c.data(), N);
        }));
    }
    return 2.0 * N * N * N / fastest * 1e-9;
}

// What must change, and stay finite, while learning: a weight of each network, and log alpha.
std::vector<T> samples(Device& device, State& state) {
    auto weight = [&](auto& network) {
        return rlt::get(device, network.content.hidden_layers[0].weights.parameters, 0, 0);
    };
    auto& learner = state.actor_critic;
    return {weight(learner.actor), weight(learner.critics[0]), weight(learner.critics[1]),
            weight(learner.critics_target[0]), weight(learner.critics_target[1]),
            rlt::get(device, rlt::get_last_layer(learner.actor).log_alpha.parameters, 0)};
}

int main(int count, char** arguments) {
    const int updates = count == 2 ? std::atoi(arguments[1]) : 0;
    if (updates < 1) {
        std::fprintf(stderr, "usage: rltools_sac UPDATES\n");
        return 2;
    }
    Device device;
    rlt::init(device);
    auto state = std::make_unique<State>();
    rlt::malloc(device, *state);
    rlt::init(device, *state, 0);
    auto steps = [&](int number) {
        for (int i = 0; i < number; i++) rlt::step(device, *state);
    };
    steps(Reference::N_WARMUP_STEPS_CRITIC);
    const std::vector<T> before = samples(device, *state);
    steps(100);  // caches and MKL's buffers
    const double whole_step = seconds([&] { steps(updates); }) / updates;
    const double training = seconds([&] {
        for (int i = 0; i < updates; i++) learn(device, *state, i % 2 == 0);
    }) / updates;
    const std::vector<T> after = samples(device, *state);

    char mkl[256];
    mkl_get_version_string(mkl, sizeof mkl);
    std::printf("{\"whole_step\": %.9g, \"training\": %.9g, \"peak_gflops\": %.6g, \"mkl\": \"%s\", \"changes\": [",
                whole_step, training, peak_gflops(), mkl);
    for (size_t i = 0; i < before.size(); i++) {
        std::printf("%s\"%g\"", i ? ", " : "", double(after[i]) - double(before[i]));
    }
    std::printf("]}\n");
}
