/* The interface from plain C: one step of AdamW by hand, every kind of misuse, and many lives of an optimizer.
 *
 *     step pulled.opt   everything once; the rule is the one whose entries are run
 *     step lives N      N times create, step, destroy; prints the growth of the resident set in KiB
 */
#include <math.h>
#include <optc/optc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                              \
  do {                                                                                \
    if (!(condition)) {                                                               \
      fprintf(stderr, "%s:%d: %s\n%s\n", __FILE__, __LINE__, #condition, optc_error_rendered()); \
      exit(1);                                                                        \
    }                                                                                 \
  } while (0)

#define OK(call) CHECK((call) == OPTC_STATUS_OK)
#define FAILS(call, expected) \
  do {                        \
    CHECK((call) != OPTC_STATUS_OK); \
    CHECK(strcmp(optc_error_code(), expected) == 0); \
  } while (0)

static const int64_t dims[] = {2, 2};

static optc_optimizer *bind(const optc_rules *rules) {
  optc_setting hypers[] = {{"lr", 0.1}, {"weight_decay", 0.0}};
  optc_param param = {.struct_size = sizeof(param), .name = "weight", .dims = dims, .rank = 2, .dtype = OPTC_F32};
  optc_bind_options options = {.struct_size = sizeof(options), .hypers = hypers, .hyper_count = 2, .threads = 1};
  optc_optimizer *optimizer = NULL;
  OK(optc_bind(rules, &param, 1, &options, &optimizer));
  return optimizer;
}

static optc_tensor tensor(float *data) {
  optc_tensor tensor = {.struct_size = sizeof(tensor), .data = data, .dims = dims, .rank = 2, .dtype = OPTC_F32};
  return tensor;
}

static void step(optc_optimizer *optimizer, float *weight, float *grad) {
  const optc_tensor views[] = {tensor(weight), tensor(grad)};
  const optc_tensor *param = &views[0], *gradient = &views[1];
  OK(optc_step(optimizer, &param, &gradient, 1));
}

/* The first step of Adam moves every weight by the learning rate, against the sign of its gradient. */
static void steps_by_the_learning_rate(const optc_rules *rules) {
  float weight[] = {1, 1, 1, 1}, grad[] = {0.5f, -0.5f, 2, -2};
  optc_optimizer *optimizer = bind(rules);
  step(optimizer, weight, grad);
  for (int n = 0; n < 4; ++n) CHECK(fabsf(weight[n] - (grad[n] > 0 ? 0.9f : 1.1f)) < 1e-5f);

  uint64_t steps = 0;
  OK(optc_step_count(optimizer, 0, &steps));
  CHECK(steps == 1);
  optc_state_info state = {.struct_size = sizeof(state)};
  OK(optc_state_get(optimizer, 0, 0, &state));
  CHECK(strcmp(state.name, "exp_avg") == 0 && state.rank == 2 && state.dtype == OPTC_F32 && state.bytes == 16);
  CHECK(fabsf(((const float *)state.data)[0] - 0.05f) < 1e-6f);
  OK(optc_hyper_set(optimizer, 0, "lr", 0.0));
  step(optimizer, weight, grad);
  CHECK(fabsf(weight[0] - 0.9f) < 1e-5f);
  optc_optimizer_free(optimizer);
}

static void describes_itself(const optc_rules *rules) {
  optc_hyper hyper = {.struct_size = sizeof(hyper)};
  OK(optc_rules_hyper(rules, 0, 0, &hyper));
  CHECK(strcmp(hyper.name, "lr") == 0 && hyper.default_value == 1e-3 && hyper.lo == 0 && hyper.lo_closed);
  /* A caller that was compiled with a smaller struct gets as much as it has place for. */
  struct { size_t struct_size; const char *name; char beyond[sizeof(optc_hyper)]; } old = {.struct_size = 16};
  memset(old.beyond, 7, sizeof(old.beyond));
  OK(optc_rules_hyper(rules, 0, 0, (optc_hyper *)&old));
  CHECK(strcmp(old.name, "lr") == 0 && old.beyond[0] == 7);
}

static void refuses_misuse(const optc_rules *rules) {
  optc_rules *none = NULL;
  FAILS(optc_rules_open("no/such/file.opt", &none), "opt::load::file");
  FAILS(optc_rules_open(NULL, &none), "opt::c::null");
  FAILS(optc_rules_open("\xff\xfe", &none), "opt::c::text");
  FAILS(optc_rules_open("adamw", NULL), "opt::c::null");
  FAILS(optc_rules_from_artifact("not an artifact", 15, &none), "opt::artifact::magic");
  CHECK(optc_rules_from_source("bad", "optimizer {", &none) == OPTC_STATUS_LOAD);
  CHECK(none == NULL && strlen(optc_error_rendered()) > 0);

  optc_param param = {.struct_size = sizeof(param), .name = "weight", .dims = dims, .rank = 2, .dtype = OPTC_F32};
  optc_bind_options options = {.struct_size = sizeof(options)};
  optc_group group = {.struct_size = sizeof(group), .pattern = "bias"};
  options.groups = &group;
  options.group_count = 1;
  optc_optimizer *optimizer = NULL;
  FAILS(optc_bind(rules, &param, 1, &options, &optimizer), "opt::bind::nothing_matches");
  FAILS(optc_bind(NULL, &param, 1, NULL, &optimizer), "opt::c::null");
  FAILS(optc_bind(rules, NULL, 1, NULL, &optimizer), "opt::c::null");
  FAILS(optc_bind(rules, &param, SIZE_MAX, NULL, &optimizer), "opt::c::pointer");
  options.non_finite = 7;
  FAILS(optc_bind(rules, &param, 1, &options, &optimizer), "opt::c::non_finite");
  options.struct_size = 3;
  FAILS(optc_bind(rules, &param, 1, &options, &optimizer), "opt::c::struct_size");
  param.dtype = OPTC_I64;
  FAILS(optc_bind(rules, &param, 1, NULL, &optimizer), "opt::bind::not_float");
  param.dtype = 99;
  FAILS(optc_bind(rules, &param, 1, NULL, &optimizer), "opt::c::dtype");
  param.dtype = OPTC_F32;
  param.rank = SIZE_MAX;
  FAILS(optc_bind(rules, &param, 1, NULL, &optimizer), "opt::c::rank");
  CHECK(optimizer == NULL);
}

static void refuses_a_newer_struct(const optc_rules *rules) {
  struct { optc_param known; uint64_t later; } param = {.later = 1};
  param.known = (optc_param){.struct_size = sizeof(param), .name = "weight", .dims = dims, .rank = 2, .dtype = OPTC_F32};
  optc_optimizer *optimizer = NULL;
  FAILS(optc_bind(rules, &param.known, 1, NULL, &optimizer), "opt::c::struct_size");
  param.later = 0;
  OK(optc_bind(rules, &param.known, 1, NULL, &optimizer));
  optc_optimizer_free(optimizer);
}

static void refuses_bad_tensors(const optc_rules *rules) {
  float weight[5] = {1, 1, 1, 1, 1}, grad[4] = {0};
  optc_optimizer *optimizer = bind(rules);
  optc_tensor param = tensor(weight), gradient = tensor(grad);
  const optc_tensor *params[] = {&param}, *grads[] = {&gradient};
  FAILS(optc_step(optimizer, NULL, NULL, 1), "opt::c::null");
  FAILS(optc_step(NULL, params, grads, 1), "opt::c::null");
  FAILS(optc_step(optimizer, params, grads, 0), "opt::step::count");
  param.data = NULL;
  FAILS(optc_step(optimizer, params, grads, 1), "opt::c::tensor");
  param.data = (char *)weight + 1;
  FAILS(optc_step(optimizer, params, grads, 1), "opt::c::tensor");
  param.data = grad;
  FAILS(optc_step(optimizer, params, grads, 1), "opt::c::shared");
  const int64_t same[] = {0, 1}, huge[] = {INT64_MAX, INT64_MAX};
  param = tensor(weight);
  param.strides = same;
  FAILS(optc_step(optimizer, params, grads, 1), "opt::c::tensor");
  param = tensor(weight);
  param.dims = huge;
  FAILS(optc_step(optimizer, params, grads, 1), "opt::c::tensor");
  param = tensor(weight);
  param.dtype = OPTC_F64;
  CHECK(optc_step(optimizer, params, grads, 1) != OPTC_STATUS_OK);
  param = tensor(weight);
  OK(optc_step(optimizer, params, NULL, 1));
  FAILS(optc_hyper_set(optimizer, 0, "lr", NAN), "opt::bind::out_of_range");
  FAILS(optc_hyper_set(optimizer, 7, "lr", 1), "opt::step::unknown_group");
  FAILS(optc_load(optimizer, "no/such/file"), "opt::checkpoint::file");
  FAILS(optc_lend_state(optimizer, 0, 0, NULL, 0), "opt::step::state");
  CHECK(weight[0] == 1);
  optc_optimizer_free(optimizer);
  optc_optimizer_free(NULL);
  optc_rules_free(NULL);
  optc_checkpoint_free(NULL);
}

static void runs_entries(const char *pulled) {
  float weight[] = {1, 1, 1, 1}, goal[] = {3, 3, 3, 3}, old[4] = {0};
  optc_rules *rules = NULL;
  OK(optc_rules_open(pulled, &rules));
  optc_param bound = {.struct_size = sizeof(bound), .name = "weight", .dims = dims, .rank = 2, .dtype = OPTC_F32};
  optc_bind_options options = {.struct_size = sizeof(options), .threads = 1, .state_is_lent = 1, .seed = 7};
  optc_optimizer *optimizer = NULL;
  OK(optc_bind(rules, &bound, 1, &options, &optimizer));

  optc_entry_info entry = {.struct_size = sizeof(entry)};
  optc_input_info info = {.struct_size = sizeof(info)};
  OK(optc_entry_get(optimizer, 1, &entry));
  CHECK(strcmp(entry.name, "pull") == 0 && entry.input_count == 2 && !entry.reads_gradients);
  OK(optc_entry_input(optimizer, 1, 0, &info));
  CHECK(strcmp(info.name, "to") == 0 && info.is_tensor);
  CHECK(optc_entry_get(optimizer, 2, &entry) == OPTC_STATUS_ARGUMENT);

  bool takes = true, begun = true;
  OK(optc_entry_takes(optimizer, "pull", 0, OPTC_HAS_GRADIENT, &takes));
  CHECK(!takes);
  OK(optc_entry_takes(optimizer, "pull", 0, OPTC_HAS_TENSORS, &takes));
  OK(optc_state_begun(optimizer, 0, &begun));
  CHECK(takes && !begun);

  const optc_tensor views[] = {tensor(weight), tensor(goal), tensor(old)};
  const optc_tensor *param = &views[0], *to = &views[1], *state = &views[2], *none = NULL;
  optc_input inputs[] = {{.struct_size = sizeof(optc_input), .name = "to", .tensors = &to},
                         {.struct_size = sizeof(optc_input), .name = "by", .number = 0.25}};
  FAILS(optc_run_entry(optimizer, "pull", &param, NULL, 1, inputs, 2), "opt::step::state");
  OK(optc_lend_state(optimizer, 0, OPTC_NOT_BEGUN, &state, 1));
  OK(optc_run_entry(optimizer, "pull", &param, NULL, 1, inputs, 2));
  OK(optc_state_begun(optimizer, 0, &begun));
  CHECK(begun && weight[0] == 1.5f && old[0] == 1);
  OK(optc_lend_state(optimizer, 0, 0, &state, 1));
  OK(optc_run_entry(optimizer, "back", &param, NULL, 1, NULL, 0));
  CHECK(weight[3] == 1);

  FAILS(optc_run_entry(optimizer, "push", &param, NULL, 1, inputs, 2), "opt::entry::unknown");
  FAILS(optc_run_entry(optimizer, NULL, &param, NULL, 1, inputs, 2), "opt::c::null");
  FAILS(optc_run_entry(optimizer, "pull", &param, NULL, 1, NULL, 2), "opt::c::null");
  FAILS(optc_run_entry(optimizer, "pull", &param, NULL, 1, inputs, 1), "opt::entry::missing_input");
  to = param;
  FAILS(optc_run_entry(optimizer, "pull", &param, NULL, 1, inputs, 2), "opt::c::shared");
  inputs[0].tensors = &none;
  OK(optc_run_entry(optimizer, "pull", &param, NULL, 1, inputs, 2));
  CHECK(weight[0] == 1);

  optc_bytes *bytes = NULL;
  const void *data = NULL;
  size_t size = 0;
  optc_checkpoint *checkpoint = NULL;
  OK(optc_lend_state(optimizer, 0, 0, &state, 1));
  OK(optc_save_bytes(optimizer, &bytes));
  OK(optc_bytes_get(bytes, &data, &size));
  OK(optc_checkpoint_read_bytes(optimizer, "memory", data, size, &checkpoint));
  optc_checkpoint_free(checkpoint);
  FAILS(optc_checkpoint_read_bytes(optimizer, "memory", data, size - 1, &checkpoint), "opt::checkpoint::damaged");
  optc_bytes_free(bytes);
  optc_bytes_free(NULL);
  optc_optimizer_free(optimizer);
  optc_rules_free(rules);
}

static void *run_thread(void *result) {
  float weight[] = {1, 1, 1, 1}, grad[] = {0.5f, -0.5f, 2, -2};
  optc_rules *rules = NULL;
  OK(optc_rules_open("soap", &rules));
  optc_optimizer *optimizer = bind(rules);
  optc_rules_free(rules);
  for (int n = 0; n < 200; ++n) step(optimizer, weight, grad);
  CHECK(optc_hyper_set(optimizer, 0, "nothing", 0) == OPTC_STATUS_HYPER);
  optc_optimizer_free(optimizer);
  memcpy(result, weight, sizeof(weight));
  return NULL;
}

static void steps_in_two_threads(void) {
  float results[3][4];
  pthread_t threads[2];
  run_thread(results[0]);
  for (int n = 0; n < 2; ++n) CHECK(pthread_create(&threads[n], NULL, run_thread, results[n + 1]) == 0);
  for (int n = 0; n < 2; ++n) CHECK(pthread_join(threads[n], NULL) == 0);
  CHECK(memcmp(results[0], results[1], 16) == 0 && memcmp(results[0], results[2], 16) == 0);
}

static long resident(void) {
  long pages = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  CHECK(file != NULL && fscanf(file, "%*d %ld", &pages) == 1);
  fclose(file);
  return pages * 4;
}

static void live(const optc_rules *rules, long lives) {
  float weight[] = {1, 1, 1, 1}, grad[] = {1, 1, 1, 1};
  for (long n = 0; n < lives; ++n) {
    optc_optimizer *optimizer = bind(rules);
    step(optimizer, weight, grad);
    optc_optimizer_free(optimizer);
  }
}

int main(int argc, char **argv) {
  optc_rules *rules = NULL;
  CHECK(optc_abi_version() >= OPTC_ABI_VERSION && strlen(optc_version()) > 0);
  OK(optc_rules_open("adamw", &rules));
  CHECK(argc > 1);
  if (argc > 2) {
    const long lives = atol(argv[2]);
    live(rules, lives / 10);
    const long before = resident();
    live(rules, lives - lives / 10);
    printf("%ld\n", resident() - before);
  } else {
    describes_itself(rules);
    steps_by_the_learning_rate(rules);
    refuses_misuse(rules);
    refuses_a_newer_struct(rules);
    refuses_bad_tensors(rules);
    runs_entries(argv[1]);
    steps_in_two_threads();
  }
  optc_rules_free(rules);
  return 0;
}
