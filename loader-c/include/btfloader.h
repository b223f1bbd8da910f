/* SPDX-License-Identifier: Apache-2.0 OR MIT */
/*
 * The BTF of the running kernel, or a clear no. See btfloader(3).
 *
 * Made by ci/header of loader-c/src/lib.rs; do not edit.
 */

#ifndef BTFLOADER_H
#define BTFLOADER_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

/*
 What came of a call. The numbers are the exit codes of btf-fetch.
 */
enum btfloader_status {
  /*
   There is BTF, or a configuration.
   */
  BTFLOADER_STATUS_OK = 0,
  /*
   It could not be found out; asking again may help.
   */
  BTFLOADER_STATUS_FAILED = 1,
  /*
   An option or an environment variable cannot be used.
   */
  BTFLOADER_STATUS_USAGE = 2,
  /*
   Nobody asked has it.
   */
  BTFLOADER_STATUS_NOT_FOUND = 3,
  /*
   Something was found and must not be used: another kernel's, damaged, too large.
   */
  BTFLOADER_STATUS_REFUSED = 4,
};

/*
 What was found, or why nothing was. Belongs to the caller until `btfloader_free`.
 */
struct btfloader_result;

/*
 Where to look and how far to go. All zero, but for `size`, means: as the environment says (`BTF_ARCHIVE_URLS` and so on).
 */
struct btfloader_options {
  /*
   The size of this struct, so that later versions may add to it.
   */
  size_t size;
  /*
   Addresses of archives, separated by spaces.
   */
  const char *urls;
  /*
   Bundles and directories on disk, separated by colons.
   */
  const char *paths;
  /*
   The cache's directory.
   */
  const char *cache;
  /*
   Where the host's /etc, /sys, /proc, /boot, /lib and /usr are.
   */
  const char *root;
  /*
   A bundle built into the program, and its length in bytes.
   */
  const uint8_t *bundle;
  /*
   See `bundle`.
   */
  size_t bundle_size;
  /*
   How long one archive may take, in milliseconds.
   */
  uint32_t timeout_ms;
  /*
   How long all archives may take together, in milliseconds.
   */
  uint32_t max_time_ms;
  /*
   Refuse what is matched by name rather than by build-id.
   */
  bool exact;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 Finds the BTF of the running kernel.

 `options` may be NULL. `*result` is always set, unless `result` is NULL: to what was found, or to why nothing was
 (`btfloader_message`).

 # Safety
 `options` is NULL or points to a struct of `size` bytes whose strings end in NUL, and whose bundle has `bundle_size`
 bytes; `result` is NULL or points to a pointer.
 */
enum btfloader_status btfloader_find(const struct btfloader_options *options,
                                     struct btfloader_result **result);

/*
 Finds the configuration of the running kernel, for libbpf's `kconfig` option: `btfloader_text` has it.

 # Safety
 As for `btfloader_find`.
 */
enum btfloader_status btfloader_find_config(const struct btfloader_options *options,
                                            struct btfloader_result **result);

/*
 The path of a file with the raw BTF, for libbpf's `btf_custom_path`; NULL if the kernel has its own, which libbpf finds, or
 if there is none. Valid until `btfloader_free`.

 # Safety
 `result` is NULL or was set by `btfloader_find`, and not freed.
 */
const char *btfloader_path(const struct btfloader_result *result);

/*
 The raw BTF, and in `*size` its length in bytes; NULL if there is none. Valid until `btfloader_free`.

 # Safety
 `result` is NULL or was set by `btfloader_find`, and not freed; `size` is NULL or points to a size_t.
 */
const uint8_t *btfloader_btf(const struct btfloader_result *result,
                             size_t *size);

/*
 The text that `btfloader_find_config` found, ending in NUL; NULL if there is none. Valid until `btfloader_free`.

 # Safety
 `result` is NULL or was set by `btfloader_find_config`, and not freed.
 */
const char *btfloader_text(const struct btfloader_result *result);

/*
 Whether the BTF was recognised by the kernel's build-id, or is the kernel's own: then there can be no mistake.

 # Safety
 `result` is NULL or was set by `btfloader_find`, and not freed.
 */
bool btfloader_is_exact(const struct btfloader_result *result);

/*
 What was found where, or why nothing was, for people. Never NULL; valid until `btfloader_free`.

 # Safety
 `result` is NULL or was set by a function of this library, and not freed.
 */
const char *btfloader_message(const struct btfloader_result *result);

/*
 Frees a result; NULL is nothing to free.

 # Safety
 `result` is NULL or was set by a function of this library, and is not used again.
 */
void btfloader_free(struct btfloader_result *result);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* BTFLOADER_H */
