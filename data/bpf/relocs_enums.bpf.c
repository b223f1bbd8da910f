// SPDX-License-Identifier: Apache-2.0 OR MIT
/*
 * Relocations about enumerators: enumval_exists and enumval_value, of enumerators that every kernel has, that some have, and that none has,
 * under other values than the kernel's.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

enum pid_type {
	PIDTYPE_PID = 100,
	PIDTYPE_TGID = 101,
	PIDTYPE_MAX = 102,
	PIDTYPE_NEVER = 103,
};

/* A flavour of the enum and of its enumerators. */
enum pid_type___other {
	PIDTYPE_SID___other = 7,
};

enum hrtimer_restart {
	HRTIMER_NORESTART = 3,
	HRTIMER_RESTART = 4,
};

/* A negative value. */
enum migratetype {
	MIGRATE_UNMOVABLE = -1,
	MIGRATE_TYPES = 1,
};

enum no_such_enum {
	NO_SUCH_ENUMERATOR = 1,
};

__u64 sum;

#define ENUMERATOR(type, name)                                                     \
	do {                                                                       \
		sum += bpf_core_enum_value_exists(type, name);                     \
		if (bpf_core_enum_value_exists(type, name))                        \
			sum += bpf_core_enum_value(type, name);                    \
	} while (0)

SEC("raw_tp/sys_enter")
int enumerators(void *ctx)
{
	ENUMERATOR(enum pid_type, PIDTYPE_PID);
	ENUMERATOR(enum pid_type, PIDTYPE_TGID);
	ENUMERATOR(enum pid_type, PIDTYPE_MAX);
	ENUMERATOR(enum pid_type, PIDTYPE_NEVER);
	ENUMERATOR(enum pid_type___other, PIDTYPE_SID___other);
	ENUMERATOR(enum hrtimer_restart, HRTIMER_RESTART);
	ENUMERATOR(enum migratetype, MIGRATE_UNMOVABLE);
	ENUMERATOR(enum migratetype, MIGRATE_TYPES);
	ENUMERATOR(enum no_such_enum, NO_SUCH_ENUMERATOR);
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
