// SPDX-License-Identifier: Apache-2.0 OR MIT
/*
 * Relocations about fields: byte_off, byte_sz, field_exists, signed, lshift_u64 and rshift_u64, of plain members, members of anonymous
 * members, bitfields, array elements, flexible arrays, flavours, and fields that no kernel has.
 *
 * The program adds up what it gets, so that the compiler keeps every relocation. It is not meant to be useful.
 */
#include "kernel.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* The same members as other types than the kernel's: some can stand for them, some cannot. */
struct task_struct___other_types {
	unsigned long pid;       /* an integer, if larger */
	struct list_head *tgid;  /* no integer */
	char *comm;              /* no array */
	struct {
		void *next;
	} tasks;                 /* a struct, if another one */
};

/* What no kernel has. */
struct task_struct___never {
	int no_such_member;
	struct {
		int neither;
	};
};

struct no_such_struct {
	int member;
};

/* A member of the last array's elements, beyond its end. */
struct bpf_prog___wrong {
	unsigned int len[4];
};

/* A typedef as the root of an access. */
typedef struct {
	int counter;
} atomic_t;

#pragma clang attribute pop

__u64 sum;

#define COUNT(value) (sum += (value))
#define SIGNED(pointer, field) __builtin_preserve_field_info((pointer)->field, BPF_FIELD_SIGNED)
#define FIELD(pointer, field)                                   \
	do {                                                    \
		COUNT(bpf_core_field_exists((pointer)->field)); \
		COUNT(bpf_core_field_size((pointer)->field));   \
		COUNT(bpf_core_field_offset((pointer)->field)); \
	} while (0)
/* Compilers refuse to tell the signedness of pointers. */
#define NUMBER(pointer, field)                                  \
	do {                                                    \
		FIELD(pointer, field);                          \
		COUNT(SIGNED(pointer, field));                  \
	} while (0)

SEC("raw_tp/sys_enter")
int plain(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();

	NUMBER(task, pid);
	NUMBER(task, flags);
	FIELD(task, tasks.next);
	FIELD(task, group_leader);
	FIELD(task, mm);
	NUMBER(task, start_boottime);
	COUNT(BPF_CORE_READ(task, mm, total_vm));
	COUNT(BPF_CORE_READ(task, exit_code));
	return 0;
}

SEC("raw_tp/sys_enter")
int bitfields(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct sk_buff *skb = ctx;
	struct sock *sock = ctx;

	NUMBER(task, in_execve);
	COUNT(BPF_CORE_READ_BITFIELD_PROBED(task, in_execve));
	COUNT(BPF_CORE_READ_BITFIELD_PROBED(task, sched_reset_on_fork));
	COUNT(BPF_CORE_READ_BITFIELD_PROBED(skb, pkt_type));
	COUNT(BPF_CORE_READ_BITFIELD_PROBED(skb, ip_summed));
	COUNT(BPF_CORE_READ_BITFIELD_PROBED(sock, __sk_common.skc_reuse));
	COUNT(BPF_CORE_READ_BITFIELD_PROBED(task, prio));
	return 0;
}

SEC("raw_tp/sys_enter")
int arrays(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct bpf_prog___wrong *wrong = ctx;
	struct bpf_prog *prog = ctx;
	struct cpumask *mask = ctx;

	COUNT(bpf_core_field_exists(task->comm[3]));
	COUNT(bpf_core_field_offset(task->comm[15]));
	COUNT(bpf_core_field_size(task->comm[2]));
	COUNT(bpf_core_field_size(task->comm));
	COUNT(bpf_core_field_offset(task[2].pid));
	COUNT(bpf_core_field_exists(mask->bits[0]));
	COUNT(bpf_core_field_exists(prog->insns));
	COUNT(bpf_core_field_exists(prog->insns[2]));
	COUNT(bpf_core_field_exists(wrong->len[2]));
	return 0;
}

SEC("raw_tp/sys_enter")
int anonymous_members(void *ctx)
{
	struct sk_buff *skb = ctx;
	struct sock *sock = ctx;
	atomic_t *counter = ctx;

	FIELD(skb, next);
	NUMBER(skb, protocol);
	NUMBER(sock, __sk_common.skc_daddr);
	NUMBER(sock, __sk_common.skc_state);
	NUMBER(counter, counter);
	return 0;
}

SEC("raw_tp/sys_enter")
int flavours(void *ctx)
{
	struct task_struct___before_5_5 *old = ctx;
	struct task_struct___other_types *other = ctx;
	struct task_struct___never *never = ctx;
	struct no_such_struct *none = ctx;

	COUNT(bpf_core_field_exists(old->real_start_time));
	COUNT(bpf_core_field_exists(other->pid));
	COUNT(bpf_core_field_exists(other->tgid));
	COUNT(bpf_core_field_exists(other->comm));
	COUNT(bpf_core_field_exists(other->tasks));
	COUNT(bpf_core_field_exists(other->tasks.next));
	COUNT(bpf_core_field_exists(never->no_such_member));
	COUNT(bpf_core_field_exists(never->neither));
	COUNT(bpf_core_field_exists(none->member));
	if (bpf_core_field_exists(never->no_such_member))
		COUNT(BPF_CORE_READ(never, no_such_member));
	if (bpf_core_field_exists(none->member))
		COUNT(bpf_core_field_size(none->member));
	return 0;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
