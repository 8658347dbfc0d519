/* Steps with optc optimizers from C, and from every language that calls C.
 *
 * Written by cbindgen from runtime/capi/src: change it there, then run
 * `OPTC_WRITE_HEADER=1 cargo test -p optc-capi --test header`.
 *
 * Failure. A function that can fail returns a status. It stores its results only when that is OPTC_STATUS_OK;
 * otherwise optc_error_code() and its sisters say what happened on this thread. Nothing throws, panics or aborts.
 *
 * Structs. The first member is the size of the struct as the caller compiled it; set it, and zero the rest, as in
 * `optc_bind_options options = {.struct_size = sizeof(options)};`. Later versions add members at the end, for which
 * zero means what this version does. The members of an array have one size.
 *
 * Texts are UTF-8 and end with NUL. What a function returns belongs to the object that it was asked of.
 *
 * Threads. Errors are per thread. Rules never change. Calls on one optimizer take turns; two optimizers step at the
 * same time. An object is freed once, when no thread uses it.
 *
 * A process that forks may go on using its optimizers; the child steps on one thread.
 */

#ifndef OPTC_H
#define OPTC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The interface that this header declares. It grows when functions or struct members are added; a program that was
 * compiled with a smaller one goes on working.
 */
#define OPTC_ABI_VERSION 1

/**
 * Compute with it.
 */
#define OPTC_NON_FINITE_PROPAGATE 0

/**
 * Refuse the step, before anything is written.
 */
#define OPTC_NON_FINITE_REFUSE 1

/**
 * Leave the parameter as if it had no gradient in this step.
 */
#define OPTC_NON_FINITE_SKIP 2

/**
 * For `optc_entry_takes`: the parameter has a gradient.
 */
#define OPTC_HAS_GRADIENT 1

/**
 * For `optc_entry_takes`: there is a tensor for the parameter under each name that the entry wants one for.
 */
#define OPTC_HAS_TENSORS 2

/**
 * For `optc_entry_takes`: the parameter's state has begun.
 */
#define OPTC_HAS_STATE 4

/**
 * In place of a number of steps: the state has not begun.
 */
#define OPTC_NOT_BEGUN UINT64_MAX

/**
 * IEEE binary64, `double`.
 */
#define OPTC_F64 1

/**
 * IEEE binary32, `float`.
 */
#define OPTC_F32 2

/**
 * bfloat16.
 */
#define OPTC_BF16 3

/**
 * IEEE binary16.
 */
#define OPTC_F16 4

/**
 * 64-bit integers: only state may hold them.
 */
#define OPTC_I64 5

/**
 * Bytes: the codes of state in 8 bits.
 */
#define OPTC_U8 6

/**
 * Host memory.
 */
#define OPTC_CPU 0

/**
 * The memory of a CUDA device: steps there need an artifact with code for it.
 */
#define OPTC_CUDA 1

/**
 * What a function returns. Which mistake it was, `optc_error_code` says.
 */
enum optc_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Done.
   */
  OPTC_STATUS_OK = 0,
  /**
   * An argument that no call can use: a null pointer, a text that is not UTF-8, an index that is too large.
   */
  OPTC_STATUS_ARGUMENT = 1,
  /**
   * A source or an artifact cannot be loaded.
   */
  OPTC_STATUS_LOAD = 2,
  /**
   * Parameters cannot be bound.
   */
  OPTC_STATUS_BIND = 3,
  /**
   * A hyperparameter cannot be read or set so.
   */
  OPTC_STATUS_HYPER = 4,
  /**
   * A step was refused, or did not finish.
   */
  OPTC_STATUS_STEP = 5,
  /**
   * State was not saved or loaded.
   */
  OPTC_STATUS_CHECKPOINT = 6,
  /**
   * A bug of optc; the object of the call may be in any state, and can still be freed.
   */
  OPTC_STATUS_BUG = 7,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum optc_status optc_status;
#else
typedef int32_t optc_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What `optc_save` writes, in memory: for a caller with a container of its own.
 */
typedef struct optc_bytes optc_bytes;

/**
 * A checkpoint that was read, and fits the optimizer that it was read for.
 */
typedef struct optc_checkpoint optc_checkpoint;

/**
 * Rules bound to parameters. Calls on one optimizer from several threads take turns.
 */
typedef struct optc_optimizer optc_optimizer;

/**
 * Checked rules, with machine code if they came from an artifact. Never changes: any number of threads may use it.
 */
typedef struct optc_rules optc_rules;

/**
 * A parameter as it is bound.
 */
typedef struct optc_param {
  /**
   * `sizeof(optc_param)`.
   */
  size_t struct_size;
  /**
   * Its name: what groups match and checkpoints are keyed by.
   */
  const char *name;
  /**
   * `rank` dimensions; at most 16.
   */
  const int64_t *dims;
  /**
   * The number of axes; 0 is a scalar.
   */
  size_t rank;
  /**
   * `OPTC_F64`, `OPTC_F32`, `OPTC_BF16` or `OPTC_F16`.
   */
  int32_t dtype;
  /**
   * The same of its gradient; 0 means that of the parameter.
   */
  int32_t grad_dtype;
  /**
   * `OPTC_CPU` or `OPTC_CUDA`.
   */
  int32_t device_type;
  /**
   * Which of the devices of that type.
   */
  int32_t device_index;
} optc_param;

/**
 * A hyperparameter's value. Will never have other members.
 */
typedef struct optc_setting {
  /**
   * Its name.
   */
  const char *name;
  /**
   * Its value.
   */
  double value;
} optc_setting;

/**
 * A static's value. Will never have other members.
 */
typedef struct optc_choice {
  /**
   * Its name.
   */
  const char *name;
  /**
   * Its value as on the command line: `5`, `true`, a word of a choice, `1,2,3;4,5,6`.
   */
  const char *value;
} optc_choice;

/**
 * Parameters with settings of their own. A parameter belongs to one group at most.
 */
typedef struct optc_group {
  /**
   * `sizeof(optc_group)`.
   */
  size_t struct_size;
  /**
   * A regular expression that is found in the names of its parameters; an error if it is found in none. Null if
   * the group lists its parameters.
   */
  const char *pattern;
  /**
   * Without a pattern: the names of its parameters.
   */
  const char *const *names;
  /**
   * How many.
   */
  size_t name_count;
  /**
   * Other rules than those of the call; null for those.
   */
  const struct optc_rules *rules;
  /**
   * Which optimizer of `rules`, if there are several; null for the only one.
   */
  const char *optimizer;
  /**
   * The rule to take; null for the first that fits.
   */
  const char *rule;
  /**
   * Hyperparameters that differ from those of the call, or from their defaults if the group has its own rules.
   */
  const struct optc_setting *hypers;
  /**
   * How many.
   */
  size_t hyper_count;
  /**
   * Statics that differ.
   */
  const struct optc_choice *statics;
  /**
   * How many.
   */
  size_t static_count;
} optc_group;

/**
 * How to bind. All zeros but the size are the defaults.
 */
typedef struct optc_bind_options {
  /**
   * `sizeof(optc_bind_options)`.
   */
  size_t struct_size;
  /**
   * Which optimizer of the source, if there are several; null for the only one.
   */
  const char *optimizer;
  /**
   * The rule of parameters of no group; null for the first that fits.
   */
  const char *rule;
  /**
   * Hyperparameters that differ from their defaults.
   */
  const struct optc_setting *hypers;
  /**
   * How many.
   */
  size_t hyper_count;
  /**
   * Statics that differ from their defaults.
   */
  const struct optc_choice *statics;
  /**
   * How many.
   */
  size_t static_count;
  /**
   * Groups. Group `n` of the optimizer is the `n`-th of these counted from 1; 0 is everything else.
   */
  const struct optc_group *groups;
  /**
   * How many.
   */
  size_t group_count;
  /**
   * Threads of a step, the caller's among them; 0 for as many as the machine has. Optimizers with the same number
   * share them.
   */
  size_t threads;
  /**
   * What a NaN or an infinity in a gradient does: `OPTC_NON_FINITE_PROPAGATE`, `OPTC_NON_FINITE_REFUSE` or
   * `OPTC_NON_FINITE_SKIP`.
   */
  int32_t non_finite;
  /**
   * Not 0: state is the caller's, `optc_lend_state` comes before every step, and nothing is allocated for it.
   */
  int32_t state_is_lent;
  /**
   * The seed of all random numbers that the rules draw.
   */
  uint64_t seed;
} optc_bind_options;

/**
 * An entry of an optimizer.
 */
typedef struct optc_entry_info {
  /**
   * `sizeof(optc_entry_info)`, set by the caller.
   */
  size_t struct_size;
  /**
   * Its name; valid as long as the optimizer.
   */
  const char *name;
  /**
   * How many inputs it has.
   */
  size_t input_count;
  /**
   * Whether it reads gradients, and leaves out parameters without one.
   */
  bool reads_gradients;
} optc_entry_info;

/**
 * An input of an entry.
 */
typedef struct optc_input_info {
  /**
   * `sizeof(optc_input_info)`, set by the caller.
   */
  size_t struct_size;
  /**
   * Its name; valid as long as the optimizer.
   */
  const char *name;
  /**
   * Whether it is a tensor for each parameter, not a number.
   */
  bool is_tensor;
} optc_input_info;

/**
 * A tensor of the caller's, for the time of one call.
 */
typedef struct optc_tensor {
  /**
   * `sizeof(optc_tensor)`.
   */
  size_t struct_size;
  /**
   * The element at index 0, 0, …, aligned to its type; may be null if there are no elements.
   */
  void *data;
  /**
   * `rank` dimensions.
   */
  const int64_t *dims;
  /**
   * `rank` distances between neighbours along each axis, in elements; null means row-major without gaps.
   */
  const int64_t *strides;
  /**
   * The number of axes.
   */
  size_t rank;
  /**
   * `OPTC_F64`, `OPTC_F32`, `OPTC_BF16` or `OPTC_F16`.
   */
  int32_t dtype;
  /**
   * `OPTC_CPU` or `OPTC_CUDA`.
   */
  int32_t device_type;
  /**
   * Which of the devices of that type.
   */
  int32_t device_index;
} optc_tensor;

/**
 * What an entry is given under one name: a number, or a tensor for each parameter.
 */
typedef struct optc_input {
  /**
   * `sizeof(optc_input)`.
   */
  size_t struct_size;
  /**
   * Its name.
   */
  const char *name;
  /**
   * The number, where `tensors` is null.
   */
  double number;
  /**
   * One tensor of the parameter's shape, dtype and device for each parameter, in the order of `optc_bind`; a null
   * among them leaves the parameter out.
   */
  const struct optc_tensor *const *tensors;
} optc_input;

/**
 * A hyperparameter: a number that may change between steps.
 */
typedef struct optc_hyper {
  /**
   * `sizeof(optc_hyper)`, set by the caller.
   */
  size_t struct_size;
  /**
   * Its name; valid as long as the rules.
   */
  const char *name;
  /**
   * Its documentation; valid as long as the rules.
   */
  const char *docs;
  /**
   * Its default.
   */
  double default_value;
  /**
   * The interval of values that it may have.
   */
  double lo;
  /**
   * See `lo`.
   */
  double hi;
  /**
   * Whether `lo` itself is allowed.
   */
  bool lo_closed;
  /**
   * Whether `hi` itself is allowed.
   */
  bool hi_closed;
} optc_hyper;

/**
 * A static: a choice that is made when parameters are bound.
 */
typedef struct optc_static {
  /**
   * `sizeof(optc_static)`, set by the caller.
   */
  size_t struct_size;
  /**
   * Its name; valid as long as the rules, as the other texts.
   */
  const char *name;
  /**
   * Its documentation.
   */
  const char *docs;
  /**
   * What it may be: `int in [1, inf)`, `bool`, `choice(a, b)`.
   */
  const char *type_name;
  /**
   * Its default, as written in the source.
   */
  const char *default_value;
} optc_static;

/**
 * A bound parameter.
 */
typedef struct optc_param_info {
  /**
   * `sizeof(optc_param_info)`, set by the caller.
   */
  size_t struct_size;
  /**
   * Its name; valid as long as the optimizer.
   */
  const char *name;
  /**
   * Its rule; valid as long as the optimizer.
   */
  const char *rule;
  /**
   * Its group.
   */
  size_t group;
  /**
   * How many pieces of state it has.
   */
  size_t state_count;
  /**
   * Whether it takes part in a step without a gradient: its rule says `absent grad: zeros`.
   */
  bool steps_without_gradient;
} optc_param_info;

/**
 * A piece of a parameter's state.
 */
typedef struct optc_state_info {
  /**
   * `sizeof(optc_state_info)`, set by the caller.
   */
  size_t struct_size;
  /**
   * Its name in the rule, with its mode if it has one: `exp_avg`, `gram.0`. Valid as long as the optimizer.
   */
  const char *name;
  /**
   * `rank` dimensions; valid as long as the optimizer.
   */
  const int64_t *dims;
  /**
   * The number of axes.
   */
  size_t rank;
  /**
   * Its element type.
   */
  int32_t dtype;
  /**
   * Its elements, row-major; null on a device, and while the caller keeps the state and has not lent it. Read
   * them only while no step, load or free runs.
   */
  const void *data;
  /**
   * How many bytes.
   */
  size_t bytes;
} optc_state_info;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The interface that the library offers: at least `OPTC_ABI_VERSION` of the header that a program was compiled with,
 * or the program must be linked with a newer library.
 */
uint32_t optc_abi_version(void);

/**
 * The version of optc, such as `0.1.0`. Valid for ever.
 */
const char *optc_version(void);

/**
 * Binds rules to parameters: picks each one's rule, allocates its state, finds its machine code or compiles it.
 * `options` may be null. Everything is copied; the rules may be freed afterwards.
 *
 * Errors: `OPTC_STATUS_BIND` (a pattern that matches nothing, a parameter of two groups or of no rule, an unknown
 * hyperparameter or a value outside its interval, integers, a device, two parameters of one name, …),
 * `OPTC_STATUS_ARGUMENT`. `out` is not written then.
 *
 * # Safety
 *
 * `rules` is from this library, all pointers and counts in `params` and `options` are as this header says, `out` has
 * place for a pointer.
 */
optc_status optc_bind(const struct optc_rules *rules,
                      const struct optc_param *params,
                      size_t param_count,
                      const struct optc_bind_options *options,
                      struct optc_optimizer **out);

/**
 * Writes state, step counts and hyperparameters as safetensors, keyed by parameter and state; what the file held
 * before is replaced at once or not at all. Parameters are the caller's to save. Where the caller keeps the state,
 * parameters whose state is not lent count as not stepped.
 *
 * Errors: `OPTC_STATUS_CHECKPOINT`: the file cannot be written; `OPTC_STATUS_ARGUMENT`.
 *
 * # Safety
 *
 * `optimizer` is from this library, `path` ends with NUL.
 */
optc_status optc_save(const struct optc_optimizer *optimizer,
                      const char *path);

/**
 * Reads what `optc_save`, or the Rust or Python interface, wrote; the next step continues bit for bit. A file of an
 * earlier version of the rule is migrated as its source says; `optc_checkpoint_migrated` tells what that does.
 *
 * Errors: `OPTC_STATUS_CHECKPOINT`: a damaged file, or one of another optimizer, other parameters, shapes or groups,
 * or of a version from which the source declares no migration; `OPTC_STATUS_ARGUMENT`. Nothing is changed then.
 *
 * # Safety
 *
 * `optimizer` is from this library, `path` ends with NUL.
 */
optc_status optc_load(struct optc_optimizer *optimizer,
                      const char *path);

/**
 * Reads a checkpoint and changes nothing: for a caller that keeps the state itself.
 *
 * Errors: as `optc_load`.
 *
 * # Safety
 *
 * `optimizer` is from this library, `path` ends with NUL, `out` has place for a pointer.
 */
optc_status optc_checkpoint_read(const struct optc_optimizer *optimizer,
                                 const char *path,
                                 struct optc_checkpoint **out);

/**
 * Writes what `optc_save` does into memory.
 *
 * Errors: `OPTC_STATUS_CHECKPOINT`, `OPTC_STATUS_ARGUMENT`.
 *
 * # Safety
 *
 * `optimizer` is from this library, `out` has place for a pointer.
 */
optc_status optc_save_bytes(const struct optc_optimizer *optimizer, struct optc_bytes **out);

/**
 * Where the bytes are, and how many. Valid until they are freed.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`.
 *
 * # Safety
 *
 * `bytes` is from this library, `data` and `size` have place.
 */
optc_status optc_bytes_get(const struct optc_bytes *bytes, const void **data, size_t *size);

/**
 * Frees bytes. Null is fine.
 *
 * # Safety
 *
 * Null, or bytes that are not used any more.
 */
void optc_bytes_free(struct optc_bytes *bytes);

/**
 * As `optc_checkpoint_read`, of what `optc_save_bytes` wrote; messages call it `name`. The bytes are copied.
 *
 * Errors: as `optc_load`.
 *
 * # Safety
 *
 * `optimizer` is from this library, `name` ends with NUL, `data` has `size` bytes, `out` has place for a pointer.
 */
optc_status optc_checkpoint_read_bytes(const struct optc_optimizer *optimizer,
                                       const char *name,
                                       const void *data,
                                       size_t size,
                                       struct optc_checkpoint **out);

/**
 * Frees a checkpoint. Null is fine.
 *
 * # Safety
 *
 * Null, or a checkpoint that is not used any more.
 */
void optc_checkpoint_free(struct optc_checkpoint *checkpoint);

/**
 * What the source's migrations did to a file of an earlier version, a line each; empty for a file of this version.
 * Valid as long as the checkpoint.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`.
 *
 * # Safety
 *
 * `checkpoint` is from this library, `out` has place for a pointer.
 */
optc_status optc_checkpoint_migrated(const struct optc_checkpoint *checkpoint,
                                     const char **out);

/**
 * Steps that a parameter had taken, by its position.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`: no such parameter.
 *
 * # Safety
 *
 * `checkpoint` is from this library, `out` has place for a number.
 */
optc_status optc_checkpoint_step(const struct optc_checkpoint *checkpoint, size_t param, uint64_t *out);

/**
 * The bytes of a piece of state, both by position, row-major; a parameter whose state had not begun has none, and null
 * is stored. Valid as long as the checkpoint.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`: no such parameter or piece.
 *
 * # Safety
 *
 * `checkpoint` is from this library, `data` and `bytes` have place.
 */
optc_status optc_checkpoint_state(const struct optc_checkpoint *checkpoint,
                                  size_t param,
                                  size_t state,
                                  const void **data,
                                  size_t *bytes);

/**
 * A hyperparameter of a group, both by position; those behind the last are what the group's parameters share.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`: no such group or hyperparameter.
 *
 * # Safety
 *
 * `checkpoint` is from this library, `out` has place for a number.
 */
optc_status optc_checkpoint_hyper(const struct optc_checkpoint *checkpoint,
                                  size_t group,
                                  size_t index,
                                  double *out);

/**
 * An entry, by its position: what the rules of the bound parameters do beside a step.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`: from the last position on.
 *
 * # Safety
 *
 * `optimizer` is from this library, `out` has its `struct_size`.
 */
optc_status optc_entry_get(const struct optc_optimizer *optimizer, size_t entry, struct optc_entry_info *out);

/**
 * An input of an entry, both by position.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`: no such entry, or from the last input on.
 *
 * # Safety
 *
 * `optimizer` is from this library, `out` has its `struct_size`.
 */
optc_status optc_entry_input(const struct optc_optimizer *optimizer,
                             size_t entry,
                             size_t input,
                             struct optc_input_info *out);

/**
 * Whether a parameter would take part in an entry, with what there is of it: a sum of `OPTC_HAS_GRADIENT`,
 * `OPTC_HAS_TENSORS` and `OPTC_HAS_STATE`. A caller that keeps the state lends it to those that do. False if there is
 * no such entry.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`: no such parameter.
 *
 * # Safety
 *
 * `optimizer` is from this library, `entry` ends with NUL, `out` has place for a truth value.
 */
optc_status optc_entry_takes(const struct optc_optimizer *optimizer,
                             const char *entry,
                             size_t param,
                             uint32_t present,
                             bool *out);

/**
 * Runs an entry over all parameters, in the order of `optc_bind`: what their rules say beside a step. Parameters and
 * gradients are as in `optc_step`. A parameter whose rule lacks the entry is left as it is; so is one without a
 * gradient or a tensor that the entry reads. Steps are not counted.
 *
 * Errors: `OPTC_STATUS_STEP` (no such entry, an input that is missing, unknown or does not fit, a parameter on a
 * device, what `optc_step` refuses), `OPTC_STATUS_ARGUMENT`. Nothing is written then, unless the code is
 * `opt::step::failed` or `opt::step::panicked`.
 *
 * # Safety
 *
 * As for `optc_step`; `inputs` has `input_count` members, and each of their `tensors` is null or has `count` pointers
 * to tensors that nobody writes for the time of the call.
 */
optc_status optc_run_entry(struct optc_optimizer *optimizer,
                           const char *entry,
                           const struct optc_tensor *const *params,
                           const struct optc_tensor *const *grads,
                           size_t count,
                           const struct optc_input *inputs,
                           size_t input_count);

/**
 * The stable code of this thread's last error, such as `opt::bind::nothing_matches`; empty before the first.
 * `optc explain CODE` prints a page about those of the language.
 *
 * Like the three functions below: a call that succeeds leaves it as it was, and the text is valid until the next call
 * on this thread that fails.
 */
const char *optc_error_code(void);

/**
 * What this thread's last error was, in one line.
 */
const char *optc_error_message(void);

/**
 * What to do about this thread's last error; may be empty.
 */
const char *optc_error_help(void);

/**
 * All of this thread's last error for a terminal, with the places in the source; several lines.
 */
const char *optc_error_rendered(void);

/**
 * One step over all parameters, in the order of `optc_bind`. Each tensor has the shape, dtype and device of its
 * parameter as it was bound; strides are free as long as every element has a place of its own. A parameter whose
 * gradient is null is skipped, unless its rule says `absent grad: zeros`; `grads` itself may be null.
 *
 * Errors: `OPTC_STATUS_STEP` (another count, shape, dtype or device, a NaN that is to be refused, a factorization
 * that failed), `OPTC_STATUS_ARGUMENT` (null or misaligned memory, tensors that share memory). Nothing is written
 * then, unless the code is `opt::step::failed`, `opt::step::kept_too_often` or `opt::step::panicked`.
 *
 * # Safety
 *
 * `params` and `grads` have `count` pointers. For the time of the call the memory of every tensor is there, nobody
 * else uses the parameters, and nobody writes the gradients.
 */
optc_status optc_step(struct optc_optimizer *optimizer,
                      const struct optc_tensor *const *params,
                      const struct optc_tensor *const *grads,
                      size_t count);

/**
 * Steps the parameters of a CUDA device on `stream` (a `CUstream`, or a `cudaStream_t`) from now on, after all that was
 * asked on the stream before. At first it is the legacy default stream, which is null. Without parameters on that
 * device nothing happens.
 *
 * Errors: `OPTC_STATUS_STEP`: a failure of the device; `OPTC_STATUS_ARGUMENT`: a negative number.
 *
 * # Safety
 *
 * `optimizer` is from this library. `stream` is one of the device's primary context, and stays one until another is
 * set or the optimizer is freed.
 */
optc_status optc_set_stream(struct optc_optimizer *optimizer,
                            int32_t device_index,
                            void *stream);

/**
 * Frees an optimizer with its state. Null is fine.
 *
 * # Safety
 *
 * Null, or an optimizer that no thread uses any more.
 */
void optc_optimizer_free(struct optc_optimizer *optimizer);

/**
 * What was bound and where its code comes from, in one line. Valid as long as the optimizer.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`.
 *
 * # Safety
 *
 * `optimizer` is from this library, `out` has place for a pointer.
 */
optc_status optc_report(const struct optc_optimizer *optimizer, const char **out);

/**
 * How many groups there are, the optimizer's own settings counted as group 0.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`.
 *
 * # Safety
 *
 * `optimizer` is from this library, `out` has place for a number.
 */
optc_status optc_group_count(const struct optc_optimizer *optimizer, size_t *out);

/**
 * The name of the optimizer that a group takes. Valid as long as the optimizer.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`: no such group.
 *
 * # Safety
 *
 * `optimizer` is from this library, `out` has place for a pointer.
 */
optc_status optc_group_optimizer(const struct optc_optimizer *optimizer, size_t group, const char **out);

/**
 * Name and current value of a hyperparameter of a group, by its position in the source. The name is valid as long as
 * the optimizer; either may be null if it is not wanted.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`: no such group, or from the last position on.
 *
 * # Safety
 *
 * `optimizer` is from this library, `name` and `value` are null or have place.
 */
optc_status optc_group_hyper(const struct optc_optimizer *optimizer,
                             size_t group,
                             size_t index,
                             const char **name,
                             double *value);

/**
 * Name and current value of a number that the parameters of a group share, by its position in the source: what a step
 * works out for all of them, and a checkpoint holds. Otherwise as `optc_group_hyper`.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`: no such group, or from the last position on.
 *
 * # Safety
 *
 * `optimizer` is from this library, `name` and `value` are null or have place.
 */
optc_status optc_group_shared(const struct optc_optimizer *optimizer,
                              size_t group,
                              size_t index,
                              const char **name,
                              double *value);

/**
 * Makes a number that the parameters of a group share what it was in another run: for a caller that keeps the state.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`: no such group or number.
 *
 * # Safety
 *
 * `optimizer` is from this library, `name` ends with NUL.
 */
optc_status optc_shared_set(struct optc_optimizer *optimizer,
                            size_t group,
                            const char *name,
                            double value);

/**
 * The current value of a hyperparameter of a group.
 *
 * Errors: `OPTC_STATUS_HYPER`: no such group or hyperparameter; `OPTC_STATUS_ARGUMENT`.
 *
 * # Safety
 *
 * `optimizer` is from this library, `name` ends with NUL, `out` has place for a number.
 */
optc_status optc_hyper_get(const struct optc_optimizer *optimizer,
                           size_t group,
                           const char *name,
                           double *out);

/**
 * Sets a hyperparameter of a group, from the next step on; nothing is compiled.
 *
 * Errors: `OPTC_STATUS_HYPER`: no such group or hyperparameter, or a value outside its interval, among them NaN;
 * `OPTC_STATUS_ARGUMENT`. Nothing is changed then.
 *
 * # Safety
 *
 * `optimizer` is from this library, `name` ends with NUL.
 */
optc_status optc_hyper_set(struct optc_optimizer *optimizer,
                           size_t group,
                           const char *name,
                           double value);

/**
 * Loads whatever `path` names: a `.opt` file, a `.optc` artifact, or a rule of the standard library such as `adamw`
 * or `std.adamw`. Imports of a `.opt` file are looked for beside it.
 *
 * An artifact is machine code that this program runs: open only files that you trust.
 *
 * Errors: `OPTC_STATUS_LOAD` (no such file, mistakes in the source, a damaged artifact, one for another machine or
 * version), `OPTC_STATUS_ARGUMENT`.
 *
 * # Safety
 *
 * `path` is a text that ends with NUL, `out` has place for a pointer.
 */
optc_status optc_rules_open(const char *path,
                            struct optc_rules **out);

/**
 * Loads the text of a `.opt` file, which may import from the standard library. `name` is what messages call it.
 *
 * Errors: `OPTC_STATUS_LOAD` with every mistake in the text, `OPTC_STATUS_ARGUMENT`.
 *
 * # Safety
 *
 * `name` and `text` end with NUL, `out` has place for a pointer.
 */
optc_status optc_rules_from_source(const char *name,
                                   const char *text,
                                   struct optc_rules **out);

/**
 * Loads the bytes of an artifact, which are copied. They are machine code that this program runs.
 *
 * Errors: as `optc_rules_open`.
 *
 * # Safety
 *
 * `bytes` points to `size` bytes, `out` has place for a pointer.
 */
optc_status optc_rules_from_artifact(const void *bytes, size_t size, struct optc_rules **out);

/**
 * Frees rules; what was bound from them goes on. Null is fine.
 *
 * # Safety
 *
 * Null, or rules that are not used any more.
 */
void optc_rules_free(struct optc_rules *rules);

/**
 * Name and documentation of an optimizer of the source, by its position. Each may be null if it is not wanted; the
 * texts are valid as long as the rules.
 *
 * Errors: `OPTC_STATUS_ARGUMENT` from the last position on.
 *
 * # Safety
 *
 * `rules` is from this library; `name` and `docs` are null or have place for a pointer.
 */
optc_status optc_rules_optimizer(const struct optc_rules *rules,
                                 size_t optimizer,
                                 const char **name,
                                 const char **docs);

/**
 * A hyperparameter of an optimizer of the source, both by position.
 *
 * Errors: `OPTC_STATUS_ARGUMENT` from the last position on.
 *
 * # Safety
 *
 * `rules` is from this library; `out` has its `struct_size`.
 */
optc_status optc_rules_hyper(const struct optc_rules *rules,
                             size_t optimizer,
                             size_t index,
                             struct optc_hyper *out);

/**
 * A static of an optimizer of the source, both by position.
 *
 * Errors: `OPTC_STATUS_ARGUMENT` from the last position on.
 *
 * # Safety
 *
 * `rules` is from this library; `out` has its `struct_size`.
 */
optc_status optc_rules_static(const struct optc_rules *rules,
                              size_t optimizer,
                              size_t index,
                              struct optc_static *out);

/**
 * How many parameters are bound.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`.
 *
 * # Safety
 *
 * `optimizer` is from this library, `out` has place for a number.
 */
optc_status optc_param_count(const struct optc_optimizer *optimizer, size_t *out);

/**
 * A parameter, by its position in `optc_bind`.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`: no such parameter.
 *
 * # Safety
 *
 * `optimizer` is from this library, `out` has its `struct_size`.
 */
optc_status optc_param_get(const struct optc_optimizer *optimizer, size_t param, struct optc_param_info *out);

/**
 * A piece of a parameter's state, both by position.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`: no such parameter or piece.
 *
 * # Safety
 *
 * `optimizer` is from this library, `out` has its `struct_size`.
 */
optc_status optc_state_get(const struct optc_optimizer *optimizer,
                           size_t param,
                           size_t state,
                           struct optc_state_info *out);

/**
 * Steps that a parameter has taken.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`: no such parameter.
 *
 * # Safety
 *
 * `optimizer` is from this library, `out` has place for a number.
 */
optc_status optc_step_count(const struct optc_optimizer *optimizer, size_t param, uint64_t *out);

/**
 * Lends the state of a parameter of an optimizer that was bound with `state_is_lent`, with the steps that it has
 * taken: one contiguous tensor for each piece, as `optc_state_get` describes them, for the next `optc_step`,
 * `optc_run_entry` or `optc_save`. With `OPTC_NOT_BEGUN` for `step` it is zeros, and the step or entry fills it; an
 * entry may begin it before the first step, which `optc_state_begun` tells.
 *
 * The loan ends when `optc_step`, `optc_run_entry` or `optc_reclaim_state` returns.
 *
 * Errors: `OPTC_STATUS_STEP`: other tensors, or an optimizer that keeps its state itself; `OPTC_STATUS_ARGUMENT`.
 *
 * # Safety
 *
 * `states` has `count` pointers; the memory of every tensor is there and nobody else uses it until the loan ends.
 */
optc_status optc_lend_state(struct optc_optimizer *optimizer,
                            size_t param,
                            uint64_t step,
                            const struct optc_tensor *const *states,
                            size_t count);

/**
 * Whether the state of a parameter has begun: a step or an entry has filled it.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`: no such parameter.
 *
 * # Safety
 *
 * `optimizer` is from this library, `out` has place for a truth value.
 */
optc_status optc_state_begun(const struct optc_optimizer *optimizer, size_t param, bool *out);

/**
 * Ends the loan of all state, where no step has.
 *
 * Errors: `OPTC_STATUS_ARGUMENT`.
 *
 * # Safety
 *
 * `optimizer` is from this library.
 */
optc_status optc_reclaim_state(struct optc_optimizer *optimizer);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* OPTC_H */
