// What PX4's module mc_raptor does with raptor/policy.tar, with RLtools' own reader and network.
//
//     px4_module check POLICY.tar          as `Raptor::init` and `Raptor::test_policy`: loads the weights and the name,
//                                          evaluates the example, and is refused (exit status 1) unless it agrees
//     px4_module fly POLICY.tar            observations [22] from stdin, actions [4] to stdout, from a fresh memory
//     px4_module save POLICY.tar OUT.tar   writes the loaded actor as RLtools writes it
//
// The types are those of the module: its policy.h has this network of width 16, for 500 steps of 2 episodes.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <rl_tools/operations/cpu.h>

#include <rl_tools/nn/layers/dense/operations_generic.h>
#include <rl_tools/nn/layers/gru/operations_generic.h>
#include <rl_tools/nn_models/sequential/operations_generic.h>

// The module reads from the file, with a header of RLtools later than 2.2.1; with it, this program does not save.
#if __has_include(<rl_tools/persist/backends/tar/operations_posix.h>)
#define READS_FROM_FILE
#include <rl_tools/persist/backends/tar/operations_posix.h>
#else
#include <rl_tools/persist/backends/tar/operations_cpu.h>
#include <rl_tools/persist/backends/tar/operations_generic.h>
#endif
// Before the layers, which find its functions by name.
#include <rl_tools/nn/parameters/persist.h>

#include <rl_tools/nn/layers/dense/persist.h>
#include <rl_tools/nn/layers/gru/persist.h>
#include <rl_tools/nn_models/sequential/persist.h>

namespace rlt = rl_tools;
namespace dense = rlt::nn::layers::dense;
namespace gru = rlt::nn::layers::gru;
namespace groups = rlt::nn::parameters::groups;
namespace sequential = rlt::nn_models::sequential;
namespace tar = rlt::persist::backends::tar;

using DEVICE = rlt::devices::DefaultCPU;
using TI = DEVICE::index_t;
using T = float;
using TYPES = rlt::numeric_types::Policy<T>;
using Activation = rlt::nn::activation_functions::ActivationFunction;

constexpr TI WIDTH = 16, INPUTS = 22, OUTPUTS = 4, STEPS = 500, EPISODES = 2;
constexpr TI TESTED_STEPS = 5;
constexpr float EPSILON = 1e-5;

using INPUT_LAYER = dense::BindConfiguration<
    dense::Configuration<TYPES, TI, WIDTH, Activation::RELU, dense::DefaultInitializer<TYPES, TI>, groups::Input>>;
using GRU_LAYER = gru::BindConfiguration<gru::Configuration<TYPES, TI, WIDTH, groups::Normal, false>>;
using OUTPUT_LAYER = dense::BindConfiguration<
    dense::Configuration<TYPES, TI, OUTPUTS, Activation::IDENTITY, dense::DefaultInitializer<TYPES, TI>, groups::Output>>;
template <typename CONTENT, typename NEXT = sequential::OutputModule>
using Module = sequential::Module<CONTENT, NEXT>;
using CHAIN = Module<INPUT_LAYER, Module<GRU_LAYER, Module<OUTPUT_LAYER>>>;
using CAPABILITY = rlt::nn::capability::Forward<false, false>;
using POLICY = sequential::Build<CAPABILITY, CHAIN, rlt::tensor::Shape<TI, STEPS, 1, INPUTS>>;
using POLICY_TEST = sequential::Build<CAPABILITY, CHAIN, rlt::tensor::Shape<TI, 1, 1, INPUTS>>;

template <TI SIZE>
using Vector = rlt::Tensor<rlt::tensor::Specification<T, TI, rlt::tensor::Shape<TI, 1, SIZE>, false>>;

// The archive, in a file, or in memory for RLtools up to 2.2.1.
struct Archive {
    std::vector<char> content;
#ifdef READS_FROM_FILE
    using SPEC = tar::ReaderGroupSpecification<TI, tar::PosixFileData<TI>>;
#else
    using SPEC = tar::ReaderGroupSpecification<TI>;
#endif
    tar::ReaderGroup<SPEC> root;

    explicit Archive(const char *path)
    {
        std::ifstream file(path, std::ios::binary);
        content.assign(std::istreambuf_iterator<char>(file), {});
#ifdef READS_FROM_FILE
        root.data.f = fopen(path, "rb");
        root.data.size = content.size();
#else
        root.data = content.data();
        root.size = content.size();
#endif
    }

    // Copies an entry into a buffer; returns whether it is there. An entry that is larger than the buffer ends the program.
    bool get(DEVICE &device, const char *name, char *buffer, TI size)
    {
        TI read = 0;
#ifdef READS_FROM_FILE
        return tar::get(device, root.data, name, buffer, size, read);
#else
        return tar::get(device, root.data, root.size, name, buffer, size, read);
#endif
    }
};

bool load_policy(DEVICE &device, Archive &archive, POLICY &policy)
{
    auto actor = rlt::get_group(device, archive.root, "actor");
#ifdef READS_FROM_FILE
    return rlt::load(device, policy, actor);
#else
    rlt::load(device, policy, actor);
    return true;
#endif
}

struct Flight {
    DEVICE &device;
    POLICY &policy;
    DEVICE::SPEC::RANDOM::ENGINE<> rng;
    POLICY_TEST::State<false> state;
    POLICY_TEST::Buffer<false> buffers;

    Flight(DEVICE &device, POLICY &policy) : device(device), policy(policy) {}

    void reset() { rlt::reset(device, policy, state, rng); }

    void step(const T *observation, T *action)
    {
        Vector<INPUTS> input;
        Vector<OUTPUTS> output;
        std::copy(observation, observation + INPUTS, rlt::data(input));
        rlt::Mode<rlt::mode::Evaluation<>> mode;
        rlt::evaluate_step(device, policy, input, state, output, buffers, rng, mode);
        std::copy(rlt::data(output), rlt::data(output) + OUTPUTS, action);
    }
};

int check(DEVICE &device, Archive &archive, POLICY &policy)
{
    constexpr TI METADATA_SIZE = 256;
    char metadata[METADATA_SIZE];
    archive.get(device, "actor/meta", metadata, METADATA_SIZE);
    TI position = 0, length = 0;
    if (!tar::seek_in_metadata(device, metadata, METADATA_SIZE, "checkpoint_name", position, length)) {
        return 1;
    }

    std::vector<T> input(STEPS * EPISODES * INPUTS), target(STEPS * EPISODES * OUTPUTS);
    if (!archive.get(device, "example/input/data", (char *)input.data(), input.size() * sizeof(T))
        || !archive.get(device, "example/output/data", (char *)target.data(), target.size() * sizeof(T))) {
        return 1;
    }

    T sum = 0;
    Flight flight(device, policy);
    for (TI episode = 0; episode < EPISODES; episode++) {
        flight.reset();
        for (TI step = 0; step < TESTED_STEPS; step++) {
            T action[OUTPUTS];
            flight.step(&input[(step * EPISODES + episode) * INPUTS], action);
            for (TI i = 0; i < OUTPUTS; i++) {
                sum += std::abs(action[i] - target[(step * EPISODES + episode) * OUTPUTS + i]);
            }
        }
    }
    T difference = sum / (EPISODES * TESTED_STEPS * OUTPUTS);
    printf("%s\n%.9g\n", std::string(metadata + position, length).c_str(), difference);
    return difference < EPSILON ? 0 : 1;
}

int fly(DEVICE &device, POLICY &policy)
{
    Flight flight(device, policy);
    flight.reset();
    T observation[INPUTS], action[OUTPUTS];
    while (fread(observation, sizeof observation, 1, stdin) == 1) {
        flight.step(observation, action);
        fwrite(action, sizeof action, 1, stdout);
    }
    return 0;
}

int save([[maybe_unused]] DEVICE &device, [[maybe_unused]] POLICY &policy, [[maybe_unused]] const char *path)
{
#ifdef READS_FROM_FILE
    return 2;
#else
    tar::Writer writer;
    tar::WriterGroup<tar::WriterGroupSpecification<TI, tar::Writer>> root;
    root.writer = &writer;
    auto actor = rlt::create_group(device, root, "actor");
    rlt::save(device, policy, actor);
    tar::finalize(device, writer);
    std::ofstream(path, std::ios::binary).write(writer.buffer.data(), writer.buffer.size());
    return 0;
#endif
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        return 2;
    }
    DEVICE device;
    Archive archive(argv[2]);
    static POLICY policy;
    if (!load_policy(device, archive, policy)) {
        return 1;
    }
    const std::string task = argv[1];
    if (task == "check") {
        return check(device, archive, policy);
    }
    return task == "fly" ? fly(device, policy) : save(device, policy, argv[3]);
}
