// SPDX-License-Identifier: Apache-2.0 OR MIT
/*
 * Relocations about whole types: local_type_id, target_type_id, type_exists, type_size and type_matches, of structs, unions, typedefs of
 * pointers, functions and void, and types that no kernel has.
 *
 * Compilers before clang 16 do not know type_matches; there its place is taken by type_exists.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#if __clang_major__ >= 16
#define TYPE_MATCHES(type) bpf_core_type_matches(type)
#else
#define TYPE_MATCHES(type) bpf_core_type_exists(type)
#endif

struct no_such_struct {
	int member;
};

typedef struct {
	int counter;
} atomic_t;

/* As in the kernel. */
typedef int (*initcall_t)(void);
typedef struct {
	unsigned int val;
} kgid_t;
struct callback_head {
	struct callback_head *next;
};
typedef void (*rcu_callback_t)(struct callback_head *);
typedef unsigned int gfp_t;
typedef int pid_t;

/* The kernel's names for something else. */
typedef int (*initcall_t___one_argument)(void *);
typedef void *initcall_t___void;
typedef void (*rcu_callback_t___int)(int *);

/* Members that the kernel's type has, and one that it has not. */
struct list_head___matching {
	struct list_head *next;
};
struct list_head___other_type {
	int next;
};
struct list_head___other_member {
	struct list_head *no_such_member;
};

union sigval {
	int sival_int;
	void *sival_ptr;
};

__u64 sum;

#define COUNT(value) (sum += (value))
#define TYPE(type)                             \
	do {                                   \
		COUNT(bpf_core_type_exists(type)); \
		COUNT(bpf_core_type_size(type));   \
		COUNT(TYPE_MATCHES(type));         \
	} while (0)

SEC("raw_tp/sys_enter")
int structs(void *ctx)
{
	TYPE(struct list_head);
	TYPE(struct task_struct);
	TYPE(struct hlist_node);
	TYPE(struct no_such_struct);
	TYPE(union sigval);
	return 0;
}

SEC("raw_tp/sys_enter")
int typedefs(void *ctx)
{
	TYPE(atomic_t);
	TYPE(kgid_t);
	TYPE(gfp_t);
	TYPE(pid_t);
	TYPE(initcall_t);
	TYPE(initcall_t___one_argument);
	TYPE(initcall_t___void);
	TYPE(rcu_callback_t);
	TYPE(rcu_callback_t___int);
	return 0;
}

SEC("raw_tp/sys_enter")
int matching(void *ctx)
{
	COUNT(TYPE_MATCHES(struct list_head___matching));
	COUNT(TYPE_MATCHES(struct list_head___other_type));
	COUNT(TYPE_MATCHES(struct list_head___other_member));
	return 0;
}

SEC("raw_tp/sys_enter")
int ids(void *ctx)
{
	COUNT(bpf_core_type_id_local(struct list_head));
	COUNT(bpf_core_type_id_kernel(struct list_head));
	COUNT(bpf_core_type_id_kernel(struct no_such_struct));
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
