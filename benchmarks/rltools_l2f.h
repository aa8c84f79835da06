// RLtools' own L2F environment: the Crazyflie with RAPTOR's task and its 26 observations.
#pragma once
#include <rl_tools/operations/cpu_mux.h>

#include <rl_tools/rl/environments/l2f/operations_cpu.h>

namespace rlt = rl_tools;
namespace l2f = rlt::rl::environments::l2f;

using Device = rlt::devices::DEVICE_FACTORY<>;
using Random = Device::SPEC::RANDOM::ENGINE<>;
using T = float;
using TI = Device::index_t;

using Nominal = l2f::parameters::DEFAULT_PARAMETERS_FACTORY<T, TI>;

struct MovingTarget {
    static constexpr bool LANGEVIN = true;
};

using Base = l2f::ParametersBase<Nominal::PARAMETERS_SPEC>;
using Disturbed = l2f::ParametersDisturbances<l2f::ParametersSpecification<T, TI, Base>>;
using Randomized = l2f::ParametersDomainRandomization<l2f::ParametersDomainRandomizationSpecification<
    T, TI, l2f::parameters::DEFAULT_DOMAIN_RANDOMIZATION_OPTIONS<>, Disturbed>>;
using Tracking =
    l2f::ParametersTrajectory<l2f::ParametersTrajectorySpecification<T, TI, MovingTarget, Randomized>>;
using Parameters = l2f::ParametersObservationDelay<l2f::ParametersObservationDelaySpecification<T, TI, Tracking>>;

constexpr Parameters raptor_task() {
    Parameters parameters{};
    parameters.dynamics = Nominal::dynamics;
    parameters.integration = Nominal::integration;
    parameters.mdp = Nominal::mdp;
    parameters.trajectory = Nominal::trajectory;
    constexpr T ROTOR_DISTANCE = 0.0395979797;  // m, sqrt(2) times the Crazyflie's 0.028 m
    parameters.mdp.reward.constant = 1.5;
    parameters.mdp.init.max_position = 10 * ROTOR_DISTANCE;
    parameters.mdp.termination.position_threshold = 20 * ROTOR_DISTANCE;
    return parameters;
}

struct Simulation : Nominal::STATIC_PARAMETERS {
    static constexpr TI ACTION_HISTORY_LENGTH = 1;
    using STATE_TYPE = l2f::StateTrajectory<
        l2f::StateSpecification<T, TI, l2f::DefaultActionHistoryState<T, TI, ACTION_HISTORY_LENGTH>>>;
    using RotorSpeeds = l2f::observation::RotorSpeeds<l2f::observation::RotorSpeedsSpecification<T, TI>>;
    using OBSERVATION_TYPE = l2f::DefaultActionHistoryObservation<T, TI, ACTION_HISTORY_LENGTH, 0, RotorSpeeds>;
    using OBSERVATION_TYPE_PRIVILEGED = OBSERVATION_TYPE;
    using PARAMETERS = Parameters;
    static constexpr Parameters PARAMETER_VALUES = raptor_task();
};

using Environment = rlt::rl::environments::Multirotor<l2f::Specification<T, TI, Simulation>>;
static_assert(Environment::Observation::DIM == 26 && Environment::ACTION_DIM == 4);
