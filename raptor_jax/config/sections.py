"""Every setting, with its type, range, unit and default; the defaults are those of `configs/pre_training.yaml`."""

from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

# The device counts steps and sizes in int32.
PositiveInt = Annotated[int, Field(gt=0, lt=2**31)]
_MOST_FLOAT16 = 65504
Decay = Annotated[float, Field(ge=0, lt=1)]


class Section(pydantic.BaseModel):
    """A section of the configuration: frozen and hashable; unknown keys are refused."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @pydantic.field_validator("*", mode="before")
    @classmethod
    def _a_bool_is_no_number(cls, value: Any, info: pydantic.ValidationInfo) -> Any:
        if isinstance(value, bool) and cls.model_fields[str(info.field_name)].annotation in (int, float):
            raise ValueError("should be a number, not true or false")
        return value


class EnvironmentConfig(Section):
    """The simulator and the task."""

    dt: float = Field(0.01, gt=0, le=0.1, description="integration and control period, as in the drones' files [s]")
    episode_steps: PositiveInt = Field(500, description="length at which an episode is truncated [steps]")
    training_episode_steps: PositiveInt = Field(
        300,
        description="length after which training at sac.horizon > 0 truncates an episode, at the end of the window in"
        " progress [steps], at most episode_steps; shorter episodes contain a larger share of recovery",
    )
    task: Literal["file", "default", "raptor"] = Field(
        "file",
        description="reward, initial states, limits and trajectories: those of each drone's file or a built-in task",
    )
    environments_per_teacher: PositiveInt = Field(
        4, description="parallel environments of each teacher; at sac.horizon > 0 an update uses one window of each"
    )
    l2f_initial_angle: bool = Field(
        False, description="draw initial angles from U(0, 1) rad as l2f 2.0.18 does, instead of U(0, max_angle)"
    )

    @property
    def longest_in_training(self) -> int:
        """Returns the number of steps after which training at a horizon above 0 truncates an episode."""
        return min(self.training_episode_steps, self.episode_steps)


class SamplingConfig(Section):
    """The distribution from which `sample` draws drones; names as in L2F's domain_randomization."""

    num_drones: PositiveInt = Field(1000, description="number of drones")
    seed: int = Field(0, ge=0, description="seed of the drones; drone i depends only on (seed, i)")
    task: Literal["default", "raptor"] = Field("default", description="task to write into the drones' files")
    thrust_to_weight_min: float = Field(1.5, gt=1, description="[-]")
    thrust_to_weight_max: float = Field(5.0, gt=1, description="[-]")
    torque_to_inertia_min: float = Field(40.0, gt=0, description="[1/s^2]")
    torque_to_inertia_max: float = Field(1200.0, gt=0, description="[1/s^2]")
    mass_min: float = Field(0.02, gt=0, description="[kg]; uniform in the cube root")
    mass_max: float = Field(5.0, gt=0, description="[kg]; uniform in the cube root")
    mass_size_deviation: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="d: arm lengths scale with the cube root of the mass times 1 + x, or 1 / (1 - x) for x < 0",
    )
    mass_size_deviation_law: Literal["uniform", "l2f"] = Field(
        "uniform",
        description="law of x: uniform from -d to d; or l2f, as there: normal with mean -d and standard deviation d",
    )
    rotor_time_constant_rising_min: float = Field(0.03, gt=0, description="[s]")
    rotor_time_constant_rising_max: float = Field(0.30, gt=0, description="[s]")
    rotor_time_constant_falling_min: float = Field(0.07, gt=0, description="[s]")
    rotor_time_constant_falling_max: float = Field(0.30, gt=0, description="[s]")
    rotor_torque_constant_min: float = Field(0.005, ge=0, description="[m]")
    rotor_torque_constant_max: float = Field(0.05, ge=0, description="[m]")
    disturbance_force_max: float = Field(
        0.3,
        ge=0,
        description="largest d: three standard deviations of the disturbance force are d (r - 1) r mass [N, with the"
        " mass in kg], r = thrust-to-weight, as in L2F",
    )

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """The least and the greatest value of each quantity with the keys `NAME_min` and `NAME_max`, by NAME."""
        values = self.model_dump()
        names = [key.removesuffix("_min") for key in values if key.endswith("_min")]
        return {name: (values[f"{name}_min"], values[f"{name}_max"]) for name in names}

    @pydantic.model_validator(mode="after")
    def _ranges_are_ordered(self) -> "SamplingConfig":
        for name, (least, most) in self.ranges.items():
            if least > most:
                raise ValueError(f"{name}_min {least} is above {name}_max {most}; lower the former or raise the latter")
        return self


class SacConfig(Section):
    """Soft actor-critic: horizon, networks, losses, optimisers and replay."""

    horizon: int = Field(
        200,
        ge=0,
        le=10_000,
        description="H, number of simulator steps through which the actor's objective is differentiated, in on-policy"
        " windows of H steps; 0 is model-free SAC with a replay buffer",
    )
    actor_hidden_dim: PositiveInt = Field(64, description="units in each of the actor's two hidden layers")
    critic_hidden_dim: PositiveInt = Field(32, description="units in each of a critic's two hidden layers")
    gamma: float = Field(0.99, ge=0, lt=1, description="discount per step")
    td_lambda: float = Field(
        0.95, ge=0, le=1, description="lambda of the critics' targets over a window; only for horizon > 0"
    )
    tau: float = Field(0.02, gt=0, le=1, description="Polyak rate of the target critics")
    target_entropy: float = Field(-12.0, description="entropy of the policy that alpha is adapted to reach [nat]")
    initial_alpha: float = Field(1e-3, gt=0, description="initial entropy weight")
    actor_learning_rate: float = Field(
        8e-3, gt=0, description="learning rate of the actor; for horizon > 0 with cosine decay to 0"
    )
    critic_learning_rate: float = Field(2e-3, gt=0, description="learning rate of the critics")
    alpha_learning_rate: float = Field(1e-2, gt=0, description="learning rate of log alpha")
    gradient_clip: float = Field(
        1.0,
        gt=0,
        description="largest norm of the gradient of a step's mean reward with respect to the actor; only for horizon"
        " > 0",
    )
    state_gradient_limit: float = Field(
        200.0,
        gt=0,
        description="largest norm of the gradient of a window's return with respect to the state of a step; only for"
        " horizon > 0",
    )
    survival_width: float = Field(
        0.1,
        gt=0,
        description="width, as a share of the limits, over which the probability of termination rises; only for"
        " horizon > 0",
    )
    termination_penalty: float = Field(
        -500.0,
        le=0,
        description="reward of a termination in training, unless the task's own penalty is lower; evaluations use the"
        " task's; only for horizon > 0",
    )
    adam_beta1: Decay = Field(0.9, description="decay of Adam's first moment")
    adam_beta2: Decay = Field(0.99, description="decay of Adam's second moment")
    adam_epsilon: float = Field(1e-8, ge=0, description="added to Adam's denominator")
    adam_variance_floor: float = Field(
        0.0, ge=0, description="lower bound of the second moment under the root in Adam's denominator"
    )
    n_warmup_steps: PositiveInt = Field(
        8000,
        description="environment steps per teacher that the untrained policy collects before learning begins; only at"
        " horizon 0",
    )
    steps_per_update: PositiveInt = Field(
        1, description="steps of each environment between two critic updates; only at horizon 0"
    )
    actor_update_interval: PositiveInt = Field(2, description="critic updates per update of actor and alpha")
    critic_batch_size: PositiveInt = Field(
        256, description="transitions per critic update, from the replay, or from the windows for horizon > 0"
    )
    actor_batch_size: PositiveInt = Field(
        256, description="transitions per actor update, out of critic_batch_size; only at horizon 0"
    )
    replay_capacity: PositiveInt = Field(
        65_536,
        description="capacity of the replay per teacher [transitions], at most the number that it will collect; only at"
        " horizon 0",
    )
    replay_precision: Literal["float16", "float32"] = Field(
        "float16", description="number format of the replay: 64 or 128 bytes per transition; only at horizon 0"
    )
    matmul_precision: Literal["float32", "tensorfloat32", "bfloat16"] = Field(
        "float32",
        description="precision of matrix products, which are accumulated in float32; without an NVIDIA GPU"
        " tensorfloat32 means float32",
    )
    soft_target: Literal["reference", "textbook"] = Field(
        "reference",
        description="entropy term of the target at horizon 0: reference, as in RLtools, neither discounts it nor masks"
        " it at termination; textbook does both",
    )
    log_std_min: float = Field(-20.0, description="lower bound of the policy's log standard deviation")
    log_std_max: float = Field(2.0, description="upper bound of the policy's log standard deviation")
    log_probability_epsilon: float = Field(1e-6, gt=0, description="added to 1 - tanh^2 in the log-probability")

    @pydantic.model_validator(mode="after")
    def _is_consistent(self) -> "SacConfig":
        if self.horizon == 0 and self.actor_batch_size > self.critic_batch_size:
            raise ValueError(
                f"actor_batch_size {self.actor_batch_size} is above critic_batch_size {self.critic_batch_size}; lower"
                " the former or raise the latter"
            )
        if self.horizon == 0 and self.replay_precision == "float16" and abs(self.termination_penalty) > _MOST_FLOAT16:
            raise ValueError(
                f"termination_penalty {self.termination_penalty:g} exceeds {_MOST_FLOAT16}, the largest number in"
                " float16; raise it, or set replay_precision to float32"
            )
        if self.log_std_min >= self.log_std_max:
            raise ValueError(
                f"log_std_min {self.log_std_min} is not below log_std_max {self.log_std_max}; lower the former or raise"
                " the latter"
            )
        return self


class TrainingConfig(Section):
    """A run: its length, evaluation, checkpoints and logs."""

    start: str = Field(
        "packaged",
        description="initial actor of every teacher: packaged, the one that ships with raptor_jax; scratch, random"
        " weights; or a file that train-start wrote. At sac.horizon 0 it is always scratch",
    )
    steps_per_teacher: PositiveInt = Field(
        320_000,
        lt=2**31,
        description="environment steps per teacher in the main round, summed over its environments",
    )
    extra_rounds: int = Field(
        5,
        ge=0,
        le=8,
        description="maximum number of extra rounds, which train teachers that fall short of pass_return or still"
        " improve, from their kept actors and with new seeds; the first is as long as the main round, each later one"
        " twice as long as the one before",
    )
    refine_below: float = Field(
        420.0, description="mean return below which a passing teacher is trained in extra rounds, while it improves"
    )
    converged_gain: float = Field(
        8.0,
        ge=0,
        description="a passing teacher has converged if its mean return rose by at most this per steps_per_teacher"
        " steps of an extra round",
    )
    eval_frequency: PositiveInt = Field(80_000, description="environment steps per teacher between two evaluations")
    eval_episodes: PositiveInt = Field(
        64, description="episodes per evaluation, with fixed seeds; they select the kept actor"
    )
    final_eval_episodes: PositiveInt = Field(
        100, description="episodes of the final evaluation of the kept actor, with seeds not used to select it"
    )
    checkpoint_frequency: PositiveInt = Field(
        80_000,
        description="environment steps per teacher between two checkpoints; an extra round of a tenth of the teachers"
        " has a tenth of the checkpoints",
    )
    checkpoint_replay: Literal["auto", "always", "never"] = Field(
        "auto",
        description="whether checkpoints contain the replay (auto: up to 1 GiB); a run resumed without it collects new"
        " experience before it learns",
    )
    log_frequency: PositiveInt = Field(
        16_000, description="environment steps per teacher between two points of the training curves"
    )
    pass_return: float = Field(200.0, description="mean return above which a teacher passes")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of initial weights, exploration and evaluation")
    tensorboard_teachers: int = Field(16, ge=0, description="number of teachers with their own TensorBoard curves")

    @pydantic.model_validator(mode="after")
    def _steps_can_be_counted(self) -> "TrainingConfig":
        if self.extra_rounds and self.steps_per_teacher * 2**self.extra_rounds >= 2**31:
            raise ValueError(
                f"steps_per_teacher {self.steps_per_teacher} and {self.extra_rounds} extra_rounds, each twice as long"
                " as the one before, exceed 2^31 - 1 steps; lower one of them"
            )
        return self


class DistillationConfig(Section):
    """The student: one recurrent policy that imitates all teachers (command `distill`)."""

    width: PositiveInt = Field(16, le=4096, description="units of the student's dense and recurrent layers")
    iterations: PositiveInt = Field(
        1200, description="number of iterations, in each of which the student flies episodes and learns from them"
    )
    episodes: PositiveInt = Field(512, description="episodes per iteration, each on the drone of one teacher")
    batch_episodes: PositiveInt = Field(64, description="whole episodes per update; must divide episodes")
    epochs: PositiveInt = Field(4, description="passes over the episodes of an iteration")
    guided_iterations: int = Field(
        10,
        ge=0,
        description="number of first iterations in which the teachers fly, so that the student sees whole episodes",
    )
    learning_rate: float = Field(4e-3, gt=0, description="learning rate of Adam, with cosine decay to 0")
    gradient_clip: float = Field(1.0, gt=0, description="largest norm of the gradient of an update")
    eval_frequency: PositiveInt = Field(100, description="iterations between two evaluations")
    eval_drones: PositiveInt = Field(128, description="drones per evaluation, spread evenly over those of the teachers")
    eval_episodes: PositiveInt = Field(
        8, description="episodes on each of these drones, with fixed seeds; their mean return selects the best student"
    )
    checkpoint_frequency: PositiveInt = Field(200, description="iterations between two checkpoints")
    log_frequency: PositiveInt = Field(10, description="iterations between two points of the training curves")
    seed: int = Field(0, ge=0, lt=2**31, description="seed of the student's initial weights and of its episodes")

    @pydantic.model_validator(mode="after")
    def _batches_divide_episodes(self) -> "DistillationConfig":
        if self.episodes % self.batch_episodes:
            raise ValueError(
                f"batch_episodes {self.batch_episodes} does not divide episodes {self.episodes}; choose a divisor"
            )
        return self


class Config(pydantic.BaseModel):
    """All sections; frozen and hashable, so that it can be a static argument of a jitted function."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    environment: EnvironmentConfig = EnvironmentConfig()
    sampling: SamplingConfig = SamplingConfig()
    sac: SacConfig = SacConfig()
    training: TrainingConfig = TrainingConfig()
    distillation: DistillationConfig = DistillationConfig()
