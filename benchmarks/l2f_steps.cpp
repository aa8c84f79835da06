// Times L2F's own simulation step with its reward and its termination. Compiled and run by
// `python -m benchmarks.inner_loop`; prints one JSON object.
#include <rl_tools/operations/cpu.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <vector>

#include "rltools_l2f.h"

constexpr TI EPISODE_STEPS = 500;

int main(int count, char** arguments) {
    const TI drones = count == 3 ? std::atoi(arguments[1]) : 0, rounds = count == 3 ? std::atoi(arguments[2]) : 0;
    if (drones < 1 || rounds < 1) {
        std::fprintf(stderr, "usage: l2f_steps DRONES ROUNDS\n");
        return 2;
    }
    Device device;
    Random rng;
    rlt::init(device);
    rlt::malloc(device, rng);
    rlt::init(device, rng, 0);
    Environment environment;
    rlt::malloc(device, environment);
    rlt::init(device, environment);
    std::vector<Environment::Parameters> parameters(drones);
    std::vector<Environment::State> states(drones);
    rlt::Matrix<rlt::matrix::Specification<T, TI, 1, Environment::ACTION_DIM, false>> action;
    rlt::malloc(device, action);
    double seconds = 0, total_reward = 0;
    long terminated = 0;
    for (TI round = 0; round < rounds; round++) {
        for (TI drone = 0; drone < drones; drone++) {
            rlt::initial_parameters(device, environment, parameters[drone]);
            rlt::sample_initial_state(device, environment, parameters[drone], states[drone], rng);
        }
        const std::clock_t start = std::clock();
        for (TI step = 0; step < EPISODE_STEPS; step++) {
            for (TI drone = 0; drone < drones; drone++) {
                for (TI rotor = 0; rotor < Environment::ACTION_DIM; rotor++) {
                    rlt::set(action, 0, rotor, 0.1f * std::sin(0.1f * step + rotor));
                }
                Environment::State next;
                rlt::step(device, environment, parameters[drone], states[drone], action, next, rng);
                total_reward += rlt::reward(device, environment, parameters[drone], states[drone], action, next, rng);
                terminated += rlt::terminated(device, environment, parameters[drone], next, rng);
                states[drone] = next;
            }
        }
        seconds += double(std::clock() - start) / CLOCKS_PER_SEC;
    }
    // What was computed is printed, so that none of it is left out.
    std::printf("{\"steps_per_second\": %.9g, \"total_reward\": %.9g, \"terminated\": %ld}\n",
                double(drones) * EPISODE_STEPS * rounds / seconds, total_reward, terminated);
}
